"""Clips as batches: decoded, augmented, cut to the window; alike however they are loaded."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from cfbench import clips as clips_module
from cfbench.audio import fit_window, read_speech
from cfbench.clips import Augment, Clips, load
from cfbench.errors import CfbenchError, Problem
from cfbench.rawboost import augment
from cfbench.sampling import item_rng
from speech import RATE, utterance

SAMPLES = 6000


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Five clips, of which the first is shorter than the window and the last is not audio."""
    folder = tmp_path_factory.mktemp("clips")
    paths = []
    for index, seconds in enumerate((0.2, 0.5, 0.6, 0.7)):
        paths.append(folder / f"clip{index}.wav")
        soundfile.write(paths[-1], utterance(index, seconds), RATE)
    paths.append(folder / "clip4.wav")
    paths[-1].write_text("no audio at all")
    return paths


def named(paths: list[Path | None], augmented: Augment | None = None) -> Clips:
    return Clips([f"utt{index}" for index in range(len(paths))], paths, SAMPLES, augmented)


def waves(batches: Iterator[clips_module.Batch]) -> dict[int, np.ndarray]:
    return {
        int(row): wave.numpy()
        for batch in batches
        for row, wave in zip(batch.rows, batch.waveforms, strict=True)
    }


def test_a_clip_is_the_beginning_or_is_repeated(files) -> None:
    clips = named(files)
    assert len(clips) == 5
    for row in range(4):
        index, wave = clips[row]
        assert index == row
        assert wave.dtype == np.float32
        np.testing.assert_array_equal(wave, fit_window(read_speech(files[row]), SAMPLES))
    short = read_speech(files[0])
    assert len(short) < SAMPLES
    again = clips[0][1][len(short) :]
    np.testing.assert_array_equal(again[: len(short)], short[: len(again)])


def test_what_cannot_be_read_is_a_problem_and_no_exception(files, tmp_path) -> None:
    clips = named([files[4], None, tmp_path / "gone.wav"])
    (_, damaged), (_, missing), (_, gone) = (clips[row] for row in range(3))
    assert isinstance(damaged, Problem)
    assert str(files[4]) in damaged.message
    assert damaged.hint
    assert missing == Problem("utt1: no audio file")
    assert "no such file" in gone.message


@pytest.mark.parametrize("workers", [0, 1])
def test_a_batch_begins_at_a_multiple_of_64_bytes(files, workers) -> None:
    # As torch's own tensors do: results are rounded in another way where it does not.
    for batch in load(named(files), [[0], [1, 2], [3]], workers, False):
        assert batch.waveforms.data_ptr() % 64 == 0


def test_a_batch_names_its_rows_and_its_failures(files) -> None:
    first, second, third = load(named([*files, None]), [[3, 4, 0], [4, 5], [1, 2]], 0, False)
    assert first.rows.tolist() == [3, 0]
    assert first.waveforms.shape == (2, SAMPLES)
    assert set(first.failed) == {4}
    assert second.rows.tolist() == []
    assert second.waveforms.shape[0] == 0
    assert set(second.failed) == {4, 5}
    assert third.rows.tolist() == [1, 2]
    assert not third.failed


def test_workers_change_nothing_not_even_the_order(files) -> None:
    batches = [[3, 1], [0, 4], [2]]
    clips = named(files, Augment(5, seed=3, epoch=1))
    alone = list(load(clips, batches, 0, False))
    helped = list(load(clips, batches, 2, False))
    assert [batch.rows.tolist() for batch in helped] == [[3, 1], [0], [2]]
    for one, other in zip(alone, helped, strict=True):
        assert torch.equal(one.waveforms, other.waveforms)
        assert one.failed == other.failed


def test_augmentation_follows_from_seed_epoch_and_name_alone(files) -> None:
    how = Augment(5, seed=3, epoch=1)
    some = waves(load(named(files, how), [[0, 1, 2, 3]], 0, False))
    others = waves(load(named(files, how), [[2], [3, 0]], 0, False))
    for row in others:
        np.testing.assert_array_equal(some[row], others[row])
    for other in (Augment(5, 4, 1), Augment(5, 3, 2)):
        assert not np.array_equal(some[1], named(files, other)[1][1])
    renamed = Clips(["a", "b"], files[:2], SAMPLES, how)
    assert not np.array_equal(some[1], renamed[1][1])


