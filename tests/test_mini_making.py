"""How the embedded track is made: levels, the corpus' pins, the plan, the training of codecs."""

import hashlib
import io
import os
import subprocess
import sys
from math import comb
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cfbench import CfbenchError
from cfbench.codecs.config import read_config
from cfbench.environment import same_kernels
from cfbench.mini import foundry, levels, making, speech
from cfbench.mini.shortcuts import SHORTCUTS

RATE = 16_000
VOICES = {voice.voice: voice for voice in speech.voices()}


def tone(seconds: float = 1.0, size: float = 0.3) -> np.ndarray:
    rng = np.random.default_rng(5)
    time = np.arange(int(seconds * RATE)) / RATE
    wave = np.sin(2 * np.pi * 220 * time) + 0.1 * rng.standard_normal(len(time))
    return (size * wave).astype(np.float32)


def decibels(samples: np.ndarray) -> float:
    return float(10 * np.log10((samples.astype(np.float64) ** 2).mean()))


def test_the_noise_floor_comes_off_again_to_the_bit():
    pcm = (tone() * 20000).astype(np.int16)
    covered = levels.cover(pcm, "clip-1")
    assert (covered != pcm).any()
    assert (levels.uncover(covered, "clip-1") == pcm).all()
    assert (levels.uncover(covered, "clip-2") != pcm).any()
    assert (levels.hear(covered, "clip-1") == pcm / np.float32(32768)).all()


def test_the_noise_floor_has_its_level_and_is_white():
    noise = levels.cover(np.zeros(64_000, np.int16), "x") / 32768
    # A sixteenth of a step's width squared and a third more is the rounding's own.
    assert decibels(noise) == pytest.approx(levels.NOISE_LEVEL, abs=0.2)
    halves = np.abs(np.fft.rfft(noise))[1:].reshape(2, -1)
    assert decibels(halves[0]) == pytest.approx(decibels(halves[1]), abs=0.3)


def through(pcm: np.ndarray, key: str) -> tuple[np.ndarray, np.ndarray]:
    """What the channel makes of a clip without its noise, and the noise."""
    noise = levels.channel(np.zeros_like(pcm), key).astype(int)
    return levels.channel(pcm, key) - noise, noise


def test_a_channel_raises_or_lowers_what_lies_above_1_khz():
    time = np.arange(RATE) / RATE
    gains = {}
    for hertz in (100, 1000, 6000):
        sine = np.round(3000 * np.sin(2 * np.pi * hertz * time)).astype(np.int16)
        heard = [through(sine, f"x{i}")[0][100:-100] for i in range(60)]
        gains[hertz] = np.array([decibels(one) - decibels(sine) for one in heard])
    assert np.abs(gains[100]).max() < 0.3
    shelf = gains[6000]
    assert shelf.min() > -levels.CHANNEL_SHELF - 0.1
    assert shelf.max() < levels.CHANNEL_SHELF + 0.1
    assert np.histogram(shelf, bins=4, range=(-10, 10))[0].min() > 5
    # Half of the amplitude there is the shelf's.
    expected = 20 * np.log10((1 + 10 ** (shelf / 20)) / 2)
    assert gains[1000] == pytest.approx(expected, abs=0.1)


def test_a_channel_has_white_noise_of_a_level_that_is_drawn():
    found = []
    for i in range(60):
        _, noise = through(np.zeros(RATE, np.int16), f"x{i}")
        found.append(decibels(noise / 32768))
        halves = np.abs(np.fft.rfft(noise))[1:].reshape(2, -1)
        assert decibels(halves[0]) == pytest.approx(decibels(halves[1]), abs=0.8)
    low, high = levels.CHANNEL_NOISE
    assert low - 0.2 < min(found) < low + 2
    assert high - 2 < max(found) < high + 0.2


