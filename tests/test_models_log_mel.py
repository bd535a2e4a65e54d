"""The classical baseline: its features, its training, and the files it is kept in."""

import json
import sys
from functools import partial

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from scipy import signal
from sklearn.linear_model import LogisticRegression

from cfbench.errors import CfbenchError
from cfbench.models.log_mel import LogMelBaseline
from cfbench.models.spectrum import FeatureSettings, features
from cfbench.tasks import load_tasks

RATE = 16000
SAMPLES = 8000
# One gentle filter for each of four classes: those of `vq`; `bin` is bona fide for the first.
SLOPES = (0.0, 0.15, 0.3, 0.45)


def clips(count, seed):
    """White noise through the filter of its class, at any loudness; and the labels."""
    rng = np.random.default_rng(seed)
    vq = rng.integers(0, 4, count)
    waves = [signal.lfilter([1.0], [1.0, -SLOPES[cls]], rng.standard_normal(SAMPLES)) for cls in vq]
    loudness = 10 ** rng.uniform(-3, 0, (count, 1))
    labels = {"vq": vq, "bin": (vq == 0).astype(int)}
    return (np.array(waves) * loudness).astype(np.float32), labels


@pytest.fixture(scope="module")
def training():
    waves, labels = clips(300, seed=1)
    return features(waves), labels


@pytest.fixture(scope="module")
def unseen():
    return clips(200, seed=2)


@pytest.fixture(scope="module")
def model(training):
    return LogMelBaseline.fit(*training)


@pytest.fixture
def saved(model, tmp_path):
    model.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


class TestFeatures:
    def test_four_statistics_of_every_band(self, unseen):
        found = features(unseen[0][:3])
        assert found.shape == (3, FeatureSettings().dims) == (3, 4 * (64 + 32))
        assert found.dtype == np.float32

    def test_white_noise_has_the_same_power_in_every_band(self):
        noise = np.random.default_rng(0).standard_normal((1, 160000))
        wide = FeatureSettings(n_mels=8, n_bands=4)
        means, deviations, sizes, steps = features(noise, wide).reshape(4, 12)
        # The mean of the logarithm of power 1 that is spread over many frequencies is just below 0.
        assert np.all((means > -0.25) & (means < 0))
        # Frames that overlap by half are all but independent: differences vary by sqrt(2) more.
        assert np.all(np.abs(steps / deviations - np.sqrt(2)) < 0.2)
        # Of a normal distribution: mean size / standard deviation.
        np.testing.assert_allclose(sizes / steps, np.sqrt(2 / np.pi), rtol=0.05)

    @pytest.mark.parametrize(
        ("frequency", "mel_band", "linear_band"),
        # Slaney's scale has 45.245 mels to 8 kHz, so that band i peaks at 0.69608 (i + 1) mels:
        # 500 Hz is 7.5 mels, 1020 Hz 15.29, 4060 Hz 35.38, 6400 Hz 42. Linear bands are 125 Hz
        # wide, from 4 kHz.
        [(500, 10, None), (1020, 21, None), (4060, 50, 0), (6400, 59, 19), (7950, 63, 31)],
    )
    def test_a_tone_is_in_its_band(self, frequency, mel_band, linear_band):
        tone = np.sin(2 * np.pi * frequency * np.arange(SAMPLES) / RATE)[None]
        mels, linear = np.split(features(tone)[0, : 64 + 32], [64])
        assert np.argmax(mels) == mel_band
        if linear_band is None:
            assert linear.max() < -10
        else:
            assert np.argmax(linear) == linear_band

    def test_loudness_says_nothing(self, unseen):
        waves = unseen[0][:5]
        np.testing.assert_allclose(features(waves * 0.01), features(waves), atol=1e-4)

    def test_silence_is_finite_and_flat(self):
        found = features(np.zeros((1, SAMPLES), np.float32)).reshape(4, -1)
        np.testing.assert_allclose(found[0], np.log(1e-8), rtol=1e-6)
        np.testing.assert_allclose(found[1:], 0, atol=1e-5)

    def test_a_clip_does_not_depend_on_the_others(self, unseen):
        waves = unseen[0][:8]
        together = features(waves)
        assert together[5:6].tobytes() == features(waves[5:6]).tobytes()
        assert features(waves[::-1]).tobytes() == together[::-1].tobytes()

    def test_no_clips_give_no_rows(self):
        assert features(np.zeros((0, SAMPLES), np.float32)).shape == (0, 384)

    @pytest.mark.parametrize(
        ("waves", "message"),
        [
            (np.zeros(SAMPLES, np.float32), r"shape \(8000,\) and type float32\n.*a row for each"),
            (np.zeros((2, SAMPLES), np.int16), "type int16\n.*floating-point"),
            (np.zeros((2, 767), np.float32), "clips of 767 samples: features need 768 at least"),
            (np.array([[0.0] * 800, [np.nan] * 800]), "samples that are NaN or infinite in row 1"),
        ],
    )
    def test_waves_that_cannot_be_used(self, waves, message):
        with pytest.raises(CfbenchError, match=message):
            features(waves)

    def test_the_shortest_clip(self):
        assert np.isfinite(features(np.ones((1, 768), np.float32))).all()

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"hop": 0}, "hop is 0"),
            ({"n_mels": 200}, "frames of 512 samples leave a band without a frequency"),
            ({"n_bands": 129}, "frames of 512 samples leave a band without a frequency"),
        ],
    )
    def test_settings_that_cannot_be_used(self, settings, message):
        with pytest.raises(CfbenchError, match=message):
            FeatureSettings(**settings)


