"""Whether data on a disk is what scoring and training rely on: lists, manifest, files, sound."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import polars as pl

from cfbench.errors import plural
from cfbench.manifest.crew import look
from cfbench.manifest.findings import Finding, Level, Report, gravest_first
from cfbench.manifest.indexing import UNWATCHED, Watch, listing
from cfbench.manifest.making import How, Made, lay_beside, make_manifest
from cfbench.manifest.table import Manifest, places, with_roots
from cfbench.manifest.walking import walk
from cfbench.protocol import Protocol, find_list

SHORTEST, LONGEST = 0.3, 60.0
"""Seconds; a clip that is shorter or longer is worth a look."""


class Counts(NamedTuple):
    """How many utterances a published list has of a split."""

    name: str
    split: str
    bonafide: int
    spoof: int


PUBLISHED: Mapping[str, tuple[Counts, ...]] = {
    "codecfake-plus": (
        Counts("CoRS_ALL.txt", "id", 755, 22_650),
        Counts("the Hub's CoRS_labels.txt", "train", 42_965, 1_331_915),
        Counts("the Hub's CoRS_labels.txt", "dev", 735, 22_785),
        Counts("the Hub's CoRS_labels.txt", "id", 755, 23_405),
        Counts("CoSG_ALL.txt and CoSG_labels.txt", "ood", 866, 931),
        Counts("CoSG_SEEN.txt", "ood", 259, 318),
        Counts("the training lists", "train", 42_965, 42_965),
        Counts("the training lists", "dev", 735, 735),
        Counts("the training lists", "id", 755, 755),
    )
}
"""What the authors' lists and the Hub's release have, by track (arXiv 2501.08238, 2505.12994)."""

LIST_DIGESTS = {
    "CoSG_labels.txt": "9b32a0b2a9dc5aa13277e7ec0e4b145b2e3941954cb903356ce6b86b099e2eb9",
    "CoRS_labels.txt": "78d2cc2784188fecd8c082c9a180593ff7b60cf89672e6b1a5b37aae4c26bd08",
}
"""SHA-256 of the lists of the Hub's release."""


@dataclass(frozen=True)
class Asked:
    """What is looked at.

    Attributes:
        sample: How many files to read whole and decode; None for all.
        workers: Processes that read; None for one a core.
        lists: Folders in which lists lie.
        follow: Whether to follow links that lead out of the folders.
    """

    sample: int | None = None
    workers: int | None = None
    lists: Sequence[Path] = ()
    follow: bool = False


def audit(
    protocol: Protocol,
    manifest: Manifest | None = None,
    folders: Sequence[Path] = (),
    asked: Asked = Asked(),
    watch: Watch = UNWATCHED,
) -> Report:
    """Check everything in one pass.

    Args:
        protocol: Who the utterances are.
        manifest: What an index has found; None to look at the folders now.
        folders: The folders; of a manifest, where they are by now, if not where they were.
        asked: How much is read.
        watch: Told how it gets on.

    Raises:
        CfbenchError: A folder cannot be read.
    """
    how = How(True, asked.workers, asked.follow, lists=asked.lists)
    findings = _of_the_lists(protocol, asked.lists)
    if manifest is None:
        made = make_manifest(folders, protocol, None, how, watch)
        findings += _of_the_sound(made.frame, made.roots, protocol, asked, watch, digests=False)
    else:
        manifest = with_roots(manifest, folders or None)
        roots = manifest.roots
        walked = walk(roots, asked.follow, watch.walked)
        told = {"links": walked.links, "others": walked.others, "unreadable": walked.unreadable}
        made = lay_beside(manifest.frame, roots, protocol, told, how)
        findings += _of_the_manifest(manifest, protocol)
        there = listing(walked).select("root", "path", now="size")
        lost, changes = _against_the_disk(made, there)
        findings += changes
        sound = made.frame.join(lost, on=["root", "path"], how="anti", maintain_order="left")
        findings += _of_the_sound(sound, roots, protocol, asked, watch, digests=True)
    findings += _of_lengths(made.frame)
    return Report(made.report.counts, gravest_first([*made.report.findings, *findings]))


def _of_the_lists(protocol: Protocol, folders: Sequence[Path]) -> list[Finding]:
    """Whether the protocol is a published one, by its digest, or by its counts at least."""
    track = protocol.track
    findings = []
    for split in protocol.splits:
        frame = protocol.split(split)
        name = track.published_name(split, protocol.digests[split])
        if name is not None:
            findings.append(Finding("list", "note", f"split {split}: {name} as published"))
            continue
        known = [counts for counts in PUBLISHED.get(track.name, ()) if counts.split == split]
        if not known or frame["bin"].null_count() == frame.height:
            told = f"split {split}: no published digest is known of it"
            findings.append(Finding("list", "note", told))
            continue
        real = int((frame["bin"] == "bonafide").sum())
        fake = frame.height - real
        said = f"split {split} has {real:,} bona fide and {fake:,} spoofed utterances"
        fitting = [c.name for c in known if (c.bonafide, c.spoof) == (real, fake)]
        if fitting:
            told = f"{said}, as {fitting[0]} has; its digest is not among those that are known"
            findings.append(Finding("list", "note", told))
        else:
            others = "; ".join(f"{c.name} {c.bonafide:,} and {c.spoof:,}" for c in known)
            findings.append(
                Finding(
                    "list-unknown",
                    "error" if split in track.scored else "warning",
                    f"{said}, as no published list",
                    (),
                    f"published: {others}",
                )
            )
    return findings + _of_hub_lists(protocol, folders)


