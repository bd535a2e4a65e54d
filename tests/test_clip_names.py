"""Which clip is which under the authors' names and the Hub's: told, checked, never guessed."""

import json
import random
import shutil
from pathlib import Path

import polars as pl
import pytest

import samples
from cfbench.clip_names import (
    Pair,
    establish,
    find_lists,
    natural,
    read_clip_names,
    write_clip_names,
)
from cfbench.errors import CfbenchError
from cfbench.tasks import find_track
from test_manifest import write

GENERATOR = "VALLE"


def rows(ids: list[str], label: str = "spoof", source: str = GENERATOR) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "utt_id": ids,
            "source": [source] * len(ids),
            "bin": [label] * len(ids),
            "line": range(1, len(ids) + 1),
        }
    )


def ours(*clips: str) -> pl.DataFrame:
    return rows([f"{GENERATOR}/{clip}" for clip in clips])


def theirs(count: int) -> pl.DataFrame:
    # As text they sort otherwise: VALLE_10 before VALLE_2.
    return rows(sorted(f"{GENERATOR}/{GENERATOR}_{number}" for number in range(1, count + 1)))


def pairs_of(names) -> dict[str, tuple[str, str]]:
    return {p.authors.split("/")[1]: (p.hub.split("_")[1], p.how) for p in names.pairs}


def heard(told: dict[str, str]) -> dict[str, str]:
    return {f"{GENERATOR}/{clip}": content for clip, content in told.items()}


def test_samples_tell_whatever_the_order():
    contents = heard({"b": "1", "a": "2", "c": "3"})
    contents |= heard({"VALLE_1": "3", "VALLE_2": "1", "VALLE_3": "2"})
    names = establish(ours("b", "a", "c"), theirs(3), contents)
    assert names.problems == ()
    assert pairs_of(names) == {"b": ("2", "content"), "a": ("3", "content"), "c": ("1", "content")}


def test_clips_with_the_same_samples_may_be_called_either():
    contents = heard({"a": "1", "b": "1", "c": "2", "VALLE_1": "1", "VALLE_2": "2", "VALLE_3": "1"})
    names = establish(ours("a", "b", "c"), theirs(3), contents)
    assert pairs_of(names) == {
        "a": ("1", "identical"),
        "b": ("3", "identical"),
        "c": ("2", "content"),
    }


def test_the_one_that_is_left_is_the_one_that_is_left():
    names = establish(ours("b", "a"), theirs(2), heard({"a": "1", "VALLE_1": "1"}))
    assert pairs_of(names) == {"a": ("1", "content"), "b": ("2", "rest")}


def test_order_counts_where_all_orders_agree():
    names = establish(ours("a2", "a10", "b"), theirs(3))
    assert names.problems == ()
    assert pairs_of(names) == {"a2": ("1", "order"), "a10": ("2", "order"), "b": ("3", "order")}


def test_orders_that_differ_leave_it_open():
    names = establish(ours("b", "a", "c"), theirs(3))
    assert names.pairs == ()
    (problem,) = names.problems
    assert "VALLE, spoof: 3 clips cannot be told apart" in problem.message
    assert "SLMdemos_16k" in problem.hint
    assert "--clip-order" in problem.hint
    assert pairs_of(establish(ours("b", "a", "c"), theirs(3), order="list"))["b"][0] == "1"
    assert pairs_of(establish(ours("b", "a", "c"), theirs(3), order="name"))["b"][0] == "2"


def test_some_samples_tell_which_order_it_was():
    known = heard({"b": "1", "VALLE_1": "1"})
    names = establish(ours("b", "a", "d", "c"), theirs(4), known)
    assert pairs_of(names) == {
        "b": ("1", "content"),
        "a": ("2", "order"),
        "d": ("3", "order"),
        "c": ("4", "order"),
    }
    names = establish(ours("b", "a", "d", "c"), theirs(4), known, order="name")
    assert len(names.pairs) == 1
    assert "the order by name contradicts the samples of 1 clip" in names.problems[0].message
    neither = heard({"b": "1", "VALLE_3": "1"})
    names = establish(ours("b", "a", "d", "c"), theirs(4), neither)
    assert len(names.pairs) == 1
    assert "contradicts the samples" in names.problems[0].message


def test_numbers_that_differ_are_no_pairs():
    names = establish(ours("a", "b"), theirs(3))
    assert names.pairs == ()
    assert "the authors' list has 2 clips, the Hub's 3" in names.problems[0].message


def test_a_clip_with_another_label_in_the_other_list_is_said():
    authors = pl.concat([ours("a"), rows(["VALLE/p"], "bonafide")])
    hub = pl.concat([theirs(1), rows(["VALLE/VALLE_2"], "bonafide")])
    contents = heard({"a": "1", "p": "2", "VALLE_1": "2", "VALLE_2": "1"})
    names = establish(authors, hub, contents)
    assert "2 clips have another generator or label in the Hub's list" in names.problems[0].message