def test_a_channel_spares_peaks_and_is_what_floating_point_says():
    rng = np.random.default_rng(1)
    pcm = np.clip(8000 * rng.standard_normal(4000), -29000, 29000).astype(np.int16)
    smooth = np.array([comb(36, k) for k in range(37)]) / 2**36
    low = np.convolve(pcm, smooth, "same")
    limited = 0
    for i in range(20):
        speech_only, _ = through(pcm, f"x{i}")
        gain = 10 ** (levels.random_of(f"x{i}/channel").uniform(-10, 10) / 20)
        expected = low + gain * (pcm - low)
        peak = np.abs(expected).max()
        limited += peak > 0.89 * 32768
        expected *= min(1, 0.89 * 32768 / peak)
        assert np.abs(speech_only).max() <= 0.89 * 32768 + 1
        assert np.abs(speech_only - expected).max() < 4  # 1/4096 of the gain, and rounding
    assert 3 < limited < 20


@pytest.mark.parametrize("length", [1, 2, 36, 37, 38])
def test_a_channel_takes_clips_of_any_length(length):
    pcm = np.full(length, 1000, np.int16)
    longer = np.concatenate([pcm, np.zeros(100, np.int16)])
    speech_only = levels.channel(pcm, "x") - levels.channel(np.zeros_like(pcm), "x").astype(int)
    expected, _ = through(longer, "x")
    assert speech_only.shape == (length,)
    assert np.abs(speech_only - expected[:length]).max() <= 1


def test_a_channel_is_the_same_everywhere_and_another_for_another_name():
    pcm = (np.arange(-20000, 20000, 7) * 1.5).astype(np.int16)
    assert hashlib.sha256(levels.channel(pcm, "id_0001").astype("<i2").tobytes()).hexdigest() == (
        "a4abf5c06e62bdbaa189083911270bc6898103addf6ef99476d1c5bca0f5bf28"
    )
    assert (levels.channel(pcm, "id_0001") == levels.channel(pcm, "id_0001")).all()
    assert (levels.channel(pcm, "id_0002") != levels.channel(pcm, "id_0001")).mean() > 0.9


@pytest.mark.parametrize("size", [0.001, 0.05, 0.9])
def test_every_level_becomes_one_that_is_drawn(size):
    quiet = np.zeros(RATE, np.float32)
    clip = np.concatenate([quiet, tone(1.0, size), quiet])
    heard = [decibels(levels.finish(clip, f"x{i}")[RATE : 2 * RATE] / 32768) for i in range(30)]
    lowest = levels.SPEECH_LEVEL - levels.LEVEL_RANGE
    assert lowest - 0.3 < min(heard) < lowest + 1.5
    assert levels.SPEECH_LEVEL - 1.5 < max(heard) < levels.SPEECH_LEVEL + 0.3


def test_no_offset_is_left_that_would_tell_who_left_it():
    clip = tone()[:RATE] + np.float32(0.02)
    assert abs(levels.settle(clip, "x").mean()) < 0.05
    # What stays is the noise's own.
    assert abs(levels.finish(clip, "x").mean()) < 1.0


def test_peaks_are_spared():
    wave = tone(size=0.01)
    wave[500] = 0.9
    assert np.abs(levels.level(wave)).max() == pytest.approx(0.89, abs=0.001)


def test_silence_at_the_ends_is_cut_but_for_60_ms():
    padded = np.concatenate([np.zeros(RATE, np.float32), tone(), np.zeros(RATE, np.float32)])
    assert len(levels.trim(padded)) == pytest.approx(len(tone()) + 2 * 0.06 * RATE, abs=640)
    assert not len(levels.trim(np.zeros(RATE, np.float32)))


def test_nobody_plays_two_parts():
    parts: dict[str, set[str]] = {}
    for voice in VOICES.values():
        parts.setdefault(voice.speaker, set()).add(voice.part)
    assert all(len(of_speaker) == 1 for of_speaker in parts.values())
    assert len([s for s, of in parts.items() if of == {"train"}]) >= 12
    assert {voice.package for voice in VOICES.values()} == {p.package for p in speech.packages()}


