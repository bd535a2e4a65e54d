"""RawBoost against the authors' own results, against scipy's filters, and by its statistics."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from scipy import signal

from cfbench.errors import CfbenchError
from cfbench.rawboost import RawBoostSettings, augment

RATE = 16000
ALGORITHMS = range(9)


def noisy(speech, algorithm, seed=0, **settings):
    return augment(
        np.asarray(speech, np.float32),
        algorithm,
        np.random.default_rng(seed),
        RawBoostSettings(**settings),
    )


def speechlike(samples=64600, seed=7):
    """Noise with the slope and the pauses of speech, peak 0.5."""
    rng = np.random.default_rng(seed)
    sloped = signal.lfilter([1.0], [1.0, -0.9], rng.standard_normal(samples))
    syllables = np.maximum(np.sin(2 * np.pi * 4 * np.arange(samples) / RATE), 0.0)
    wave = sloped * syllables
    return (0.5 * wave / np.abs(wave).max()).astype(np.float32)


def decibels(ratio):
    return 20 * np.log10(ratio)


def test_the_defaults_are_the_authors(golden):
    published = json.loads(str(np.load(golden / "model" / "rawboost_golden.npz")["args"]))
    ours = {
        name.replace("_", "").lower(): value for name, value in asdict(RawBoostSettings()).items()
    }
    assert ours == {name.replace("_", "").lower(): value for name, value in published.items()}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_authors_chance_gives_the_authors_results(golden, algorithm):
    stored = np.load(golden / "model" / "rawboost_golden.npz")
    # Their numbers come from numpy's old generator, which draws by the same methods.
    chance = np.random.RandomState(1234 + algorithm)
    result = augment(stored["x"], algorithm, chance)
    np.testing.assert_allclose(result, stored[f"algo{algorithm}"], rtol=0, atol=2e-6)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("samples", [1, 2, 499, 4096, 64600])
def test_every_length_comes_back_finite(algorithm, samples):
    result = noisy(speechlike(64600)[-samples:], algorithm)
    assert result.shape == (samples,)
    assert result.dtype == np.float32
    assert np.isfinite(result).all()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_silence_stays_silent(algorithm):
    assert not noisy(np.zeros(8000), algorithm).any()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_chance_comes_from_the_generator_alone(algorithm):
    speech = speechlike()
    before = speech.copy()
    first = noisy(speech, algorithm, seed=3)
    np.random.seed(algorithm)
    again = noisy(speech, algorithm, seed=3)
    assert first.tobytes() == again.tobytes()
    assert speech.tobytes() == before.tobytes()
    assert not np.shares_memory(first, speech)
    other = noisy(speech, algorithm, seed=4)
    assert (first.tobytes() == other.tobytes()) == (algorithm == 0)


@pytest.mark.parametrize(
    ("algorithm", "parts"), [(4, (1, 2, 3)), (5, (1, 2)), (6, (1, 3)), (7, (2, 3))]
)
def test_algorithms_in_series(algorithm, parts):
    speech = speechlike()
    rng = np.random.default_rng(5)
    expected = speech
    for part in parts:
        expected = augment(expected, part, rng)
    assert noisy(speech, algorithm, seed=5).tobytes() == expected.tobytes()


def test_algorithm_8_is_a_sum():
    speech = speechlike()
    rng = np.random.default_rng(5)
    both = augment(speech, 1, rng) + augment(speech, 2, rng)
    assert np.abs(both).max() > 1
    np.testing.assert_allclose(noisy(speech, 8, seed=5), both / np.abs(both).max(), rtol=1e-6)


@pytest.mark.parametrize("algorithm", [1, 2, 5, 8])
def test_only_what_is_too_loud_is_scaled(algorithm):
    speech = speechlike()
    peaks = [np.abs(noisy(2 * speech, algorithm, seed)).max() for seed in range(10)]
    assert max(peaks) == pytest.approx(1.0, abs=1e-6)
    assert np.abs(noisy(speech / 50, algorithm)).max() < 0.5


def test_stationary_noise_is_not_scaled():
    loud = speechlike() * 2
    assert max(np.abs(noisy(loud, 3, seed)).max() for seed in range(10)) > 1.001


class TestConvolutive:
    def test_a_filter_is_a_cascade_of_windowed_notches(self):
        speech = 0.02 * speechlike()
        fixed = {"min_f": 2000, "max_f": 2000, "min_bw": 600, "max_bw": 600}
        # From 60 up to and without 61: 60, which becomes 61.
        result = noisy(speech, 1, n_f=1, n_bands=2, min_coeff=60, max_coeff=61, **fixed)
        notch = signal.firwin(61, [1700, 2300], pass_zero="bandstop", fs=RATE)
        cascade = np.convolve(notch, notch)
        cascade /= np.abs(signal.freqz(cascade, worN=512)[1]).max()
        # 60 samples of delay, and the one that the authors take off too many.
        expected = np.convolve(np.pad(speech, (0, 1)), cascade)[61 : 61 + speech.size]
        np.testing.assert_allclose(result, expected - expected.mean(), rtol=0, atol=1e-7)

    def test_notches_at_the_ends_of_the_spectrum(self):
        speech = 0.02 * speechlike()
        for centre, band in ((20, [0.001, 320]), (8000, [7700, 7999.999])):
            fixed = {"min_f": centre, "max_f": centre, "min_bw": 600, "max_bw": 600}
            result = noisy(speech, 1, n_f=1, n_bands=1, min_coeff=99, max_coeff=100, **fixed)
            notch = signal.firwin(99, band, pass_zero="bandstop", fs=RATE)
            notch /= np.abs(signal.freqz(notch, worN=512)[1]).max()
            expected = np.convolve(np.pad(speech, (0, 1)), notch)[50 : 50 + speech.size]
            np.testing.assert_allclose(result, expected - expected.mean(), rtol=0, atol=1e-7)

    def test_the_first_order_is_linear_and_the_higher_are_not(self):
        speech = 0.2 * speechlike()
        for orders, same in ((1, True), (5, False)):
            doubled = noisy(2 * speech, 1, n_f=orders)
            twice = 2 * noisy(speech, 1, n_f=orders)
            off = np.linalg.norm(doubled - twice) / np.linalg.norm(twice)
            assert (off < 1e-5) == same

    def test_every_higher_order_is_lower_by_a_bias_of_its_own(self):
        # Of a cosine's powers 1 to 4 only the fourth has its fourth harmonic (an eighth), only the
        # third its third (a quarter, and three quarters of the first). The notch is far above.
        far = {"min_f": 7000, "max_f": 7000, "min_coeff": 99, "n_bands": 1}
        tone = np.cos(2 * np.pi * 500 * np.arange(16000) / RATE)
        biases = []
        for seed in range(80):
            middle = noisy(tone, 1, seed, n_f=4, **far)[4000:12000]
            _, first, _, third, fourth = np.abs(np.fft.rfft(middle))[:1001:250]
            linear = first - 3 * third
            biases.append(-decibels(np.array([4 * third, 8 * fourth]) / linear))
        biases = np.array(biases)
        assert np.all((biases > 4.5) & (biases < 20.5))
        assert biases.min(axis=0) == pytest.approx(5, abs=1)
        assert biases.max(axis=0) == pytest.approx(20, abs=1)
        assert abs(np.corrcoef(biases.T)[0, 1]) < 0.3

    def test_the_mean_is_taken_off(self):
        assert abs(noisy(speechlike() + 0.2, 1).mean()) < 1e-6


@pytest.fixture(scope="module")
def moves():
    """Of 200 draws of impulsive noise: each sample's relative move."""
    level = np.full(4000, 0.1, np.float32)
    results = np.array([noisy(level, 2, seed) for seed in range(200)])
    return results / level - 1


