"""What a manifest and a protocol say of each other, as findings and counts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from cfbench.audio import RATE
from cfbench.errors import plural
from cfbench.manifest.duplicates import find_duplicates
from cfbench.manifest.findings import Finding
from cfbench.manifest.joining import Join, utterances
from cfbench.protocol import Protocol


def of_the_walk(walk: Mapping[str, Any]) -> list[Finding]:
    """Links and folders that were left out."""
    findings = []
    if walk["unreadable"]:
        names = [f"{path} ({why})" for path, why in walk["unreadable"].items()]
        told = plural(len(names), "folder")
        findings.append(
            Finding("unlisted", "error", f"{told} could not be listed", names, "see that it may be")
        )
    if walk["links"]:
        names = [f"{path} ({why})" for path, why in walk["links"].items()]
        told = plural(len(names), "link was|links were")
        hint = "--follow-links follows those that lead out of the folder"
        findings.append(Finding("links", "warning", f"{told} not followed", names, hint))
    return findings


def of_the_join(joined: Join, protocol: Protocol) -> list[Finding]:
    """Utterances without a file, files without an utterance, and what was found by other names."""
    track = protocol.track
    findings: list[Finding] = []
    for scored in (True, False):
        some = joined.lacking.filter(pl.col("split").is_in(list(track.scored)) == scored)
        if not some.height:
            continue
        by_split = some["split"].value_counts(sort=True, name="n")
        where = ", ".join(f"{split} {count:,}" for split, count in by_split.iter_rows())
        told = plural(some.height, "utterance has|utterances have")
        findings.append(
            Finding(
                "missing-scored" if scored else "missing",
                "error" if scored else "warning",
                f"{told} no file ({where})",
                some["utt_id"].to_list(),
                "unpack the archives whole" + (f"; {track.obtain}" if track.obtain else ""),
            )
        )
    for scored in (True, False):
        some = joined.doubled.filter(pl.col("split").is_in(list(track.scored)) == scored)
        groups = some.group_by("utt_id", maintain_order=True).agg("path").sort("utt_id")
        if groups.height:
            told = plural(groups.height, "utterance has|utterances have")
            names = [f"{utt_id} ({' and '.join(paths)})" for utt_id, paths in groups.iter_rows()]
            findings.append(
                Finding(
                    "doubled-scored" if scored else "doubled",
                    "error" if scored else "warning",
                    f"{told} more than one file",
                    names,
                    "keep one file an utterance, or index the right folder only",
                )
            )
    for key, frame, told in (
        ("spelled", joined.spelled, "found though codec or generator is spelled otherwise"),
        ("elsewhere", joined.elsewhere, "there under the protocol's name too"),
    ):
        if frame.height:
            files = plural(frame.height, "file is|files are")
            findings.append(Finding(key, "note", f"{files} {told}", frame["path"].to_list()))
    known = joined.elsewhere.select("root", "path")
    strangers = joined.frame.filter(pl.col("utt_id").is_null())
    strangers = strangers.join(known, on=["root", "path"], how="anti")
    if strangers.height:
        told = plural(strangers.height, "file belongs|files belong")
        findings.append(
            Finding(
                "surplus",
                "warning",
                f"{told} to no utterance of the protocol",
                strangers["path"].to_list(),
                "the lists of other splits may know them; they are not scored",
            )
        )
    return findings


def of_the_files(frame: pl.DataFrame, protocol: Protocol | None) -> list[Finding]:
    """Files that are broken, or not in the form of the published clips."""
    scored_splits = list(protocol.track.scored) if protocol else []
    scored = pl.col("split").is_in(scored_splits).fill_null(False)
    findings = []
    for is_scored in (True, False):
        some = frame.filter(pl.col("problem").is_not_null(), scored == is_scored)
        if some.height:
            names = [f"{p} ({why})" for p, why in some.select("path", "problem").iter_rows()]
            told = plural(some.height, "file is|files are")
            findings.append(
                Finding(
                    "broken-scored" if is_scored else "broken",
                    "error" if is_scored else "warning",
                    f"{told} empty, cut short, or no audio",
                    names,
                    "fetch or unpack them again",
                )
            )
    sound = frame.filter(pl.col("problem").is_null())
    other = sound.filter((pl.col("rate") != RATE) | (pl.col("channels") != 1))
    if other.height:
        columns = other.select("path", "rate", "channels").iter_rows()
        names = [f"{path} ({rate:,} Hz, {plural(n, 'channel')})" for path, rate, n in columns]
        told = plural(other.height, "file is|files are")
        hint = "they are converted when they are read, which the published clips need not be"
        findings.append(Finding("form", "warning", f"{told} not {RATE:,} Hz mono", names, hint))
    return findings


def of_duplicates(frame: pl.DataFrame, protocol: Protocol | None) -> list[Finding]:
    """Utterances with the samples of others."""
    if protocol is None:
        return []
    same = find_duplicates(frame)
    told = (
        ("duplicates-labels", same.labels, "hold a fake with the samples of a real utterance"),
        ("duplicates-splits", same.splits, "lie in more than one split"),
        ("duplicates", same.within, "of one split and label"),
    )
    findings = [
        Finding(
            key,
            "note" if key == "duplicates" else "warning",
            f"{plural(len(names), 'group')} of utterances with the same samples "
            f"{'holds' if len(names) == 1 and what.startswith('hold ') else what.split(' ')[0]} "
            f"{' '.join(what.split(' ')[1:])}",
            names,
        )
        for key, names, what in told
        if names
    ]
    if same.unknown:
        findings.append(
            Finding(
                "duplicates-unknown",
                "note",
                f"whether {plural(same.unknown, 'utterance has|utterances have')} the samples of "
                "another is not known: their files were not read whole",
                (),
                "leave out --headers-only to know",
            )
        )
    return findings


def counts(
    frame: pl.DataFrame,
    protocol: Protocol | None,
    walk: Mapping[str, Any],
    roots: Sequence[Path],
    doubled: pl.DataFrame | None = None,
) -> dict[str, Any]:
    """How much there is, as plain data."""
    seconds = frame.select(
        (pl.col("samples") / pl.col("rate")).filter(pl.col("rate") > 0).sum()
    ).item()
    told: dict[str, Any] = {
        "roots": [str(root) for root in roots],
        "files": frame.height,
        "bytes": int(frame["size"].sum()),
        "hours": round(float(seconds or 0.0) / 3600, 3),
        "other_files": dict(walk["others"]),
    }
    if protocol is None:
        return told
    wanted = dict(utterances(protocol)["split"].value_counts(name="n").iter_rows())
    there = dict(frame["split"].drop_nulls().value_counts(name="n").iter_rows())
    if doubled is not None:
        several = doubled.group_by("split").agg(pl.len() - pl.col("utt_id").n_unique())
        for split, surplus in several.iter_rows():
            there[split] -= surplus
    return {
        **told,
        "track": protocol.track.name,
        "splits": {
            split: {"utterances": wanted[split], "found": there.get(split, 0)}
            for split in protocol.track.splits
            if split in wanted
        },
    }
