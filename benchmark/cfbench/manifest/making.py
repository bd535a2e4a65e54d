"""Makes a manifest: files, protocol, names, duplicates, and a report on all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from cfbench.clip_names import (
    ClipNames,
    Lists,
    Order,
    establish,
    find_lists,
    is_renamed,
    read_clip_names,
    write_clip_names,
)
from cfbench.errors import CfbenchError
from cfbench.manifest import reporting
from cfbench.manifest.duplicates import content
from cfbench.manifest.findings import Finding, Level, Report, gravest_first
from cfbench.manifest.indexing import (
    UNWATCHED,
    Watch,
    forget_parts,
    index_files,
    parts_folder,
)
from cfbench.manifest.joining import Join, as_joined, join, match
from cfbench.manifest.share import Share
from cfbench.manifest.table import merge_shards, shard_path, write_manifest
from cfbench.manifest.walking import Walked
from cfbench.protocol import Protocol

CLIP_NAMES = "clip-names.csv"
"""Where the names of clips that the Hub has renamed are written, beside the manifest."""


@dataclass(frozen=True)
class How:
    """How a folder is indexed.

    Attributes:
        digests: Whether to read files whole; else their headers only.
        workers: Processes that read; None for one a core.
        follow: Whether to follow links that lead out of the folders.
        names: A table of clips' names that is believed; None to have it made where it is needed.
        order: By what the Hub has counted clips, where somebody knows.
        lists: Folders in which the lists of names are looked for.
    """

    digests: bool = True
    workers: int | None = None
    follow: bool = False
    names: Path | None = None
    order: Order | None = None
    lists: Sequence[Path] = ()


@dataclass(frozen=True, eq=False)
class Made:
    """What was made.

    Attributes:
        frame: The manifest's rows.
        roots: The folders that its paths start from.
        report: What was found.
        names: The table of names that was used, or None.
        read: Files that were read now, and
        kept: files that an earlier run had read.
    """

    frame: pl.DataFrame
    roots: tuple[Path, ...]
    report: Report
    names: ClipNames | None
    read: int = 0
    kept: int = 0


def make_manifest(
    roots: Sequence[Path],
    protocol: Protocol | None,
    out: Path | None,
    how: How = How(),
    watch: Watch = UNWATCHED,
) -> Made:
    """Index folders, lay a protocol beside the files, and write the manifest.

    Args:
        roots: The folders.
        protocol: Who the utterances are; None where nobody says.
        out: The manifest; None to write none.
        how: What is read.
        watch: Told how it gets on.

    Raises:
        CfbenchError: A folder or list cannot be read, or the manifest cannot be written.
    """
    files = index_files(roots, out, how.digests, how.workers, None, how.follow, watch)
    made = lay_beside(files.frame, roots, protocol, _told_of(files.walked), how, out)
    if out is not None:
        _write(made, protocol, out, how.digests)
    return Made(made.frame, made.roots, made.report, made.names, files.read, files.kept)


def make_share(
    roots: Sequence[Path], out: Path, share: Share, how: How = How(), watch: Watch = UNWATCHED
) -> tuple[Path, int, int]:
    """Index a share of the files; `merge` joins the shares.

    Returns:
        The share's file, how many files were read now, and how many an earlier run had read.
    """
    place = shard_path(out, share.index, share.count)
    files = index_files(roots, place, how.digests, how.workers, share, how.follow, watch)
    said = {"digests": how.digests, "shard": str(share), "walk": _told_of(files.walked)}
    write_manifest(files.frame, roots, place, said, by_way_of=parts_folder(place))
    forget_parts(place)
    return place, files.read, files.kept


def merge(protocol: Protocol | None, out: Path, how: How = How()) -> Made:
    """Join the shares that lie beside a manifest, as if it had been made at once.

    Raises:
        CfbenchError: A share is missing, or they do not belong together.
    """
    frame, roots, said = merge_shards(out)
    made = lay_beside(frame, roots, protocol, said["walk"], how, out)
    _write(made, protocol, out, said["digests"])
    return made


def lay_beside(
    files: pl.DataFrame,
    roots: Sequence[Path],
    protocol: Protocol | None,
    walk: Mapping[str, Any],
    how: How = How(),
    out: Path | None = None,
) -> Made:
    """Join files and protocol, and report on both.

    Args:
        files: The columns of `table.FILES`; or those of `table.SCHEMA`, where it was done before.
        roots: The folders that their paths start from.
        protocol: Who the utterances are; None where nobody says.
        walk: `links`, `others` and `unreadable`, as plain data.
        how: How names of clips are told.
        out: The manifest; names that were told are written beside it.
    """
    findings = reporting.of_the_walk(walk)
    names = None
    if protocol is None:
        nobody = [pl.lit(None, pl.String).alias(name) for name in _LABELS]
        frame = files.select(nobody[0], pl.all(), *nobody[1:])
        findings.append(
            Finding("no-protocol", "note", "no protocol: files only, and no labels", (), "")
        )
        joined = None
    else:
        joined, names, told = (
            (as_joined(files, protocol), None, [])
            if "utt_id" in files.columns
            else _joined(files, roots, protocol, how, out)
        )
        findings += told + reporting.of_the_join(joined, protocol)
        frame = joined.frame
    findings += reporting.of_the_files(frame, protocol) + reporting.of_duplicates(frame, protocol)
    doubled = joined.doubled if joined else None
    counts = reporting.counts(frame, protocol, walk, roots, doubled)
    return Made(frame, tuple(roots), Report(counts, gravest_first(findings)), names)


_LABELS = ("utt_id", "split", "subset", "source", "group", "bin", "vq", "aux", "dec", "speaker")


def _told_of(walked: Walked) -> dict[str, Any]:
    clean = {
        name: {_printable(path): why for path, why in sorted(getattr(walked, name).items())}
        for name in ("links", "unreadable")
    }
    return {**clean, "others": dict(sorted((_printable(k), v) for k, v in walked.others.items()))}


def _printable(name: str) -> str:
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _write(made: Made, protocol: Protocol | None, out: Path, digests: bool) -> None:
    said = {
        "digests": digests,
        "track": protocol.track.name if protocol else None,
        "own_tasks": [task.id for task in protocol.track.own_tasks] if protocol else [],
        "protocol": dict(protocol.digests) if protocol else {},
        # By which a reader sees that utterances have no file.
        "splits": {k: v["utterances"] for k, v in made.report.counts.get("splits", {}).items()},
    }
    write_manifest(made.frame, made.roots, out, said, by_way_of=parts_folder(out))
    forget_parts(out)


def _joined(
    files: pl.DataFrame,
    roots: Sequence[Path],
    protocol: Protocol,
    how: How,
    out: Path | None,
) -> tuple[Join, ClipNames | None, list[Finding]]:
    """Join, and where clips have other names than the protocol's, find out which is which."""
    joined = join(files, protocol)
    track = protocol.track
    strangers = joined.frame.filter(pl.col("utt_id").is_null())
    if track.generated is None or not (strangers.height or how.names):
        return joined, None, []
    lists = find_lists([*how.lists, *roots], track)
    if how.names is not None:
        names = read_clip_names(how.names, lists)
        return join(files, protocol, names.towards(protocol.frame["utt_id"])), names, []
    if lists is None:
        return joined, None, _looks_renamed(joined, protocol)
    whole = pl.concat([lists.authors["utt_id"], lists.hub["utt_id"]]).unique().sort()
    if (match(strangers, whole, track) < 0).all():
        return joined, None, []  # other strangers: no name of the lists is among them
    called = pl.Series(match(files, whole, track))
    heard = content(
        files.with_columns(called=pl.when(called >= 0).then(whole.gather(called.clip(0))))
    ).filter(
        pl.col("called").is_not_null(), pl.col("content").is_not_null(), pl.col("problem").is_null()
    )
    contents = dict(heard.select("called", "content").iter_rows())
    names = establish(lists.authors, lists.hub, contents, how.order)
    findings = [
        Finding("clip-names-open", "error", problem.message, (), problem.hint)
        for problem in names.problems
    ]
    if names.pairs:
        place = (out.parent if out is not None else roots[0]) / CLIP_NAMES
        if out is not None:
            write_clip_names(names, place)
        findings.append(_told_names(names, lists, place if out is not None else None))
    return join(files, protocol, names.towards(protocol.frame["utt_id"])), names, findings