def test_copies_that_differ_are_no_rest():
    contents = heard({"a": "1", "b": "2", "VALLE_1": "1", "VALLE_2": "other"})
    names = establish(ours("a", "b"), theirs(2), contents)
    assert pairs_of(names) == {"a": ("1", "content")}
    assert "one of the two copies is damaged" in names.problems[0].hint


def test_a_clip_that_stands_in_a_list_twice_is_an_error():
    with pytest.raises(CfbenchError, match="1 clip stands in a list twice: VALLE/a"):
        establish(ours("a", "a"), theirs(2))


def test_names_sort_as_people_count():
    assert sorted(["c_10", "c_2", "c_", "10", "9"], key=natural) == ["9", "10", "c_", "c_2", "c_10"]


def test_the_file_is_read_as_it_was_written(tmp_path):
    names = establish(ours("a", "b"), theirs(2))
    write_clip_names(names, tmp_path / "names.csv")
    assert read_clip_names(tmp_path / "names.csv").pairs == names.pairs
    assert (tmp_path / "names.csv").read_text().splitlines()[:2] == [
        "authors,hub,label,how",
        "VALLE/a,VALLE/VALLE_1,spoof,order",
    ]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("VALLE/a,VALLE/VALLE_2,spoof,given", "line 3 has VALLE/a again"),
        ("VALLE/b,USLM/USLM_1,spoof,given", "line 3 joins VALLE spoof with USLM spoof"),
        ("VALLE/b", "line 3 has 1 field"),
    ],
    ids=["twice", "generator", "short"],
)
def test_a_file_that_was_changed_by_hand_is_checked(tmp_path, line, told):
    path = tmp_path / "names.csv"
    path.write_text(f"authors,hub,label,how\nVALLE/a,VALLE/VALLE_1,spoof,given\n{line}\n")
    with pytest.raises(CfbenchError, match=told):
        read_clip_names(path)
    path.write_text("a,b\n")
    with pytest.raises(CfbenchError, match="its first line is not authors,hub,label,how"):
        read_clip_names(path)


# On folders.


def hub_lists(folder: Path, seed: int = 0) -> tuple[Path, dict[str, str]]:
    """Both lists, the Hub's clips renamed in an order of its own; and the Hub's name of each."""
    samples.write_lists(folder)
    renamed: dict[str, str] = {}
    lines = []
    kept = {row.utt_id: row for row in samples.COSG}
    said = dict(
        zip(
            (row.utt_id for row in samples.COSG),
            (line.split() for line in samples.hub_cosg_list().splitlines()),
            strict=True,
        )
    )
    order = list(kept)
    random.Random(seed).shuffle(order)
    counts: dict[str, int] = {}
    for utt_id in order:
        generator = kept[utt_id].source
        counts[generator] = counts.get(generator, 0) + 1
        clip = f"{generator}_{counts[generator]}"
        renamed[utt_id] = f"{generator}/{clip}"
        lines.append(" ".join([generator, clip, *said[utt_id][2:]]))
    (folder / "CoSG_labels.txt").write_text("\n".join(["Model ClipID QUA AUX DEC Label", *lines]))
    return folder, renamed


def clips(folder: Path, renamed: dict[str, str], flat: bool = False) -> Path:
    """The Hub's archive as extracted, with the speech that the authors' clips have."""
    for seed, row in enumerate(samples.CORS):
        write(folder / "cors" / f"{row.utt_id}.wav", seed)
    for seed, row in enumerate(samples.COSG, start=500):
        name = renamed[row.utt_id]
        name = name.partition("/")[2] if flat else name
        write(folder / "CodecFake_plus_CoSG" / f"{name}.wav", seed)
    return folder


def authors_clips(folder: Path) -> Path:
    for seed, row in enumerate(samples.COSG, start=500):
        write(folder / "SLMdemos_16k" / f"{row.utt_id}.flac", seed)
    return folder


def index(run_cli, *arguments: object):
    done = run_cli("data", "index", *arguments, "--json")
    said = json.loads(done.out)
    return done, {finding["key"]: finding for finding in said["findings"]}


@pytest.mark.parametrize("flat", [False, True])
def test_the_hubs_clips_are_found_by_the_hubs_list(run_cli, tmp_path, flat):
    lists, renamed = hub_lists(tmp_path / "lists")
    (lists / "CoSG_ALL.txt").unlink()
    (lists / "CoSG_SEEN.txt").unlink()
    data = clips(tmp_path / "d", renamed, flat)
    done, findings = index(run_cli, data, "--protocol", lists, "-o", tmp_path / "m.parquet")
    assert (done.code, findings) == (0, {})