def test_a_package_that_is_not_the_pinned_one_is_refused(tmp_path):
    with pytest.raises(CfbenchError, match="asterisk-core-sounds-en-g722"):
        speech.build(tmp_path, tmp_path / "corpus")
    for package in speech.packages():
        version = package.version.replace(":", "%3a")
        (tmp_path / f"{package.package}_{version}_all.deb").write_bytes(b"something else")
    with pytest.raises(CfbenchError, match=r"sha256|digest"):
        speech.build(tmp_path, tmp_path / "corpus")
    assert not (tmp_path / "corpus").exists()


def clips(per_voice: int = 12) -> pl.DataFrame:
    return pl.DataFrame(
        [
            {"clip": f"{v.voice}-{i:03d}", "voice": v.voice, "speaker": v.speaker, "part": v.part}
            for v in VOICES.values()
            for i in range(per_voice)
        ]
    )


SEEN = [f"seen-{i}" for i in range(18)]
UNSEEN = [f"x-{i}" for i in range(10)]


@pytest.fixture(scope="module")
def planned() -> pl.DataFrame:
    return making.plan(clips(), SEEN, UNSEEN, "secret")


def test_each_codec_makes_as_many_clips_as_any_other(planned):
    spoofed = planned.filter(pl.col("source") != "recorded")
    for split, makers in (("train", SEEN), ("dev", SEEN), ("id", SEEN), ("ood", UNSEEN)):
        counts = spoofed.filter(pl.col("split") == split)["source"].value_counts()["count"]
        assert len(counts) == len(makers)
        assert counts.max() - counts.min() <= 1


def test_a_source_goes_through_different_codecs_and_stays_in_its_split(planned):
    groups = planned.group_by("group").agg(
        pl.col("split").n_unique(), pl.col("source").n_unique(), clips=pl.len()
    )
    assert (groups["split"] == 1).all()
    assert (groups["source"] == groups["clips"]).all()


def test_half_of_the_tests_is_held_back_source_by_source(planned):
    tests = planned.filter(pl.col("split").is_in(["id", "ood"]))
    assert tests["held_back"].mean() == pytest.approx(0.5, abs=0.05)
    assert (tests.group_by("group").agg(pl.col("held_back").n_unique())["held_back"] == 1).all()
    assert not planned.filter(~pl.col("split").is_in(["id", "ood"]))["held_back"].any()


def test_names_of_test_clips_follow_from_the_secret_and_from_nothing_else(planned):
    tests = planned.filter(pl.col("split") == "id").sort("utt_id")
    assert tests["utt_id"].str.contains(r"^id_\d{4}$").all()
    again = making.plan(clips(), SEEN, UNSEEN, "secret").filter(pl.col("split") == "id")
    assert again.sort("utt_id").equals(tests)
    other = making.plan(clips(), SEEN, UNSEEN, "another").filter(pl.col("split") == "id")
    assert not other.sort("utt_id")["source"].equals(tests["source"])


def test_a_plan_that_leaks_is_refused(planned):
    making.check_plan(planned)
    known = planned.filter(pl.col("split") == "train")["speaker"][0]
    leak = pl.when(pl.col("split") == "id").then(pl.lit(known)).otherwise(pl.col("speaker"))
    with pytest.raises(CfbenchError, match=known):
        making.check_plan(planned.with_columns(speaker=leak))
    group = planned.filter(pl.col("split") == "train")["group"][0]
    leak = pl.when(pl.col("split") == "dev").then(pl.lit(group)).otherwise(pl.col("group"))
    with pytest.raises(CfbenchError, match="group in"):
        making.check_plan(planned.with_columns(group=leak))