class TestTraining:
    def test_it_learns_what_filters_did_to_noise(self, model, unseen):
        waves, labels = unseen
        found = model.probabilities(waves)
        assert model.tasks == tuple(found) == ("bin", "vq")
        for task_id, right in labels.items():
            assert np.mean(found[task_id].argmax(axis=1) == right) > 0.95

    def test_rows_are_distributions(self, model, unseen):
        for task_id, rows in model.probabilities(unseen[0]).items():
            assert rows.shape == (200, len(load_tasks()[task_id].classes))
            assert rows.dtype == np.float64
            assert rows.min() >= 0
            np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-12)

    def test_a_clip_does_not_depend_on_the_others(self, model, unseen):
        waves = unseen[0][:20]
        together = model.probabilities(waves)
        for index in range(20):
            alone = model.probabilities(waves[index : index + 1])
            for task_id, rows in alone.items():
                assert rows.tobytes() == together[task_id][index].tobytes()

    @pytest.mark.parametrize("weights", [None, {"vq": (9, 1, 1, 0.5), "bin": (1, 9)}])
    def test_probabilities_are_those_of_another_solver(self, training, unseen, weights):
        """There is one optimum, and training goes down to it."""
        rows, labels = training
        unseen_rows = features(unseen[0])
        # Shuffled labels keep the probabilities away from 0 and 1, where all models agree.
        rng = np.random.default_rng(0)
        labels = {task_id: rng.permutation(right) for task_id, right in labels.items()}
        model = LogMelBaseline.fit(rows, labels, weights, c=0.01)
        found = model.probabilities_of_features(unseen_rows)
        mean, scale = rows.mean(axis=0, dtype=float), rows.std(axis=0, dtype=float)
        for task_id, right in labels.items():
            balance = dict(enumerate(weights[task_id])) if weights else None
            theirs = LogisticRegression(C=0.01, tol=1e-9, max_iter=9999, class_weight=balance)
            theirs.fit((rows - mean) / scale, right)
            expected = theirs.predict_proba((unseen_rows - mean) / scale)
            assert expected.std(axis=0).min() > 0.005
            np.testing.assert_allclose(found[task_id], expected, atol=1e-5)

    def test_a_heavier_class_is_found_more_often(self, training, unseen):
        rows, labels = training
        noise = np.random.default_rng(0).permutation(labels["bin"])
        shares = [
            LogMelBaseline.fit(rows, {"bin": noise}, {"bin": (1, weight)}, c=1e-4)
            .probabilities(unseen[0])["bin"][:, 1]
            .mean()
            for weight in (0.2, 1, 5)
        ]
        assert shares == sorted(shares)
        assert shares[2] - shares[0] > 0.2

    def test_a_class_without_clips_has_probability_0(self, training, unseen):
        rows, labels = training
        few = labels["vq"] != 1
        model = LogMelBaseline.fit(rows[few], {"vq": labels["vq"][few]}, {"vq": (1, 50, 1, 1)})
        waves, right = unseen
        found = model.probabilities(waves)["vq"]
        assert found.shape == (200, 4)
        assert not found[:, 1].any()
        np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-12)
        known = right["vq"] != 1
        assert np.mean(found[known].argmax(axis=1) == right["vq"][known]) > 0.95

    def test_two_of_four_classes(self, training, unseen):
        rows, labels = training
        few = labels["vq"] >= 2
        model = LogMelBaseline.fit(rows[few], {"vq": labels["vq"][few]})
        waves, right = unseen
        found = model.probabilities(waves)["vq"]
        assert not found[:, :2].any()
        known = right["vq"] >= 2
        assert np.mean(found[known].argmax(axis=1) == right["vq"][known]) > 0.95

    def test_a_constant_feature_does_no_harm(self, training):
        rows, labels = training
        rows = rows.copy()
        rows[:, 3] = 2.0
        model = LogMelBaseline.fit(rows, labels)
        assert all(np.isfinite(p).all() for p in model.probabilities_of_features(rows).values())

    @pytest.mark.parametrize(
        ("labels", "message"),
        [
            ({}, "labels of at least one task"),
            (
                {"auxx": np.zeros(4, int)},
                r"no task 'auxx' \(did you mean 'aux\'\?\)\n.*bin, vq, aux, dec",
            ),
            (
                {"vq": np.zeros(4, int)},
                "vq: all of the 4 clips to train on are 'real'\n.*two",
            ),
            ({"vq": np.zeros(3, int)}, r"vq: labels of shape \(3,\) and type int64 for 4 clips"),
            ({"vq": np.zeros(4)}, "type float64 for 4 clips\n.*index of a class"),
            (
                {"bin": np.array([0, 1, 2, 5])},
                "bin: no class has the index 2, 5\n.*spoof, bonafide",
            ),
            ({"bin": np.array([0, 1, 1, -1])}, "bin: no class has the index -1"),
        ],
    )
    def test_labels_that_cannot_be_used(self, training, labels, message):
        with pytest.raises(CfbenchError, match=message):
            LogMelBaseline.fit(training[0][:4], labels)

    @pytest.mark.parametrize(
        ("weights", "message"),
        [
            ({"vq": (1, 1)}, r"vq: class weights \[1.0, 1.0\]\n.*each of real, mvq, svq, sq"),
            ({"bin": (1, 0)}, "bin: class weights .*\n.*above 0"),
            ({"bin": (1, float("nan"))}, "bin: class weights"),
            ({"codec": (1, 1)}, "no task 'codec'"),
            ({"dec": (1, 1, 1)}, "dec: class weights, but no labels"),
        ],
    )
    def test_weights_that_cannot_be_used(self, training, weights, message):
        with pytest.raises(CfbenchError, match=message):
            LogMelBaseline.fit(*training, weights)

    def test_features_that_cannot_be_used(self, training, model):
        rows, labels = training
        for use in (partial(LogMelBaseline.fit, labels=labels), model.probabilities_of_features):
            with pytest.raises(CfbenchError, match=r"shape \(300, 5\), not \(clips, 384\)\n"):
                use(rows[:, :5])
            broken = rows.copy()
            broken[[7, 9], 2] = np.inf
            with pytest.raises(CfbenchError, match="features that are NaN or infinite in row 7, 9"):
                use(broken)
        with pytest.raises(CfbenchError, match="training needs clips"):
            LogMelBaseline.fit(rows[:0], {"vq": labels["vq"][:0]})

    @pytest.mark.parametrize("setting", [{"c": 0.0}, {"c": float("nan")}, {"max_iter": 0}])
    def test_solver_settings_that_cannot_be_used(self, training, setting):
        with pytest.raises(CfbenchError, match="must be above 0"):
            LogMelBaseline.fit(*training, **setting)


