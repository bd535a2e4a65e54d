"""Clips as the reference system hears them: every format, every way to be broken."""

import math
import os
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cfbench.audio import (
    RATE,
    SUFFIXES,
    WINDOW,
    find_clips,
    fit_window,
    read_speech,
    spread_windows,
)
from cfbench.errors import CfbenchError

soundfile = pytest.importorskip("soundfile")
soxr = pytest.importorskip("soxr")

RATES = (8_000, 11_025, 22_050, 24_000, 44_100, 48_000)
LOSSY = {("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")}
KINDS = [
    *(("WAV", s) for s in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW")),
    *(("WAV", s) for s in ("ALAW", "IMA_ADPCM", "GSM610")),
    *(("WAVEX", "PCM_24"), ("FLAC", "PCM_16"), ("FLAC", "PCM_24"), ("AIFF", "PCM_16")),
    *(("AU", "PCM_16"), ("CAF", "PCM_16"), ("CAF", "ALAC_16"), *sorted(LOSSY)),
]
WRITABLE = [kind for kind in KINDS if soundfile.check_format(*kind)]


def speech_like(samples: int, channels: int = 1, seed: int = 0) -> NDArray[np.float64]:
    """Noise whose spectrum falls as that of speech, (samples, channels), between -0.5 and 0.5."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal((samples, channels)), axis=0)
    spectrum /= 1 + np.arange(len(spectrum))[:, None] / (samples / 64)
    spectrum[0] = 0
    signal = np.fft.irfft(spectrum, samples, axis=0)
    return signal / np.abs(signal).max() / 2


def write(
    path: Path,
    signal: NDArray[np.floating],
    rate: int = RATE,
    kind: tuple[str, str] = ("WAV", "PCM_16"),
) -> Path:
    soundfile.write(path, signal, rate, format=kind[0], subtype=kind[1])
    return path


def cut(path: Path, part: float) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    return path


def wav(samples: bytes, whole: int, length: int, before: bytes = b"", after: bytes = b"") -> bytes:
    """A 16-bit mono WAV with these two lengths in its header."""
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    head = struct.pack("<4sI4s", b"RIFF", whole, b"WAVE") + form + before
    return head + struct.pack("<4sI", b"data", length) + samples + after


def refused(path: Path, most: int | None = None) -> str:
    """What `read_speech` says: one problem, which begins with the path and has a hint."""
    with pytest.raises(CfbenchError) as caught:
        read_speech(path, most)
    (problem,) = caught.value.problems
    assert problem.message.startswith(f"{path}: ")
    assert problem.hint
    return str(caught.value).removeprefix(f"{path}: ")


@pytest.mark.parametrize("rate", RATES)
def test_a_tone_keeps_its_frequency_phase_and_level(tmp_path: Path, rate: int) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)
    speech = read_speech(write(tmp_path / "a.wav", tone, rate, ("WAV", "FLOAT")))
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
    assert speech.shape == (RATE,)
    assert speech.dtype == np.float32
    # The filter rings where the tone begins and ends.
    assert np.abs(speech - expected)[300:-300].max() < 1e-5


@pytest.mark.parametrize("rate", [22_050, 24_000, 44_100, 48_000])
def test_what_16_khz_cannot_carry_is_gone(tmp_path: Path, rate: int) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 9_000 * np.arange(rate) / rate)
    speech = read_speech(write(tmp_path / "a.wav", tone, rate, ("WAV", "FLOAT")))
    assert np.abs(speech)[300:-300].max() < 1e-5


@pytest.mark.parametrize("rate", [16_000, *RATES])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_channels_are_averaged_and_then_resampled(tmp_path: Path, rate: int, channels: int) -> None:
    path = write(tmp_path / "a.flac", speech_like(rate, channels), rate, ("FLAC", "PCM_16"))
    samples, _ = soundfile.read(path, dtype="float32", always_2d=True)
    expected = soxr.resample(np.mean(samples.T, axis=0), rate, RATE, quality="HQ")
    speech = read_speech(path)
    assert np.array_equal(speech[: len(expected)], expected)
    assert len(speech) - len(expected) in (0, 1)
    assert not speech[len(expected) :].any()


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("frames", [2, 5, 100, 441, 1_000, 7_777])
def test_the_length_is_rounded_up_as_by_librosa(tmp_path: Path, rate: int, frames: int) -> None:
    path = write(tmp_path / "a.wav", speech_like(frames), rate)
    assert read_speech(path).shape == (math.ceil(frames * RATE / rate),)


@pytest.mark.parametrize("kind", WRITABLE, ids="-".join)
def test_every_format(tmp_path: Path, kind: tuple[str, str]) -> None:
    signal = speech_like(2 * RATE)
    path = write(tmp_path / "a", signal, kind=kind)
    speech = read_speech(path)
    samples, _ = soundfile.SoundFile(path).read(10 * RATE, dtype="float32"), path
    assert np.array_equal(speech, samples)
    signal = signal[:, 0]
    length = min(len(speech), len(signal))
    error = np.abs(speech[:length] - signal[:length]).max()
    if kind in LOSSY or kind[1] in ("IMA_ADPCM", "GSM610"):
        assert np.corrcoef(speech[:length], signal[:length])[0, 1] > 0.85
    elif kind[1] in ("PCM_U8", "ULAW", "ALAW"):
        assert error < 2**-5
    else:
        assert error < 2**-14
    prefix = read_speech(path, 5_000)
    assert prefix.shape == (5_000,)
    assert np.abs(prefix - speech[:5_000]).max() < 1e-6


@pytest.mark.parametrize("rate", [16_000, *RATES, 192_000])
@pytest.mark.parametrize("kind", [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS")])
@pytest.mark.parametrize("most", [10, 1_000, 20_000, 31_900, 40_000])
def test_the_beginning_is_that_of_the_whole(
    tmp_path: Path, rate: int, kind: tuple[str, str], most: int
) -> None:
    path = write(tmp_path / "a", speech_like(2 * rate, 2), rate, kind)
    whole, part = read_speech(path), read_speech(path, most)
    assert len(whole) == 2 * RATE
    assert len(part) == min(most, len(whole))
    assert np.abs(part - whole[:most]).max() < 1e-6


def test_no_more_of_a_long_clip_is_decoded_than_needed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", speech_like(20 * RATE), kind=("FLAC", "PCM_16"))
    whole = read_speech(path)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 200] = bytes(200)
    path.write_bytes(content)
    assert "damaged or cut short" in refused(path)
    assert np.array_equal(read_speech(path, WINDOW), whole[:WINDOW])


def test_a_clip_longer_than_a_block(tmp_path: Path) -> None:
    signal = np.random.default_rng(0).integers(-20_000, 20_000, (1_500_000, 2), np.int16)
    path = tmp_path / "a.wav"
    soundfile.write(path, signal, RATE)
    assert np.array_equal(read_speech(path), signal.sum(axis=1) / np.float32(65_536))


@pytest.mark.parametrize("rate", [RATE, *RATES])
@pytest.mark.parametrize("most", [None, WINDOW])
def test_a_few_samples_are_a_clip(tmp_path: Path, rate: int, most: int | None) -> None:
    path = write(tmp_path / "a.wav", np.array([0.5, -0.25, 0.125]), rate)
    assert read_speech(path, most).shape == (math.ceil(3 * RATE / rate),)


@pytest.mark.parametrize("most", [0, -1])
def test_no_samples_cannot_be_asked_for(tmp_path: Path, most: int) -> None:
    with pytest.raises(ValueError, match="most must be positive"):
        read_speech(tmp_path / "a.wav", most)


def test_the_suffix_does_not_decide_the_format(tmp_path: Path) -> None:
    signal = speech_like(1_000)
    path = write(tmp_path / "a.wav", signal, kind=("FLAC", "PCM_16"))
    assert np.abs(read_speech(path) - signal[:, 0]).max() < 2**-14


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a name is text")
def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff.wav")
    write(tmp_path / "a.wav", speech_like(1_000)).rename(path)
    assert len(read_speech(path)) == 1_000


SAMPLES = (speech_like(1_000) * 32_768).astype("<i2").tobytes()


@pytest.mark.parametrize(
    ("whole", "length"),
    [
        (0, 0),
        (0xFFFFFFFF, 0),
        (0xFFFFFFFF, 0xFFFFFFFF),  # ffmpeg
        (0x7FFFF024, 0x7FFFF000),  # sox
        (0, 0xFFFFFFFF),
        (0x80000024, 0x80000000),
    ],
)
@pytest.mark.parametrize("before", [b"", struct.pack("<4sI", b"LIST", 5) + b"INFO!\0"])
def test_a_wav_written_to_a_pipe(tmp_path: Path, whole: int, length: int, before: bytes) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav(SAMPLES, whole, length, before))
    expected = np.frombuffer(SAMPLES, "<i2") / np.float32(32_768)
    assert np.array_equal(read_speech(path), expected)
    assert np.array_equal(read_speech(path, 100), expected[:100])


@pytest.mark.parametrize(
    "content",
    [
        wav(SAMPLES, 2_042, 2_000, after=struct.pack("<4sI", b"LIST", 5) + b"INFO!\0"),
        wav(SAMPLES, 2_049, 2_000, before=struct.pack("<4sI", b"junk", 5) + b"12345\0"),
        wav(SAMPLES, 2_037, 2_001),  # half a sample, which a player ignores
        wav(SAMPLES + b"x", 2_037, 2_001),  # a byte to fill up is lacking
    ],
)
def test_an_odd_wav_is_whole(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    assert len(read_speech(path)) == 1_000


@pytest.mark.parametrize("most", [None, 100])
@pytest.mark.parametrize("missing", [2, 1_000, 2_000])
def test_a_wav_that_promises_more_than_there_is(
    tmp_path: Path, most: int | None, missing: int
) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav(SAMPLES[missing:], 2_036, 2_000))
    assert f"cut short: {2_000 - missing:,} of 2,000 bytes" in refused(path, most)


@pytest.mark.parametrize("most", [None, 5_000])
@pytest.mark.parametrize("part", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("kind", [kind for kind in WRITABLE if kind[0] != "CAF"], ids="-".join)
def test_a_file_that_is_cut_short(
    tmp_path: Path, kind: tuple[str, str], part: float, most: int | None
) -> None:
    path = write(tmp_path / "a", speech_like(3 * RATE), kind=kind)
    assert "cut short" in refused(cut(path, part), most)


def test_an_ogg_cut_between_pages(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ogg", speech_like(5 * RATE), kind=("OGG", "VORBIS"))
    content = path.read_bytes()
    path.write_bytes(content[: content.rindex(b"OggS")])
    assert "cut short: its last page is not there" in refused(path, 5_000)


def test_an_ogg_of_which_only_the_room_is_there(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ogg", speech_like(5 * RATE), kind=("OGG", "VORBIS"))
    path.write_bytes(path.read_bytes()[:20_000] + bytes(200_000))
    assert "cut short: its last page is not whole" in refused(path, 5_000)


def test_an_intact_mp3_makes_no_noise(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "a.mp3", speech_like(5 * RATE), kind=("MP3", "MPEG_LAYER_III"))
    for most in (None, 5_000, 20_000, WINDOW):
        read_speech(path, most)
    assert capfd.readouterr() == ("", "")


def test_a_flac_without_its_length(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", speech_like(2 * RATE), kind=("FLAC", "PCM_16"))
    content = bytearray(path.read_bytes())
    # The low 36 bits of bytes 18 to 25 are the number of samples: 0 is unknown.
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    path.write_bytes(content)
    assert "does not say how long it is" in refused(path)
    assert "ffmpeg -i a.flac" in refused(path, 100)


def test_a_flac_that_claims_hours(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", speech_like(2 * RATE), kind=("FLAC", "PCM_16"))
    content = bytearray(path.read_bytes())
    content[21] |= 0x0F
    path.write_bytes(content)
    assert "cut short" in refused(path)
    assert "cut short" in refused(path, 100)


def test_a_missing_file(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "a.wav")


def test_a_folder(tmp_path: Path) -> None:
    assert "a folder" in refused(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.wav")
    assert "not a file" in refused(tmp_path / "a.wav")


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    # Not by its mode: who runs the tests as root may read everything.
    monkeypatch.setattr(Path, "open", denied)
    assert "cannot be read: Permission denied" in refused(write(tmp_path / "a.wav", SIGNAL))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "empty (0 bytes)"),
        (b"x", "not audio"),
        (b"utt_id,vq\na,none\n", "not audio"),
        (bytes(5_000), "not audio"),
        (b"\0\0\0\x20ftypM4A " + bytes(5_000), "ffmpeg -i a.wav"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"RIFF", "not audio"),
        (b"RIFF\0\0\0\0WAVE" + bytes(50_000), "damaged or cut short"),
        (wav(b"", 36, 0), "a header, and no samples"),
        (wav(SAMPLES, 36, 0), "a header, and no samples"),
        (wav(b"", 0, 0), "a header, and no samples"),
        (wav(SAMPLES, 2_036, 2_000).replace(struct.pack("<I", RATE), b"\2\0\0\0"), "2 Hz"),
    ],
)
def test_no_audio(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    assert expected in refused(path)


def test_samples_without_a_header(tmp_path: Path) -> None:
    path = tmp_path / "a.RAW"
    path.write_bytes(SAMPLES)
    assert "samples without a header" in refused(path)


SIGNAL = speech_like(20_000)


@pytest.mark.parametrize("kind", [("AIFF", "PCM_16"), ("OGG", "VORBIS")])
def test_a_header_and_no_samples(tmp_path: Path, kind: tuple[str, str]) -> None:
    assert "no samples" in refused(write(tmp_path / "a", SIGNAL[:0], kind=kind))


@pytest.mark.parametrize("value", [0.0, 0.25, -1.0])
@pytest.mark.parametrize("rate", [16_000, 24_000])
def test_silence(tmp_path: Path, value: float, rate: int) -> None:
    path = write(tmp_path / "a.flac", np.full(rate, value), rate, ("FLAC", "PCM_16"))
    assert f"silent: nothing but {value:g} in the first {rate:,} samples" in refused(path)


@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_a_beginning_of_silence_is_silent_only_where_no_more_is_heard(
    tmp_path: Path, rate: int
) -> None:
    signal = np.concatenate([np.zeros((rate, 1)), speech_like(rate)])
    path = write(tmp_path / "a.wav", signal, rate)
    assert f"silent: nothing but 0 in the first {rate:,} samples" in refused(path, RATE)
    assert len(read_speech(path, RATE + 100)) == RATE + 100
    assert len(read_speech(path)) == 2 * RATE


def test_channels_that_cancel_are_silent(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", np.hstack([SIGNAL, -SIGNAL]), kind=("WAV", "FLOAT"))
    assert "silent" in refused(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("channel", [0, 1])
@pytest.mark.parametrize("rate", [16_000, 22_050])
def test_a_sample_that_is_not_finite(tmp_path: Path, value: float, channel: int, rate: int) -> None:
    signal = np.hstack([SIGNAL, SIGNAL])
    signal[rate // 2, channel] = value
    path = write(tmp_path / "a.wav", signal, rate, ("WAV", "FLOAT"))
    assert "the sample at 0.5000 s is not finite" in refused(path)
    assert len(read_speech(path, 1_000)) == 1_000


def test_infinities_that_cancel_are_not_finite(tmp_path: Path) -> None:
    signal = np.hstack([SIGNAL, SIGNAL])
    signal[0] = np.inf, -np.inf
    path = write(tmp_path / "a.wav", signal, kind=("WAV", "FLOAT"))
    assert "not finite (nan)" in refused(path)


@pytest.mark.parametrize("library", ["soundfile", "soxr"])
def test_a_library_that_is_not_installed(
    tmp_path: Path, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(CfbenchError) as caught:
        read_speech(write(tmp_path / "a.wav", SIGNAL))
    (problem,) = caught.value.problems
    assert library in problem.message
    assert problem.hint == "pip install 'cfbench[baseline]'"


def test_nothing_is_loaded_before_a_clip_is_read() -> None:
    code = "import sys, cfbench, cfbench.audio; print({'soundfile', 'soxr'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@given(length=st.integers(1, 300), samples=st.integers(1, 300), dtype=st.sampled_from(["f4", "f8"]))
def test_a_window_is_the_clip_over_and_over(length: int, samples: int, dtype: str) -> None:
    speech = np.arange(length, dtype=dtype)
    window = fit_window(speech, samples)
    assert window.dtype == np.float32
    assert window.tolist() == [i % length for i in range(samples)]
    window[:] = -1
    assert speech.tolist() == list(range(length))


def test_the_window_of_the_reference_system() -> None:
    assert fit_window(np.zeros(3, np.float32)).shape == (64_600,)


@pytest.mark.parametrize(("shape", "samples"), [((0,), 5), ((2, 5), 5), ((5,), 0)])
def test_what_cannot_fill_a_window(shape: tuple[int, ...], samples: int) -> None:
    with pytest.raises(ValueError, match="cannot fill"):
        fit_window(np.zeros(shape, np.float32), samples)


@given(length=st.integers(1, 90), samples=st.integers(1, 60), windows=st.integers(1, 9))
def test_windows_go_from_the_start_to_the_end(length: int, samples: int, windows: int) -> None:
    speech = np.arange(length, dtype=np.float32)
    cut = spread_windows(speech, samples, windows)
    assert (cut.shape, cut.dtype) == ((windows, samples), np.float32)
    np.testing.assert_array_equal(cut[0], fit_window(speech, samples))
    if length <= samples:
        assert (cut == cut[0]).all()
    else:
        assert (np.diff(cut, axis=1) == 1).all()
        assert windows == 1 or cut[-1, -1] == length - 1
        # At equal distances, but for rounding.
        assert np.ptp(np.diff(cut[:, 0])) <= 1 if windows > 2 else True


def test_at_least_one_window_is_cut() -> None:
    with pytest.raises(ValueError, match="cannot cut 0 windows"):
        spread_windows(np.zeros(3, np.float32), 3, 0)


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


NAMES = st.from_regex(r"[ab_.]{0,4}[ab_]", fullmatch=True)
IDS = st.one_of(NAMES, st.builds("{}/{}".format, st.sampled_from(["x", "x/y"]), NAMES))


@settings(max_examples=50, deadline=None)
@given(
    wanted=st.lists(IDS, max_size=8),
    there=st.dictionaries(IDS, st.sampled_from(SUFFIXES), max_size=8),
    upper=st.booleans(),
    below=st.sampled_from(["", "wav", "a/b"]),
)
def test_clips_are_found_where_they_are(
    wanted: list[str], there: dict[str, str], upper: bool, below: str
) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        files = {
            utt_id: folder / below / (utt_id + (suffix.upper() if upper else suffix))
            for utt_id, suffix in there.items()
        }
        touch(*files.values())
        # What lies about and is no clip.
        touch(*(folder / below / f"{utt_id}.txt" for utt_id in wanted))
        clips = find_clips([folder], wanted, [below])
    assert dict(clips.paths) == {utt_id: files[utt_id] for utt_id in wanted if utt_id in files}
    assert list(clips.paths) == [i for i in dict.fromkeys(wanted) if i in files]
    assert clips.missing == tuple(i for i in dict.fromkeys(wanted) if i not in files)
    assert len(clips.paths) + len(clips.missing) == len(set(wanted))


def test_every_folder_and_every_part_below_it_is_looked_through(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    touch(one / "a.wav", two / "train" / "b.flac", one / "test" / "s" / "c.mp3", two / "s" / "d.au")
    clips = find_clips([one, two], ["s/d", "a", "e", "s/c", "b"], ["", "train", "test"])
    assert list(clips.paths.items()) == [
        ("s/d", two / "s" / "d.au"),
        ("a", one / "a.wav"),
        ("s/c", one / "test" / "s" / "c.mp3"),
        ("b", two / "train" / "b.flac"),
    ]
    assert clips.missing == ("e",)


def test_the_same_folder_may_be_given_twice(tmp_path: Path) -> None:
    touch(tmp_path / "a.wav")
    (tmp_path / "link").symlink_to(tmp_path)
    clips = find_clips([tmp_path, tmp_path / "link", tmp_path / "."], ["a"], ["", "."])
    assert dict(clips.paths) == {"a": tmp_path / "a.wav"}


def test_a_folder_or_a_dead_link_is_no_clip(tmp_path: Path) -> None:
    (tmp_path / "a.wav").mkdir()
    (tmp_path / "b.wav").symlink_to(tmp_path / "nowhere")
    touch(tmp_path / "c.wav")
    (tmp_path / "d.wav").symlink_to(tmp_path / "c.wav")
    assert find_clips([tmp_path], ["a", "b"]).missing == ("a", "b")
    assert find_clips([tmp_path], ["d"]).paths["d"] == tmp_path / "d.wav"


def test_each_folder_is_listed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    utt_ids = [f"{folder}{i}" for folder in ("", "s/", "t/") for i in range(50)]
    touch(*(tmp_path / f"{utt_id}.wav" for utt_id in utt_ids))
    listed = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(path) or scandir(path))
    assert len(find_clips([tmp_path], utt_ids).paths) == 150
    assert sorted(listed) == [tmp_path, tmp_path / "s", tmp_path / "t"]


@pytest.mark.parametrize(
    "utt_id",
    [
        *("..", ".", "", "../a", "/a", "/etc/a", "s/../../a", "s/..", "s/", "s//a", "./a", "s/./a"),
        *("..\\a/b", "C:/a", "c:/s/a", "s\0/a"),
    ],
)
def test_no_utt_id_leads_out_of_the_folder(tmp_path: Path, utt_id: str) -> None:
    folder = tmp_path / "clips"
    touch(folder / "s" / "b.wav", tmp_path / "a.wav", folder / "a.wav")
    with pytest.raises(CfbenchError, match=r"^1 utt_id does not name a file below") as caught:
        find_clips([folder], ["a", utt_id])
    assert repr(utt_id) in str(caught.value)


def test_all_utt_ids_that_lead_out_are_counted(tmp_path: Path) -> None:
    with pytest.raises(CfbenchError, match=r"^7 utt_ids do not .*: '\.\./0', .* and 2 more"):
        find_clips([tmp_path], [f"../{i}" for i in range(7)])


def test_two_files_of_one_utterance(tmp_path: Path) -> None:
    touch(tmp_path / "a.wav", tmp_path / "a.flac", tmp_path / "b.wav", tmp_path / "below" / "b.WAV")
    touch(tmp_path / "c.wav", tmp_path / "c.txt")
    with pytest.raises(CfbenchError) as caught:
        find_clips([tmp_path], ["c", "b", "a"], ["", "below"])
    (problem,) = caught.value.problems
    assert problem.message == (
        "2 utterances have more than one file: "
        f"a ({tmp_path / 'a.flac'} and {tmp_path / 'a.wav'}), "
        f"b ({tmp_path / 'b.wav'} and {tmp_path / 'below' / 'b.WAV'})"
    )
    assert "keep one file" in problem.hint


def test_three_files_of_each_of_many_utterances(tmp_path: Path) -> None:
    touch(*(tmp_path / f"{i}.{s}" for i in range(9) for s in ("wav", "mp3", "ogg")))
    with pytest.raises(CfbenchError, match=r"^9 utterances .* and 4 more") as caught:
        find_clips([tmp_path], [str(i) for i in range(9)])
    named = [
        f"{i} ({' and '.join(str(tmp_path / f'{i}.{s}') for s in ('mp3', 'ogg', 'wav'))})"
        for i in range(5)
    ]
    assert f": {', '.join(named)} and" in str(caught.value)


def test_folders_that_are_none(tmp_path: Path) -> None:
    touch(tmp_path / "a.wav")
    with pytest.raises(CfbenchError) as caught:
        find_clips([tmp_path, tmp_path / "nowhere", tmp_path / "a.wav"], ["a"])
    assert [problem.message for problem in caught.value.problems] == [
        f"{tmp_path / 'nowhere'}: no such folder",
        f"{tmp_path / 'a.wav'}: not a folder",
    ]


def test_a_folder_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", denied)
    with pytest.raises(CfbenchError, match=r"cannot be listed: Permission denied"):
        find_clips([tmp_path], ["a"])


@pytest.mark.parametrize(
    ("rate", "within"), [(22_050, 2e-6), (24_000, 2e-6), (44_100, 2e-5), (48_000, 2e-5)]
)
def test_the_authors_resampling(golden: Path, tmp_path: Path, rate: int, within: float) -> None:
    """All their results are of one signal, taken to be of each rate, that is not there itself.

    Taken to be of 8 kHz it was brought to twice its rate, all of its band kept. That, as of
    2 x RATE, brought to 16 kHz is thus what they got from the signal itself as of RATE, but for
    what two filters leave near the edges of band and signal.
    """
    arrays = np.load(golden / "model" / "audio_golden.npz")
    path = write(tmp_path / "a.wav", arrays["r8000"], 2 * rate, ("WAV", "FLOAT"))
    speech = read_speech(path)
    expected = arrays[f"r{rate}"][: len(speech)]
    assert len(speech) > 1_300
    assert np.abs(speech - expected)[50:-50].max() < within


def test_the_authors_repeat_a_short_clip(golden: Path, tmp_path: Path) -> None:
    arrays = np.load(golden / "model" / "m1_golden_small.npz")
    short = arrays["unpadded_short_i16"]
    path = tmp_path / "a.flac"
    soundfile.write(path, short, RATE)
    window = fit_window(read_speech(path, WINDOW)) * 32_768
    assert short.size < WINDOW
    assert any(np.array_equal(window, wave) for wave in arrays["waves_i16"])
