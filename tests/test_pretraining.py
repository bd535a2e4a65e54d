"""Pre-training of a front end: what it starts as, what it is taught, and that it is used."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from transformers import Wav2Vec2Model

import speech
from cfbench.errors import CfbenchError
from cfbench.material import Progress
from cfbench.pretraining import Spectra, start_as_filters, teach
from cfbench.steps import find_material
from cfbench.training import train

pytestmark = pytest.mark.usefixtures("one_thread", "alone")

STEPS = "pretraining.steps=3"
SHORT = (*speech.SMALL, STEPS, "pretraining.samples=8000", "training.batch_size=4")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> speech.Corpus:
    return speech.make_corpus(
        tmp_path_factory.mktemp("track"), [("train", 4), ("dev", 1), ("id", 1), ("ood", 1)], 0.6
    )


def test_a_filter_answers_to_its_own_frequency_whatever_the_phase():
    layer = nn.Conv1d(1, 80, 320, 80)
    start_as_filters(layer)
    norms = layer.weight.norm(dim=2)
    assert torch.allclose(norms, torch.ones_like(norms), atol=1e-5)
    times = torch.arange(8000) / 16000
    strongest = []
    for frequency in (200, 1000, 3000, 7000):
        energies = []
        for phase in (0.0, 1.0, 2.0):
            wave = torch.sin(2 * np.pi * frequency * times + phase)
            answer = layer(wave[None, None])[0].detach()
            energies.append((answer[0::2] ** 2 + answer[1::2] ** 2).mean(dim=1))
        assert torch.allclose(energies[0], energies[2], rtol=0.1, atol=0.02 * energies[0].max())
        strongest.append(int(energies[0].argmax()))
    assert strongest == sorted(set(strongest))


def test_the_targets_follow_the_frames_of_the_front_end():
    spectra = Spectra(stride=640)
    # One tone in the first nine frames, another one after them.
    times = torch.arange(16384) / 16000
    low, high = (torch.sin(2 * np.pi * frequency * times) for frequency in (500, 3000))
    wave = torch.where(torch.arange(16384) < 9 * 640, low, high)[None]
    wave = wave + 1e-3 * torch.randn(1, 16384, generator=torch.Generator().manual_seed(1))
    levels = spectra(wave, 24)
    assert levels.shape == (1, 24, 80)
    assert levels.mean(dim=2).abs().max() < 1e-4
    bands = levels[0].argmax(dim=1).tolist()
    assert bands[:8] == bands[:1] * 8
    assert bands[9:] == bands[-1:] * 15
    assert bands[0] < bands[-1]
    # Twice as loud is the same.
    assert torch.allclose(spectra(2 * wave, 24), levels, atol=0.5)


def test_it_learns_and_is_taught_once(corpus, tmp_path):
    recipe = speech.tiny(corpus, *SHORT)
    material = find_material(recipe, speech.data(corpus))
    said: list[int] = []
    one = teach(recipe, material, tmp_path, torch.device("cpu"), 0, said.append)
    assert said == [1, 2, 3]
    Wav2Vec2Model.from_pretrained(one)
    written = (one / "model.safetensors").stat().st_mtime_ns
    assert teach(recipe, material, tmp_path, torch.device("cpu"), 0) == one
    assert (one / "model.safetensors").stat().st_mtime_ns == written
    # The same settings teach the same; others are another front end.
    again = teach(recipe, material, tmp_path / "again", torch.device("cpu"), 0)
    assert (again / "model.safetensors").read_bytes() == (one / "model.safetensors").read_bytes()
    other = speech.tiny(corpus, *SHORT, "pretraining.learning_rate=1e-3")
    assert teach(other, material, tmp_path, torch.device("cpu"), 0) != one


@pytest.mark.slow
def test_more_steps_tell_spectra_better(corpus, tmp_path):
    """What an untaught front end's frames do not say, a taught one's do, linearly."""
    recipe = speech.tiny(corpus, *SHORT, "pretraining.steps=60")
    material = find_material(recipe, speech.data(corpus))
    folder = teach(recipe, material, tmp_path, torch.device("cpu"), 0)
    begun = teach(
        speech.tiny(corpus, *SHORT, "pretraining.steps=1"),
        material, tmp_path, torch.device("cpu"), 0,
    )  # fmt: skip
    assert _unexplained(folder, corpus) < 0.9 * _unexplained(begun, corpus)


def _unexplained(folder: Path, corpus: speech.Corpus) -> float:
    """Share of the spectra's variance that a linear map of the frames leaves."""
    model = Wav2Vec2Model.from_pretrained(folder).eval()
    waves = torch.randn(32, 8000, generator=torch.Generator().manual_seed(3))
    # Noise whose tilt differs from clip to clip.
    tilt = torch.linspace(-0.9, 0.9, 32)[:, None]
    waves = 0.1 * (waves - tilt * nn.functional.pad(waves[:, :-1], (1, 0)))
    with torch.inference_mode():
        frames = model(waves).last_hidden_state
        stride = int(np.prod(model.config.conv_stride))
        levels = Spectra(stride)(waves, frames.shape[1]).mean(dim=1)
        known = torch.cat([frames.mean(dim=1), torch.ones(32, 1)], dim=1)
    known, levels = known.double(), levels.double()
    gram = known.T @ known + 0.01 * torch.eye(known.shape[1])
    told = known @ torch.linalg.solve(gram, known.T @ levels)
    return float((levels - told).var() / (levels - levels.mean(dim=0)).var())