def test_each_shortcut_sees_what_it_is_named_for():
    plain = (tone(2.0) * 8000).astype(np.int16)
    loud = (plain * 2).astype(np.int16)
    short = plain[:RATE]
    still = np.concatenate([plain, np.zeros(RATE, np.int16)])
    clipped = np.clip(plain.astype(int) * 40, -32768, 32767).astype(np.int16)
    spectrum = np.fft.rfft(plain.astype(float))
    spectrum[len(spectrum) // 4 :] = 0
    narrow = np.fft.irfft(spectrum, len(plain)).astype(np.int16)
    seen = {
        "loudness": loud,
        "length": short,
        "silence": still,
        "zeros": still,
        "clipping": clipped,
        "offset": plain + np.int16(50),
        "bandwidth": narrow,
    }
    assert set(seen) == set(SHORTCUTS)
    for name, pcm in seen.items():
        assert not np.allclose(SHORTCUTS[name](pcm), SHORTCUTS[name](plain)), name


def write_corpus(folder: Path) -> None:
    rng = np.random.default_rng(3)
    rows = []
    for voice in ("a", "b"):
        for i in range(3):
            pcm = (rng.standard_normal(RATE) * 2000).astype("<i2")
            rows.append(
                {
                    "voice": voice,
                    "recording": f"{voice}{i}",
                    "samples": len(pcm),
                    "pcm": pcm.tobytes(),
                }
            )
    folder.mkdir()
    pl.DataFrame(rows).write_parquet(folder / "recordings.parquet")


CODEC = """\
name = "{name}"
title = "Tiny"
objective = "none"
width = 8
[encoder]
blocks = 1
[quantizer]
kind = "scalar"
dim = 4
levels = 5
[decoder]
kind = "stft"
blocks = 1
[training]
{start}steps = 3
segment = 2400
batch = 2
seed = 1
"""


def settings_in(folder: Path, starts: dict[str, str]) -> Path:
    for name, start in starts.items():
        place = folder / (foundry.STARTS if name.startswith("start") else "")
        place.mkdir(parents=True, exist_ok=True)
        said = f'start = "{start}"\n' if start else ""
        (place / f"{name}.toml").write_text(CODEC.format(name=name, start=said))
        read_config(place / f"{name}.toml")
    return folder


@pytest.mark.slow
def test_the_same_corpus_and_settings_give_the_same_weights(tmp_path):
    write_corpus(tmp_path / "corpus")
    settings = settings_in(tmp_path / "codecs", {"start-x": "", "one": "start-x", "two": ""})
    for work, workers in (("a", 1), ("b", 2)):
        foundry.forge(tmp_path / "corpus", settings, tmp_path / work, workers=workers)
    for name in ("start-x", "one", "two"):
        a, b = ((tmp_path / work / f"{name}.safetensors").read_bytes() for work in "ab")
        assert a == b, name
    lines = io.StringIO((tmp_path / "a" / "one.toml").read_text())
    assert 'name = "one"' in lines.getvalue()


@pytest.mark.slow
@pytest.mark.skipif(not same_kernels(), reason="kernels are chosen on x86 only")
def test_the_processor_s_kernels_do_not_decide_the_weights(tmp_path):
    """Here processors that choose other kernels are played by torch's own switch."""
    write_corpus(tmp_path / "corpus")
    settings = settings_in(tmp_path / "codecs", {"one": ""})
    weights = set()
    for kernels in ("default", "avx2"):
        work = tmp_path / kernels
        command = [
            *(sys.executable, "-m", "cfbench", "mini", "codecs", "--only", "one"),
            *("--corpus", tmp_path / "corpus", "--settings", settings, "--work", work),
        ]
        environment = {**os.environ, "ATEN_CPU_CAPABILITY": kernels}
        subprocess.run(command, env=environment, check=True, capture_output=True)
        weights.add((work / "one.safetensors").read_bytes())
    assert len(weights) == 1


def test_settings_that_are_wrong_are_told(tmp_path):
    write_corpus(tmp_path / "corpus")
    settings = settings_in(tmp_path / "codecs", {"one": "start-x", "start-x": "start-y"})
    with pytest.raises(CfbenchError, match="start-y"):
        foundry.forge(tmp_path / "corpus", settings, tmp_path / "work")
    with pytest.raises(CfbenchError, match="no codec is called 'onne'"):
        foundry.forge(tmp_path / "corpus", settings, tmp_path / "work", ["onne"])
    settings_in(tmp_path / "codecs", {"start-y": "start-x"})
    with pytest.raises(CfbenchError, match="itself"):
        foundry.forge(tmp_path / "corpus", settings, tmp_path / "work", ["one"])
    with pytest.raises(CfbenchError, match="no codec's settings"):
        foundry.forge(tmp_path / "corpus", tmp_path / "corpus", tmp_path / "work")
