"""What a codec's card is computed by: measures of signals, and the probes of its latents."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.preprocessing import StandardScaler
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

import speech
from cfbench.errors import CfbenchError
from cfbench.mini.measures import (
    RATE,
    codebook_use,
    mel_distance,
    mel_filters,
    mel_power,
    si_sdr,
)
from cfbench.mini.probes import speaker_probe, teacher_probe


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    return speech.utterance(1, 1.3)


def others_mel_power(sound, bands, window, hop):
    filters = mel_filter_bank(window // 2 + 1, bands, 0.0, 8000.0, RATE, "slaney", "slaney")
    shape = window_function(window, "hann")
    found = spectrogram(
        sound, shape, window, hop, power=2.0, pad_mode="constant", mel_filters=filters, mel_floor=0
    )
    return filters, found.T


@pytest.mark.parametrize(("bands", "window", "hop"), [(80, 1024, 256), (40, 400, 160)])
def test_mel_power_is_that_of_another_implementation(sound, bands, window, hop):
    filters, power = others_mel_power(sound, bands, window, hop)
    assert mel_filters(bands, window) == pytest.approx(filters, rel=1e-9, abs=1e-12)
    found = mel_power(sound, bands, window, hop)
    assert found.shape == (1 + sound.size // hop, bands)
    # The other one keeps its spectra in single precision.
    assert found == pytest.approx(power, rel=1e-3, abs=1e-9 * power.max())


def test_mel_distance_of_equal_signals_is_0(sound):
    assert mel_distance(sound, sound.copy()) == 0.0


@pytest.mark.parametrize("gain", [0.1, 10.0])
def test_mel_distance_of_a_gain_is_that_gain(rng, gain):
    noise = rng.standard_normal(RATE)
    assert mel_distance(noise, gain * noise) == pytest.approx(20.0)


def test_mel_distance_is_that_of_another_implementation(sound, rng):
    decoded = (speech.through("rvq", sound) + 0.001 * rng.standard_normal(sound.size)).astype(
        np.float32
    )
    first, second = (others_mel_power(s, 80, 1024, 256)[1] for s in (sound, decoded))
    decibels = [10 * np.log10(np.maximum(p, 1e-8 * first.max())) for p in (first, second)]
    expected = np.abs(decibels[0] - decibels[1]).mean()
    assert expected > 1
    assert mel_distance(sound, decoded) == pytest.approx(expected, rel=1e-3)


def test_mel_distance_does_not_see_what_is_80_db_below(rng):
    noise, quiet = rng.standard_normal((2, RATE))
    noise[RATE // 2 :] = 0
    quiet[: RATE // 2] = 0
    assert mel_distance(noise, noise + 1e-6 * quiet) < 0.01
    # 60 dB below it sees it: about 20 dB in half of the frames.
    assert 5 < mel_distance(noise, noise + 1e-3 * quiet) < 15


def test_mel_distance_to_silence_is_the_height_above_the_floor(sound):
    power = mel_power(sound, 80, 1024, 256)
    height = np.maximum(10 * np.log10(power / power.max()) + 80, 0)
    assert mel_distance(sound, np.zeros_like(sound)) == pytest.approx(height.mean())


def test_si_sdr_of_noise_at_a_right_angle():
    time = 2 * np.pi * np.arange(RATE) / RATE
    sound, other = np.sin(100 * time), np.cos(100 * time)
    assert si_sdr(sound, sound + 0.1 * other) == pytest.approx(20.0)
    assert si_sdr(sound, -3 * (sound + 0.01 * other) + 0.5) == pytest.approx(40.0)
    assert si_sdr(sound, other) < -200


def test_si_sdr_at_its_ends(sound):
    assert si_sdr(sound, sound) == np.inf
    assert si_sdr(sound, 0.3 * sound) > 100
    assert si_sdr(sound, np.zeros_like(sound)) == -np.inf


@pytest.mark.parametrize("measure", [mel_distance, si_sdr])
@pytest.mark.parametrize(
    ("original", "decoded", "message"),
    [
        (np.ones(9), np.ones(8), "an original of 9 samples and 8 decoded ones"),
        (np.ones((1, 9)), np.ones(9), r"an original of shape \(1, 9\)"),
        (np.ones(9), np.ones(9, int), "a decoded signal of shape .* int64"),
        (np.ones(0), np.ones(0), r"an original of shape \(0,\)"),
        (np.ones(9), np.full(9, np.nan), "a decoded signal with samples that are NaN"),
        (np.zeros(9), np.ones(9), "an original that is silent"),
    ],
    ids=["length", "channels", "integers", "empty", "nan", "silent"],
)
def test_what_is_no_pair_is_refused(measure, original, decoded, message):
    with pytest.raises(CfbenchError, match=message):
        measure(original, decoded)


def test_codebook_use(rng):
    codes = np.array([[0, 0, 1, 1], [2, 2, 3, 3]], np.int16)
    assert codebook_use(codes, 8) == (0.5, pytest.approx(4.0))
    assert codebook_use(np.zeros(5, np.uint8), 4) == (0.25, pytest.approx(1.0))
    # 3/4 and 1/4: e to the entropy is (4/3)^(3/4) * 4^(1/4).
    share, perplexity = codebook_use(np.array([7, 7, 2, 7]), 10)
    assert (share, perplexity) == (0.2, pytest.approx((4 / 3) ** 0.75 * 4**0.25))
    names = rng.permutation(10)
    assert codebook_use(names[[7, 7, 2, 7]], 10) == (share, perplexity)


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (np.array([0, 4, -1]), "no entry -1, 4 in a code book of 4"),
        (np.array([0.0]), "float64"),
        (np.array([], int), r"shape \(0,\)"),
    ],
)
def test_codes_that_are_none_are_refused(codes, message):
    with pytest.raises(CfbenchError, match=message):
        codebook_use(codes, 4)


def utterances(rng, count, width, frames=60):
    return [rng.standard_normal((frames + index, width)) for index in range(count)]


def neighbours(latents, context):
    """Another way to a context: the frame of each neighbour, held within the utterance."""
    places = np.arange(len(latents))[:, None] + np.arange(-context, context + 1)
    return latents[np.clip(places, 0, len(latents) - 1)].reshape(len(latents), -1)


@pytest.mark.parametrize("context", [0, 2])
def test_teacher_probe_is_ridge_regression(rng, context):
    train, test = utterances(rng, 6, 4), utterances(rng, 3, 4)
    mixing = rng.standard_normal((4, 5))
    teach = [np.tanh(x @ mixing) + 0.5 * rng.standard_normal((len(x), 5)) + 3 for x in train]
    check = [np.tanh(x @ mixing) + 0.5 * rng.standard_normal((len(x), 5)) + 3 for x in test]
    inputs, answers = (np.vstack([neighbours(x, context) for x in part]) for part in (train, test))
    scaler = StandardScaler().fit(inputs)
    ridge = Ridge(alpha=1e-3 * len(inputs)).fit(scaler.transform(inputs), np.vstack(teach))
    expected = r2_score(np.vstack(check), ridge.predict(scaler.transform(answers)))
    assert 0.2 < expected < 0.9
    assert teacher_probe(train, teach, test, check, context) == pytest.approx(expected)


def test_teacher_probe_needs_the_context_that_holds_the_answer(rng):
    train, test = utterances(rng, 8, 3), utterances(rng, 4, 3)

    def one_ahead(part):
        return [neighbours(x, 1)[:, 6:] for x in part]

    scores = [teacher_probe(train, one_ahead(train), test, one_ahead(test), k) for k in (0, 1)]
    assert scores[0] < 0.1
    assert scores[1] > 0.999


def test_teacher_probe_of_what_is_unrelated_is_not_above_0(rng):
    train, test = utterances(rng, 8, 3), utterances(rng, 4, 3)
    assert teacher_probe(train, utterances(rng, 8, 2), test, utterances(rng, 4, 2), 1) < 0.01
    worse = [x + 10 for x in test]
    assert teacher_probe(train, train, test, worse, 0) < -10


def test_teacher_probe_with_what_is_constant(rng):
    train, test = utterances(rng, 6, 3), utterances(rng, 3, 3)

    def wider(part):  # codes that say nothing
        return [np.hstack((x, np.full((len(x), 1), 0.1))) for x in part]

    plain = teacher_probe(train, train, test, test, 1)
    assert teacher_probe(wider(train), train, wider(test), test, 1) == pytest.approx(plain)
    assert teacher_probe(train, wider(train), test, wider(test), 1) == pytest.approx(plain)
    with pytest.raises(CfbenchError, match="a teacher that is constant in the test"):
        teacher_probe(train, train, test, [np.ones_like(x) for x in test], 0)


@pytest.mark.parametrize("change", ["count", "frames", "width", "none", "flat"])
def test_latents_and_teachers_that_do_not_fit_are_refused(rng, change):
    codes = utterances(rng, 3, 2)
    teacher = [x.copy() for x in codes]
    if change == "count":
        teacher.pop()
    elif change == "frames":
        teacher[1] = teacher[1][1:]
    elif change == "width":
        teacher[1] = teacher[1][:, 1:]
    elif change == "none":
        codes, teacher = [], []
    else:
        codes[0], teacher[0] = codes[0][:, 0], teacher[0][:, 0]
    good = utterances(rng, 2, 2)
    with pytest.raises(CfbenchError, match="test: latents and the teacher's features do not fit"):
        teacher_probe(good, good, codes, teacher, 0)
    with pytest.raises(CfbenchError, match="training: latents"):
        teacher_probe(codes, teacher, good, good, 0)


def test_teacher_probe_refuses_other_dimensions_and_contexts(rng):
    two, three = utterances(rng, 2, 2), utterances(rng, 2, 3)
    with pytest.raises(CfbenchError, match="other dimensions"):
        teacher_probe(two, two, three, two, 0)
    with pytest.raises(CfbenchError, match="a context of -1 frames"):
        teacher_probe(two, two, two, two, -1)


def test_speaker_probe_tells_voices_and_not_noise(rng):
    names = ["anna", "ben", "cleo"] * 40
    centres = {"anna": [0, 0, 9], "ben": [0, 9, 0], "cleo": [9, 0, 0]}
    # A large offset and another unit in one column: standardising must take both away.
    vectors = np.array([centres[name] for name in names]) + rng.standard_normal((120, 3))
    vectors = vectors * [1, 1e-6, 1] + [1e6, 0, 0]
    noise = rng.standard_normal((120, 3))
    assert speaker_probe(vectors[:60], names[:60], vectors[60:], names[60:]) == 1.0
    assert speaker_probe(noise[:60], names[:60], noise[60:], names[60:]) < 0.6
    # One wrong name of 60 in the test is one error.
    wrong = ["ben" if name == "anna" and not index else name for index, name in enumerate(names)]
    assert speaker_probe(vectors[60:], names[60:], vectors[:60], wrong[:60]) == 59 / 60


@pytest.mark.parametrize(
    ("train", "test", "width", "message"),
    [
        (["a", "b"], ["a", "c", "d"], 2, "not in training: c, d"),
        (["a", "a"], ["a"], 2, "all utterances of the training are of one speaker"),
        (["a", "b", "c"], ["a"], 2, r"vectors of shape \(2, 2\) for 3 utterances"),
        (["a", "b"], ["a"], 3, "other dimensions"),
        (["a", "b"], [], 2, r"vectors of shape \(0, 2\)"),
    ],
)
def test_speakers_that_do_not_fit_are_refused(train, test, width, message):
    with pytest.raises(CfbenchError, match=message):
        speaker_probe(np.eye(2), train, np.ones((len(test), width)), test)
