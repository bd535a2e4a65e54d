"""The report of findings, and the pictures."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import cfbench
import mini_data
from cfbench import CfbenchError
from cfbench.mini import figures, findings, levels, store
from cfbench.mini.pack import pack
from cfbench.mini.resynthesis import read_pcm, write_flac
from cfbench.protocol import shipped_protocol
from cfbench.recipes import find_recipe
from cfbench.scorecard import Scorecard
from cfbench.steps import Data
from cfbench.tasks import find_track, load_tasks


@pytest.fixture(scope="module")
def card() -> Scorecard:
    """Of a system that knows two thirds of the answers."""
    protocol = shipped_protocol(find_track("codecfake-mini"))
    assert protocol is not None
    rng = np.random.default_rng(3)
    frame = protocol.frame.filter(pl.col("split").cast(str).is_in(["id", "ood"]))
    answers = {"utt_id": frame["utt_id"].to_list()}
    for task_id in ("bin", "vq", "aux", "dec"):
        names = load_tasks()[task_id].class_names
        answers[task_id] = [
            true if rng.random() < 0.67 else str(rng.choice(names))
            for true in frame[task_id].cast(str)
        ]
    return cfbench.score(pl.DataFrame(answers), track="codecfake-mini", bootstrap=50)


def test_the_report_holds_every_number_and_picture(card, tmp_path):
    cards = {variant.name: card for variant in findings.all_variants()}
    published = dict.fromkeys((findings.CLASSICAL, findings.NEURAL), card)
    path = findings.report(cards, published, tmp_path)
    text = path.read_text()
    for question in findings.QUESTIONS.values():
        assert f"## {question.title}" in text
        for variant in question.variants:
            assert variant.title in text
    number = card.tasks["vq"].splits["ood"].overall.metrics["macro_f1"]
    assert number.interval is not None
    said = f"{100 * number.value:.1f} [{100 * number.interval.low:.1f}, "
    assert f"VQ, macro-F1 | {findings._said(findings._point(card, 'vq', 'id'))} | {said}" in text
    pictures = [line.split("](")[1][:-1] for line in text.splitlines() if line.startswith("![")]
    assert len(pictures) == 6
    for picture in pictures:
        assert "<svg" in (tmp_path / picture).read_text()
    # The same scorecards, the same bytes.
    again = findings.report(cards, published, tmp_path / "again")
    assert again.read_text() == text
    for picture in pictures:
        assert (tmp_path / picture).read_bytes() == (tmp_path / "again" / picture).read_bytes()


def test_a_report_of_what_is_there_so_far(card, tmp_path):
    text = findings.report({"multi-vq": card}, {findings.CLASSICAL: card}, tmp_path).read_text()
    assert "multi-task, VQ-balanced" in text
    assert "single-task" not in text


def test_every_variant_is_a_recipe_that_differs_from_the_others():
    made = {}
    for variant in findings.all_variants():
        recipe = (
            findings._run(variant, Path("runs"), 2).recipe if not variant.without_silence else None
        )
        if recipe is not None:
            made[variant.name] = recipe
            assert not recipe.model.checkpoint
    assert len(set(map(str, made.values()))) == len(made)
    assert made["single-vq"].model.tasks == ("vq",)
    assert made["dual-dec"].model.tasks == ("bin", "dec")
    assert made["multi-dec"].data.balance == "dec"
    base = find_recipe(findings.NEURAL)
    assert made["multi-aux"].training.epochs == 2
    assert made["multi-aux"].model.front_end == base.model.front_end


@pytest.mark.slow
def test_pauses_are_found_before_the_channel_and_cut_after_it(tmp_path, monkeypatch):
    monkeypatch.setenv("CFBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(store, "MAKERS", replace(mini_data.MAKERS, channel=store.MAKERS.channel))
    made = mini_data.make(tmp_path / "mini")
    spoken = (3000 * np.sin(np.arange(3200) / 3)).astype(np.int16)
    write_flac(made.clips / "id-00.flac", np.concatenate([spoken, np.zeros_like(spoken), spoken]))
    pack(made.rows, made.clips, made.licences, made.root)
    track = made.track
    folder = findings._silence_removed(Data(track), tmp_path / "cut")
    assert set(mini_data.contents(folder)) == made.ids("id", "ood")
    heard = read_pcm(store.clips_folder(track) / "id-00.flac")
    cut = read_pcm(folder / "id-00.flac")
    # The channel's noise hides the pause from who looks for it there.
    assert levels.active_frames(levels.as_samples(heard)).all()
    assert np.array_equal(cut, np.concatenate([heard[:3200], heard[6400:]]))
    before = (folder / "id-00.flac").stat().st_mtime_ns
    findings._silence_removed(Data(track), folder)
    assert (folder / "id-00.flac").stat().st_mtime_ns == before


def test_spectrograms_are_drawn(tmp_path):
    rng = np.random.default_rng(0)
    clips = {f"codec-{i}": (rng.standard_normal(16000) * 3000).astype(np.int16) for i in range(8)}
    figures.draw_spectrograms(clips, tmp_path / "all.png")
    assert (tmp_path / "all.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "all.png").stat().st_size > 20_000


def test_without_matplotlib_it_is_said_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(CfbenchError, match="matplotlib") as caught:
        figures.draw_spectrograms({"a": np.zeros(16000, np.int16)}, tmp_path / "a.png")
    assert "cfbench[figures]" in str(caught.value.problems[0].hint)