class TestImpulsive:
    def test_up_to_a_tenth_of_the_samples_is_touched(self, moves):
        shares = (moves != 0).mean(axis=1)
        assert 0.09 < shares.max() <= 0.1
        assert shares.min() < 0.01
        assert shares.mean() == pytest.approx(0.05, abs=0.006)

    def test_every_place_is_as_likely(self, moves):
        touched = np.nonzero(moves)[1]
        assert np.histogram(touched, bins=8, range=(0, 4000))[0] == pytest.approx(
            touched.size / 8, rel=0.06
        )

    def test_sizes_are_products_of_two_uniform_numbers(self, moves):
        sizes = moves[moves != 0]
        assert np.abs(sizes).max() <= 2 + 1e-5
        assert sizes.mean() == pytest.approx(0, abs=0.02)
        assert np.abs(sizes).mean() == pytest.approx(0.5, abs=0.02)  # g_sd / 4
        assert sizes.std() == pytest.approx(2 / 3, abs=0.02)  # g_sd / 3

    def test_what_is_louder_moves_more(self):
        speech = speechlike()
        moved = noisy(speech, 2, p=100, g_sd=0.5) - speech
        assert np.all(np.abs(moved) <= 0.5 * np.abs(speech) + 1e-7)
        assert not moved[speech == 0].any()

    def test_none_where_the_share_is_nothing(self):
        speech = speechlike()
        assert noisy(speech, 2, p=0).tobytes() == speech.tobytes()