def test_the_whole_clip_is_augmented_and_then_cut(files) -> None:
    how = Augment(5, seed=3, epoch=1)
    whole = augment(read_speech(files[3]), 5, item_rng(3, 1, "utt3"))
    np.testing.assert_array_equal(named(files, how)[3][1], whole[:SAMPLES])


def test_an_excerpt_is_drawn_from_anywhere_in_the_clip(files) -> None:
    whole, crop = read_speech(files[3]), 3000
    starts = set()
    for epoch in range(40):
        clips = named(files, Augment(0, 1, epoch, crop))
        wave = clips[3][1]
        assert wave.shape == (crop,)
        np.testing.assert_array_equal(wave, clips[3][1])
        places = np.flatnonzero(whole[: len(whole) - crop + 1] == wave[0])
        starts |= {int(p) for p in places if (whole[p : p + crop] == wave).all()}
    room = len(whole) - crop
    assert len(starts) > 30
    assert min(starts) < room / 4
    assert max(starts) > room * 3 / 4
    short = named(files, Augment(0, 1, 0, 4000))[0][1]
    np.testing.assert_array_equal(short, fit_window(read_speech(files[0]), 4000))


def test_a_clip_has_several_windows(files) -> None:
    clips = Clips(["a", "b"], [files[0], files[3]], SAMPLES, windows=3)
    (batch,) = load(clips, [[0, 1]], 0, False)
    assert batch.waveforms.shape == (2, 3, SAMPLES)
    whole = read_speech(files[3])
    room = len(whole) - SAMPLES
    for window, start in zip(batch.waveforms[1].numpy(), (0, room // 2, room), strict=True):
        np.testing.assert_array_equal(window, whole[start : start + SAMPLES])
    for window in batch.waveforms[0].numpy():
        np.testing.assert_array_equal(window, fit_window(read_speech(files[0]), SAMPLES))


def test_windows_are_cut_after_augmentation_and_an_excerpt_is_one(files) -> None:
    whole = augment(read_speech(files[3]), 5, item_rng(3, 1, "a"))
    augmented = Clips(["a"], [files[3]], SAMPLES, Augment(5, seed=3, epoch=1), windows=2)[0][1]
    np.testing.assert_array_equal(augmented, [whole[:SAMPLES], whole[-SAMPLES:]])
    drawn = Clips(["a"], [files[3]], SAMPLES, Augment(0, 3, 1, crop=3000), windows=2)[0][1]
    assert drawn.shape == (3000,)


def test_algorithm_0_is_no_augmentation(files) -> None:
    np.testing.assert_array_equal(named(files, Augment(0, 3, 1))[1][1], named(files)[1][1])


@pytest.mark.parametrize("workers", [0, 1])
def test_loading_draws_nothing_from_torch(files, workers) -> None:
    # A resumed run makes one loader more than an uninterrupted one.
    torch.manual_seed(5)
    before = torch.get_rng_state()
    list(load(named(files, Augment(5, 3, 1)), [[0, 1], [2]], workers, False))
    assert torch.equal(before, torch.get_rng_state())


def test_no_batches_are_no_work() -> None:
    assert list(load(named([None]), [], 2, False)) == []


def test_a_worker_that_is_ended_is_reported(files, monkeypatch) -> None:
    # As the kernel does where memory runs out; workers inherit the patch.
    monkeypatch.setattr(clips_module, "read_speech", lambda path, most=None: os._exit(9))
    with pytest.raises(CfbenchError, match="a process that decodes audio was ended") as error:
        list(load(named(files), [[0], [1]], 1, False))
    assert "--workers" in str(error.value)


def test_an_error_of_the_program_is_not_taken_for_an_ended_worker(files, monkeypatch) -> None:
    def broken(path: Path, most: int | None = None) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(clips_module, "read_speech", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        list(load(named(files), [[0]], 1, False))