def test_training_starts_from_what_was_taught_and_goes_on_from_it(corpus, tmp_path):
    recipe = speech.tiny(corpus, *SHORT, "training.freeze_front_end=true", "training.threads=1")
    material = find_material(recipe, speech.data(corpus))
    seen: list[Progress] = []
    speech.forget_processes()
    model = train(recipe, material, tmp_path, cpu=True, workers=0, report=seen.append)
    first = [one for one in seen if one.phase != "training"]
    assert [(one.step, one.steps, one.phase) for one in first] == [
        (step, 3, "pre-training the front end") for step in (1, 2, 3)
    ]
    assert seen[: len(first)] == first
    [taught] = tmp_path.glob("front-end-*")
    front_end = Wav2Vec2Model.from_pretrained(taught).state_dict()
    trained = torch.load(tmp_path / "last.pt", weights_only=True)["model"]
    for name, value in front_end.items():
        assert torch.equal(trained[f"front_end.{name}"], value), name
    # Nothing of the machine's paths goes with the model.
    assert str(tmp_path) not in (model / "config.json").read_text()
    speech.forget_processes()
    assert train(recipe, material, tmp_path, cpu=True, workers=0) == model


@pytest.mark.slow
def test_a_front_end_that_comes_with_weights_is_not_taught(corpus, tmp_path):
    recipe = speech.tiny(corpus, *SHORT)
    material = find_material(recipe, speech.data(corpus))
    folder = teach(recipe, material, tmp_path / "one", torch.device("cpu"), 0)
    speech.forget_processes()
    train(recipe, material, tmp_path / "two", weights=str(folder), cpu=True, workers=0)
    assert not list((tmp_path / "two").glob("front-end-*"))


def test_a_loss_that_is_no_number_is_reported(corpus, tmp_path):
    recipe = speech.tiny(corpus, *SHORT, "pretraining.learning_rate=1e30", "pretraining.steps=200")
    material = find_material(recipe, speech.data(corpus))
    with pytest.raises(CfbenchError, match="pre-training: the loss is") as caught:
        teach(recipe, material, tmp_path, torch.device("cpu"), 0)
    assert "pretraining.learning_rate" in str(caught.value.problems[0].hint)
    assert not list(tmp_path.glob("front-end-*"))


def test_excerpts_that_are_too_short_are_reported(corpus, tmp_path):
    recipe = speech.tiny(
        corpus, *SHORT, "pretraining.samples=400", "model.front_end.config.conv_kernel=[500, 8]",
        "model.front_end.config.conv_stride=[20, 8]", "model.front_end.config.conv_dim=[8, 8]",
    )  # fmt: skip
    material = find_material(recipe, speech.data(corpus))
    with pytest.raises(CfbenchError, match="400 samples make no frame"):
        teach(recipe, material, tmp_path, torch.device("cpu"), 0)