class TestFiles:
    def test_a_round_trip(self, model, saved, unseen):
        again = LogMelBaseline.from_pretrained(saved)
        assert again.tasks == model.tasks
        assert again.settings == model.settings
        before, after = (m.probabilities(unseen[0][:20]) for m in (model, again))
        for task_id in model.tasks:
            assert before[task_id].tobytes() == after[task_id].tobytes()

    def test_a_round_trip_of_missing_classes_and_other_settings(self, tmp_path, unseen):
        waves, labels = unseen
        settings = FeatureSettings(n_fft=256, hop=128, n_mels=20, n_bands=8)
        few = labels["vq"] != 2
        rows = features(waves[few], settings)
        model = LogMelBaseline.fit(rows, {"vq": labels["vq"][few]}, settings=settings)
        model.save_pretrained(tmp_path)
        again = LogMelBaseline.from_pretrained(tmp_path)
        assert again.settings == settings
        found = again.probabilities(waves)["vq"]
        assert found.tobytes() == model.probabilities(waves)["vq"].tobytes()
        assert not found[:, 2].any()

    def test_the_same_input_gives_the_same_bytes(self, training, saved, tmp_path):
        rows, labels = training
        other_order = dict(reversed(labels.items()))
        LogMelBaseline.fit(rows, other_order).save_pretrained(tmp_path / "deep" / "again")
        for name in ("config.json", "model.safetensors"):
            again = tmp_path / "deep" / "again" / name
            assert (saved / name).read_bytes() == again.read_bytes()
        assert sorted(path.name for path in saved.iterdir()) == ["config.json", "model.safetensors"]

    def test_the_configuration_says_what_the_model_is(self, saved):
        config = json.loads((saved / "config.json").read_text())
        assert config["model_type"] == "log-mel-logistic"
        assert config["version"] == 1
        assert config["features"] == {
            "rate": 16000,
            "n_fft": 512,
            "hop": 256,
            "n_mels": 64,
            "n_bands": 32,
            "samples": 64_600,
        }
        classes = {task_id: task["classes"] for task_id, task in config["tasks"].items()}
        assert classes == {"bin": ["spoof", "bonafide"], "vq": ["real", "mvq", "svq", "sq"]}
        assert config["tasks"]["vq"]["trained"] == classes["vq"]

    @pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
    def test_a_missing_file(self, saved, name):
        (saved / name).unlink()
        with pytest.raises(CfbenchError, match=f"{name}: cannot be read: No such file"):
            LogMelBaseline.from_pretrained(saved)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("{", "config.json: not JSON"),
            ("[" * 100_000, "config.json: not JSON"),
            ("[]", "model_type is null"),
            (
                '{"model_type": "wav2vec2"}',
                'model_type is "wav2vec2", not "log-mel-logistic"\n.*kind',
            ),
            ('{"model_type": "log-mel-logistic", "version": 2}', "version is 2, not 1\n.*update"),
            ('{"model_type": "log-mel-logistic", "version": 1}', "features: Field required"),
        ],
    )
    def test_a_configuration_of_something_else(self, saved, text, message):
        (saved / "config.json").write_text(text)
        with pytest.raises(CfbenchError, match=message):
            LogMelBaseline.from_pretrained(saved)

    @pytest.mark.parametrize(
        ("place", "value", "message"),
        [
            (("features", "hop"), "256", "features.hop: Input should be a valid integer"),
            (("features", "hop"), 0, "config.json: features: hop is 0"),
            (("features", "n_mels"), 10**6, "n_mels is 1000000, not 1 to 1024"),
            (("features", "window"), 3, "features.window: Extra inputs"),
            (("tasks",), {}, "tasks: there is none"),
            (
                ("tasks", "auxx"),
                {"classes": [], "trained": []},
                "json: there is no task 'auxx' .*'aux'",
            ),
            (
                ("tasks", "vq", "classes"),
                ["real", "mvq"],
                "vq: the classes are real, mvq, and those",
            ),
            (("tasks", "vq", "trained"), ["real"], "vq: the trained classes are real, not two"),
            (("tasks", "vq", "trained"), ["svq", "real"], "are svq, real, not .* in this order"),
            (("tasks", "vq", "trained"), ["real", "x"], "are real, x, not"),
            (
                ("tasks", "vq", "trained"),
                ["real", "mvq"],
                r"'vq.weight' is float64 of shape \(4, 384\), not float64 of shape \(2, 384\)",
            ),
            (("features", "n_mels"), 40, r"'mean' is float64 of shape \(384,\), not .*\(288,\)\n"),
        ],
    )
    def test_a_configuration_that_does_not_fit(self, saved, place, value, message):
        config = json.loads((saved / "config.json").read_text())
        inner = config
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = value
        (saved / "config.json").write_text(json.dumps(config))
        with pytest.raises(CfbenchError, match=message):
            LogMelBaseline.from_pretrained(saved)

    @pytest.mark.parametrize("content", [b"", b"\x80\x04K\x01.", b"\xff" * 64])
    def test_weights_that_are_no_safetensors(self, saved, content):
        (saved / "model.safetensors").write_bytes(content)
        with pytest.raises(CfbenchError, match="not a safetensors file"):
            LogMelBaseline.from_pretrained(saved)

    def test_weights_that_were_cut_short(self, saved):
        whole = (saved / "model.safetensors").read_bytes()
        (saved / "model.safetensors").write_bytes(whole[:-8])
        with pytest.raises(CfbenchError, match="not a safetensors file"):
            LogMelBaseline.from_pretrained(saved)

    @pytest.mark.parametrize(
        ("name", "tensor", "message"),
        [
            ("vq.bias", None, "tensor 'vq.bias' is missing\n.*not of the same model"),
            ("dec.bias", np.zeros(3), "tensor 'dec.bias' is not of this model"),
            ("vq.bias", np.zeros(4, np.float32), r"'vq.bias' is float32 of shape \(4,\)"),
            ("vq.bias", np.full(4, np.nan), "'vq.bias' has numbers that cannot be used"),
            ("scale", np.zeros(384), "'scale' has numbers that cannot be used"),
        ],
    )
    def test_weights_that_do_not_fit(self, saved, name, tensor, message):
        tensors = load_file(saved / "model.safetensors")
        tensors[name] = tensor
        kept = {key: value for key, value in tensors.items() if value is not None}
        save_file(kept, saved / "model.safetensors")
        with pytest.raises(CfbenchError, match=message):
            LogMelBaseline.from_pretrained(saved)

    def test_a_folder_that_cannot_be_made(self, model, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(CfbenchError, match="file/model: cannot be made"):
            model.save_pretrained(tmp_path / "file" / "model")


class TestWithoutTheExtra:
    @pytest.fixture
    def without(self, monkeypatch):
        def hide(package):
            for name in [n for n in sys.modules if n.split(".")[0] == package]:
                monkeypatch.delitem(sys.modules, name)
            monkeypatch.setitem(sys.modules, package, None)

        return hide

    def test_training(self, training, without):
        without("sklearn")
        with pytest.raises(CfbenchError, match=r"scikit-learn\n.*'cfbench\[baseline\]'"):
            LogMelBaseline.fit(*training)

    def test_files(self, model, saved, without):
        without("safetensors")
        with pytest.raises(CfbenchError, match=r"saving .*\n.*'cfbench\[baseline\]'"):
            model.save_pretrained(saved)
        with pytest.raises(CfbenchError, match=r"reading .*\n.*'cfbench\[baseline\]'"):
            LogMelBaseline.from_pretrained(saved)

    def test_probabilities_need_neither(self, model, unseen, without):
        without("sklearn")
        without("safetensors")
        without("scipy")
        assert set(model.probabilities(unseen[0][:2])) == {"bin", "vq"}