def test_both_copies_side_by_side_tell_all(run_cli, tmp_path):
    lists, renamed = hub_lists(tmp_path / "lists")
    data = authors_clips(clips(tmp_path / "d", renamed))
    out = tmp_path / "m.parquet"
    done, findings = index(run_cli, data, "--protocol", lists, "-o", out)
    assert done.code == 0
    assert len(findings["elsewhere"]["names"]) == 16
    assert (findings["clip-names"]["level"], set(findings)) == (
        "note",
        {"elsewhere", "clip-names"},
    )
    told = {p.authors: p.hub for p in read_clip_names(tmp_path / "clip-names.csv").pairs}
    assert told == renamed
    # Once it is known, the Hub's clips alone are enough.
    shutil.rmtree(data / "SLMdemos_16k")
    names = tmp_path / "clip-names.csv"
    done, findings = index(run_cli, data, "--protocol", lists, "-o", out, "--clip-names", names)
    assert (done.code, findings) == (0, {})
    frame = pl.read_parquet(out)
    where = dict(frame.filter(pl.col("split") == "ood").select("utt_id", "path").iter_rows())
    assert where == {utt_id: f"CodecFake_plus_CoSG/{hub}.wav" for utt_id, hub in renamed.items()}


def test_what_cannot_be_told_is_missing_and_said(run_cli, tmp_path):
    lists, renamed = hub_lists(tmp_path / "lists")
    text = (lists / "CoSG_ALL.txt").read_text().splitlines()
    # The list has another order than the names.
    (lists / "CoSG_ALL.txt").write_text("\n".join(reversed(text)))
    (lists / "CoSG_SEEN.txt").unlink()
    data = clips(tmp_path / "d", renamed)
    out = tmp_path / "m.parquet"
    done, findings = index(run_cli, data, "--protocol", lists, "-o", out)
    assert done.code == 1
    assert len(findings["missing-scored"]["names"]) == 16
    assert "cannot be told apart" in findings["clip-names-open"]["message"]
    assert not (tmp_path / "clip-names.csv").exists()
    done, findings = index(run_cli, data, "--protocol", lists, "-o", out, "--clip-order", "name")
    assert done.code == 0
    assert findings["clip-names"]["level"] == "warning"
    assert "16 by order" in findings["clip-names"]["message"]
    assert "no proof" in findings["clip-names"]["hint"]
    # The labels are right in any case.
    frame = pl.read_parquet(out).filter(pl.col("split") == "ood").sort("utt_id")
    truth = samples.protocol_frame(samples.COSG).sort("utt_id")
    assert frame["vq"].to_list() == truth["vq"].to_list()


def test_other_names_without_the_other_list_are_said(run_cli, tmp_path):
    lists, renamed = hub_lists(tmp_path / "lists")
    (lists / "CoSG_labels.txt").unlink()
    data = clips(tmp_path / "d", renamed)
    done, findings = index(run_cli, data, "--protocol", lists, "-o", tmp_path / "m.parquet")
    assert done.code == 1
    assert "put CoSG_labels.txt beside" in findings["clip-names-unknown"]["hint"]


def test_the_real_list_has_orders_that_differ(protocols, tmp_path):
    """Of the real clips most can be told by their samples only; none is guessed."""
    lists = tmp_path / "lists"
    shutil.copytree(protocols / "evaluation", lists)
    track = find_track("codecfake-plus")
    rows = [line.split() for line in (lists / "CoSG_ALL.txt").read_text().splitlines()]
    taxonomy = {row[0] for row in rows}
    counts = dict.fromkeys(taxonomy, 0)
    lines = []
    from cfbench.tasks import load_taxonomy

    for generator, *_, label in rows:
        counts[generator] += 1
        maker = load_taxonomy().generator_by_spelling[generator]
        cell = maker.cell if label == "spoof" else ("Real",) * 3
        lines.append(" ".join([generator, f"{generator}_{counts[generator]}", *cell, label]))
    (lists / "CoSG_labels.txt").write_text("\n".join(lines))
    found = find_lists([lists], track)
    assert found is not None
    alone = establish(found.authors, found.hub)
    assert (
        len(alone.pairs) + sum(int(p.message.split(": ")[1].split(" ")[0]) for p in alone.problems)
        == 1797
    )
    assert alone.problems
    whole = establish(found.authors, found.hub, order="list")
    assert (len(whole.pairs), whole.problems) == (1797, ())
    assert Pair("CLAMTTS/0_ours", "CLAMTTS/CLAMTTS_1", "spoof", "order") in whole.pairs
