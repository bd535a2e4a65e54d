"""The embedded track's codecs that ship: what must be true of them without its clips."""

import hashlib

import numpy as np
import polars as pl
import pytest

from cfbench.codecs import load_codec
from cfbench.codecs.language import generate, load_code_model
from cfbench.mini.speech import voices
from mini_codecs import CODECS, GENERATORS, ROOT, SEEN


def test_all_cells_of_the_taxonomy_are_there():
    cells = [CODECS[name].cell for name in SEEN]
    assert len(cells) == len(set(cells)) == 18
    assert len(set(CODECS) - SEEN) + len(GENERATORS) >= 8


def test_names_say_the_cell():
    for name in SEEN:
        assert "-".join(CODECS[name].cell) == name


def test_no_codec_heard_a_voice_of_the_tests():
    test = {voice.voice for voice in voices() if voice.part != "train"}
    for config in CODECS.values():
        assert not set(config.training.voices) & test


def test_all_weights_are_small_enough():
    for name in (*CODECS, *GENERATORS):
        size = (ROOT / "codecs" / f"{name}.safetensors").stat().st_size
        assert size <= 480_000, name


def test_the_weights_that_ship_are_those_that_a_rebuild_must_come_to():
    said = dict(pl.read_csv(ROOT / "digests.csv").iter_rows())
    assert {"recordings", "clips"} < set(said)
    for name in (*CODECS, *GENERATORS):
        weights = (ROOT / "codecs" / f"{name}.safetensors").read_bytes()
        assert said[f"{name}.safetensors"] == hashlib.sha256(weights).hexdigest(), name


@pytest.fixture(scope="module")
def voice() -> np.ndarray:
    """A second and a half of something voiced."""
    time = np.arange(24_000) / 16_000
    pitch = 120 + 30 * np.sin(2 * np.pi * 2 * time)
    phase = 2 * np.pi * np.cumsum(pitch) / 16_000
    wave = sum(np.cos(k * phase) / k for k in range(1, 20)) * (0.6 + 0.4 * np.sin(9 * time))
    return (0.03 * wave).astype(np.float32)


@pytest.mark.parametrize("name", CODECS)
def test_every_codec_gives_speech_back(name, voice, one_thread):
    decoded = load_codec(ROOT / "codecs" / f"{name}.toml").resynthesise(voice)
    assert decoded.shape == voice.shape
    assert np.isfinite(decoded).all()
    # The envelope of what it decodes is that of what it heard.
    loud = [np.abs(wave).reshape(-1, 800).mean(axis=1) for wave in (voice, decoded)]
    assert np.corrcoef(*loud)[0, 1] > 0.5
    assert 0.3 < loud[1].mean() / loud[0].mean() < 3


@pytest.mark.parametrize("name", GENERATORS)
def test_every_generator_goes_on_from_a_prompt(name, voice, one_thread):
    codec = load_codec(ROOT / "codecs" / f"{GENERATORS[name]}.toml")
    model = load_code_model(ROOT / "codecs" / f"{name}.safetensors", codec)
    made = [generate(codec, model, voice[:16_000], 8_000, key) for key in ("a", "a", "b")]
    assert made[0].shape == (8_000,)
    assert np.abs(made[0]).max() > 1e-3
    np.testing.assert_array_equal(made[0], made[1])
    assert (made[0] != made[2]).any()