def _told_names(names: ClipNames, lists: Lists, place: Path | None) -> Finding:
    how = [pair.how for pair in names.pairs]
    told = ", ".join(f"{how.count(word):,} by {word}" for word in dict.fromkeys(sorted(how)))
    where = f": {place}" if place else ""
    level: Level = "warning" if "order" in how else "note"
    return Finding(
        "clip-names",
        level,
        f"{lists.authors_path.name} and {lists.hub_path.name} call the same clips by other names; "
        f"which is which was told for {len(how):,} ({told}){where}",
        (),
        "by order is no proof: within a generator and label two clips may be swapped, labels not"
        if level == "warning"
        else "",
    )


def _looks_renamed(joined: Join, protocol: Protocol) -> list[Finding]:
    """Say so where clips of generators seem to have other names than in the protocol."""
    split = protocol.track.generated.split if protocol.track.generated else ""
    ids = protocol.frame.filter(pl.col("split").cast(pl.String) == split)["utt_id"]
    strangers = joined.frame.filter(pl.col("utt_id").is_null())
    stems = strangers.select(
        pl.col("path").str.replace(r"\.[^./]*$", "").str.extract(r"(?s)([^/]*/[^/]*)$")
    )["path"].drop_nulls()
    lacking = ids.filter(~ids.is_in(joined.frame["utt_id"].drop_nulls().implode()))
    if not len(lacking) or not len(stems):
        return []
    theirs = is_renamed(ids) > 0.5
    if theirs == (is_renamed(stems) > 0.5):
        return []
    named, other = ("Hub", "authors") if theirs else ("authors", "Hub")
    wanted = "CoSG_ALL.txt" if theirs else "CoSG_labels.txt"
    return [
        Finding(
            "clip-names-unknown",
            "warning",
            f"the protocol has the {named}' names of clips of generators, the files the {other}'"
            if named == "authors"
            else f"the protocol has the {named}'s names of clips, the files the {other}'",
            (),
            f"put {wanted} beside the other lists: both together tell which is which",
        )
    ]


def check_out(out: Path, track_name: str) -> None:
    """Refuse a place at which no manifest can be kept.

    Raises:
        CfbenchError: It is a folder, or its name does not end in .parquet.
    """
    if out.suffix != ".parquet" or out.is_dir():
        raise CfbenchError(
            f"{out}: {'a folder' if out.is_dir() else 'a manifest is a Parquet file'}",
            f"name a file: --out {track_name}.parquet",
        )