class TestStationary:
    def test_the_signal_to_noise_ratio_is_in_range(self):
        speech = speechlike(8000)
        ratios = [
            decibels(np.linalg.norm(speech) / np.linalg.norm(noisy(speech, 3, seed) - speech))
            for seed in range(200)
        ]
        assert 10 - 1e-3 < min(ratios) < 11
        assert 39 < max(ratios) < 40 + 1e-3
        assert np.mean(ratios) == pytest.approx(25, abs=2)

    def test_noise_has_notches_where_they_are_put(self):
        speech = speechlike()
        fixed = {"min_f": 3000, "max_f": 3000, "min_bw": 1000, "max_bw": 1000, "min_coeff": 99}
        noise = noisy(speech, 3, n_bands=1, **fixed) - speech
        frequencies, power = signal.welch(noise, RATE, nperseg=512)
        notched = power[np.abs(frequencies - 3000) < 250].mean()
        passed = power[(np.abs(frequencies - 3000) > 800) & (frequencies > 100)]
        assert decibels(notched / passed.mean()) / 2 < -25
        assert decibels(passed.max() / passed.min()) / 2 < 6

    def test_noise_does_not_depend_on_the_signal(self):
        speech = speechlike()
        noises = [noisy(wave, 3, seed=2) - wave for wave in (speech, speech[::-1])]
        np.testing.assert_allclose(*noises, atol=1e-6)


def test_another_rate_needs_settings_of_its_own():
    speech, rng = speechlike(8000), np.random.default_rng(0)
    with pytest.raises(CfbenchError, match=r"8000 Hz, above half of the rate of 8000 Hz\n.*4000"):
        augment(speech, 1, rng, rate=8000)
    result = augment(speech, 4, rng, RawBoostSettings(max_f=4000), rate=8000)
    assert np.isfinite(result).all()


@pytest.mark.parametrize("algorithm", [-1, 9])
def test_unknown_algorithms(algorithm):
    with pytest.raises(CfbenchError, match=f"no RawBoost algorithm {algorithm}\n.*0 to 8"):
        noisy(np.zeros(10), algorithm)


@pytest.mark.parametrize("algorithm", [0, 4])
@pytest.mark.parametrize(
    ("speech", "message"),
    [
        (np.zeros((2, 10), np.float32), r"shape \(2, 10\) and type float32\n.*one channel"),
        (np.zeros(10, np.int16), "type int16\n.*floating-point"),
        (np.zeros(0, np.float32), "no samples"),
        (np.array([0.0, np.nan], np.float32), "NaN or infinite"),
        (np.array([0.0, -np.inf], np.float32), "NaN or infinite"),
        (np.array([0.0, -20000.0], np.float32), "peak is 20000, and full scale is 1\n.*32768"),
    ],
)
def test_speech_that_cannot_be_used(algorithm, speech, message):
    with pytest.raises(CfbenchError, match=message):
        augment(speech, algorithm, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"p": 101.0}, r"p is 101.0, not 0.0 to 100.0\n.*published"),
        ({"snr_min": float("nan")}, "snr_min is nan"),
        ({"max_g": float("inf")}, "max_g is inf"),
        ({"n_f": 0}, "n_f is 0, not 1 to 20"),
        ({"n_bands": 2.5}, "n_bands is 2.5, not a whole number"),
        ({"min_f": 9000.0}, "min_f is above max_f"),
        ({"min_coeff": 200}, "min_coeff is above max_coeff"),
        ({"snr_max": 5.0}, "snr_min is above snr_max"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(CfbenchError, match=message):
        RawBoostSettings(**settings)