def _of_hub_lists(protocol: Protocol, folders: Sequence[Path]) -> list[Finding]:
    findings = []
    for name, wanted in LIST_DIGESTS.items():
        path = next((p for folder in folders if (p := find_list(folder, [name]))), None)
        if path is None or protocol.track.name not in PUBLISHED:
            continue
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found == wanted:
            findings.append(Finding("hub-list", "note", f"{name} as the Hub has it"))
        else:
            told = f"{path}: its SHA-256 is {found}, the Hub's {wanted}"
            findings.append(Finding("hub-list", "warning", told, (), "fetch it again"))
    return findings


def _of_the_manifest(manifest: Manifest, protocol: Protocol) -> list[Finding]:
    said = manifest.said.get("protocol", {})
    other = [split for split, digest in protocol.digests.items() if said.get(split) != digest]
    if not other:
        return []
    scored = any(split in protocol.track.scored for split in other)
    return [
        Finding(
            "manifest-protocol",
            "error" if scored else "warning",
            "the manifest was made with another protocol than this one",
            other,
            "cfbench data index makes it anew; files that have not changed are not read again",
        )
    ]


def _against_the_disk(made: Made, there: pl.DataFrame) -> tuple[pl.DataFrame, list[Finding]]:
    """Files of the manifest that are not there any more or have another size, and new ones."""
    both = made.frame.join(there, on=["root", "path"], how="left", maintain_order="left")
    splits = made.report.counts["splits"]
    findings = []
    gone = both.filter(pl.col("now").is_null())
    other = both.filter(pl.col("now").is_not_null() & (pl.col("now") != pl.col("size")))
    for key, frame, told in (
        ("gone", gone, "file of the manifest is|files of the manifest are"),
        ("resized", other, "file has|files have"),
    ):
        if frame.height:
            used = frame["split"].drop_nulls().is_in(list(splits)).any()
            how = "not there" if key == "gone" else "another size than the manifest says"
            level: Level = "error" if used else "warning"
            names = frame["path"].to_list()
            findings.append(
                Finding(key, level, f"{plural(frame.height, told)} {how}", names, _AGAIN)
            )
    new = there.join(made.frame, on=["root", "path"], how="anti", maintain_order="left")
    if new.height:
        told = plural(new.height, "file is|files are")
        names = new["path"].to_list()
        findings.append(Finding("new", "warning", f"{told} not in the manifest", names, _INDEX))
    return pl.concat([gone, other]), findings


_INDEX = "cfbench data index brings the manifest up to date"
_AGAIN = f"unpack them again if that was not meant; {_INDEX}"


def _of_the_sound(
    frame: pl.DataFrame,
    roots: Sequence[Path],
    protocol: Protocol,
    asked: Asked,
    watch: Watch,
    digests: bool,
) -> list[Finding]:
    """Read files whole and decode them, all or a sample that is always the same."""
    rows = frame.filter(pl.col("utt_id").is_not_null(), pl.col("problem").is_null())
    of = rows.height
    if asked.sample is not None and asked.sample < of:
        picked = rows.select(pl.int_range(pl.len()).sample(asked.sample, seed=0)).to_series()
        rows = rows[picked.sort()]
    watch.start(rows.height, 0)
    found: list[tuple[str | None, str | None]] = []
    for facts in look(places(rows, roots).to_list(), digests, asked.workers, decode=True):
        found += [(one.sha256, one.problem) for one in facts]
        watch.advance(len(facts))
    schema = {"sha_now": pl.String, "wrong": pl.String}
    rows = rows.hstack(pl.DataFrame(found, schema=schema, orient="row"))
    scored = pl.col("split").is_in(list(protocol.track.scored)).fill_null(False)
    findings = []
    for is_scored in (True, False):
        level: Level = "error" if is_scored else "warning"
        end = "-scored" if is_scored else ""
        bad = rows.filter(pl.col("wrong").is_not_null(), scored == is_scored)
        if bad.height:
            told = f"{plural(bad.height, 'clip')} cannot be decoded as it should be"
            names = [f"{u} ({w})" for u, w in bad.select("utt_id", "wrong").iter_rows()]
            findings.append(Finding(f"undecodable{end}", level, told, names, "fetch it again"))
        changed = rows.filter(pl.col("sha256") != pl.col("sha_now"), scored == is_scored)
        if digests and changed.height:
            told = plural(changed.height, "file has|files have")
            findings.append(
                Finding(
                    f"changed{end}",
                    level,
                    f"{told} another SHA-256 than the manifest says",
                    changed["path"].to_list(),
                    _AGAIN,
                )
            )
    part = f"{rows.height:,} of {of:,}" if rows.height < of else f"all {of:,}"
    compared = rows["sha256"].count() if digests else 0
    told = f"decoded {part} clips of utterances"
    if digests:
        told += f"; compared SHA-256 with the manifest for {compared:,}"
    return [*findings, Finding("decoded", "note", told)]


def _of_lengths(frame: pl.DataFrame) -> list[Finding]:
    seconds = pl.col("samples") / pl.col("rate")
    odd = frame.filter(
        pl.col("utt_id").is_not_null(),
        pl.col("problem").is_null(),
        ~seconds.is_between(SHORTEST, LONGEST),
    ).select("utt_id", seconds=seconds)
    if not odd.height:
        return []
    told = plural(odd.height, "clip is|clips are")
    names = [f"{utt_id} ({length:.2f} s)" for utt_id, length in odd.iter_rows()]
    hint = "those of CoSG last 0.85 to 28.58 s: listen to them"
    what = f"{told} shorter than {SHORTEST:g} s or longer than {LONGEST:g} s"
    return [Finding("lengths", "warning", what, names, hint)]
