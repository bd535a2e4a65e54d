"""The manifest as a Parquet file: a row an audio file, sorted by path.

| column | type | meaning |
| --- | --- | --- |
| utt_id | String | the utterance; null where the file belongs to none that is known |
| path | String | from the folder that was indexed, with `/` |
| root | UInt16 | which of the folders, where several were indexed |
| size, mtime_ns | Int64 | bytes; when it was changed last, in nanoseconds |
| format, samples, rate, channels | | what its header says; null where it says nothing |
| sha256 | String | of the file; null where it was not asked for |
| pcm_md5 | String | of its samples: the same for a WAV and its FLAC |
| problem | String | what is wrong with the file; null where nothing is |
| split, subset, source, group, bin, vq, aux, dec, speaker | String | as the protocol has them |
| each task of the track's own | String | the same |
"""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from cfbench.errors import CfbenchError, name_some, plural
from cfbench.files import write_atomically
from cfbench.protocol import COLUMNS, columns
from cfbench.tables import missing_file
from cfbench.tasks import Track

FACTS = {
    "format": pl.String(),
    "samples": pl.Int64(),
    "rate": pl.Int32(),
    "channels": pl.Int16(),
    "sha256": pl.String(),
    "pcm_md5": pl.String(),
    "problem": pl.String(),
}
FILES = {
    "path": pl.String(),
    "root": pl.UInt16(),
    "size": pl.Int64(),
    "mtime_ns": pl.Int64(),
    **FACTS,
}
"""What is known of files before a protocol is laid beside them."""

TRUTH = tuple(name for name in COLUMNS if name != "utt_id")
SCHEMA = {"utt_id": pl.String(), **FILES, **dict.fromkeys(TRUTH, pl.String())}

"""The columns of the manifest of a track that brings no tasks of its own."""

VERSION = 1
_KEY = "cfbench.manifest"
_SHARD = re.compile(r"\.shard-(\d+)-of-(\d+)$")


@dataclass(frozen=True, eq=False)
class Manifest:
    """A manifest as it was read.

    Attributes:
        frame: The columns of `SCHEMA`, or those of `FILES` where no protocol was laid beside it.
        roots: The folders that its paths start from.
        said: What else its file says: the track, the protocol's digests, the shard.
    """

    frame: pl.DataFrame
    roots: tuple[Path, ...]
    said: Mapping[str, Any] = field(default_factory=dict)


def truth_columns(track: Track) -> tuple[str, ...]:
    """What a manifest has of a track's protocol, in order: its own tasks come last."""
    return (*TRUTH, *(name for name in columns(track) if name not in COLUMNS))


def places(frame: pl.DataFrame, roots: Sequence[Path]) -> pl.Series:
    """The file of each row, as text."""
    begin = {number: f"{root}{os.sep}" for number, root in enumerate(roots)}
    return frame.select(
        pl.col("root").replace_strict(begin, return_dtype=pl.String) + pl.col("path")
    ).to_series()


def with_roots(manifest: Manifest, folders: Sequence[Path] | None) -> Manifest:
    """The manifest of files that were moved; None where they were not.

    Raises:
        CfbenchError: It is of another number of folders, or is a share without utterances.
    """
    if "utt_id" not in manifest.frame.columns:
        raise CfbenchError(
            "the manifest is a share, without utterances", "cfbench data index --merge joins shares"
        )
    if folders is None:
        return manifest
    if len(folders) != len(manifest.roots):
        raise CfbenchError(
            f"the manifest is of {plural(len(manifest.roots), 'folder')}, but {len(folders)} "
            f"{'was' if len(folders) == 1 else 'were'} named",
            "name the folders that were indexed, in the same order",
        )
    return replace(manifest, roots=tuple(folders))


def write_manifest(
    frame: pl.DataFrame,
    roots: Sequence[Path],
    path: Path,
    said: Mapping[str, Any],
    by_way_of: Path | None = None,
) -> None:
    """Write a manifest; the same rows give the same bytes.

    The folders are kept as seen from the manifest, so that both may be moved together.

    Args:
        frame: The columns of `SCHEMA` or of `FILES`.
        roots: The folders that its paths start from.
        path: Where.
        said: What else it is to say.
        by_way_of: A folder of the same disk in which it is written before it is moved, so that
            whoever is ended meanwhile leaves nothing beside it.

    Raises:
        CfbenchError: It cannot be written.
    """
    whole = {"version": VERSION, "roots": [_as_seen_from(path, root) for root in roots], **said}
    told = {_KEY: json.dumps(whole, sort_keys=True)}
    frame = frame.rechunk()

    def write(place: Path) -> None:
        # Digests cannot be compressed, and take most of the time where one tries harder.
        frame.write_parquet(place, compression_level=1, metadata=told)

    if by_way_of is None or (path.exists() and not path.is_file()):
        write_atomically(path, write)
        return
    try:
        by_way_of.mkdir(parents=True, exist_ok=True)
        write(by_way_of / path.name)
        (by_way_of / path.name).replace(path.resolve())
    except OSError as error:
        raise CfbenchError(f"{path}: cannot be written: {error.strerror or error}") from None


def _as_seen_from(manifest: Path, root: Path) -> str:
    real, here = root.resolve(), manifest.resolve().parent
    try:
        return Path(os.path.relpath(real, here)).as_posix()
    except ValueError:  # another drive of Windows
        return real.as_posix()


def read_manifest(path: Path) -> Manifest:
    """Read a manifest.

    Raises:
        CfbenchError: It is not there, or is none.
    """
    if not path.is_file():
        if path.is_dir():
            raise CfbenchError(f"{path}: a folder", "name the manifest in it: manifest.parquet")
        raise missing_file(path)
    hint = "cfbench data index writes one"
    try:
        said = pl.read_parquet_metadata(path).get(_KEY)
        if said is None:
            raise CfbenchError(f"{path}: not a manifest of cfbench", hint)
        told = json.loads(said)
        frame = pl.read_parquet(path, glob=False)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError):
        raise CfbenchError(f"{path}: not a manifest, or a damaged one", hint) from None
    if told.get("version") != VERSION:
        raise CfbenchError(
            f"{path}: a manifest of version {told.get('version')}; this cfbench reads {VERSION}",
            "index the folder again",
        )
    known = dict(FILES)
    if "utt_id" in frame.columns:
        known = SCHEMA | dict.fromkeys(told.get("own_tasks", []), pl.String())
    if frame.schema != pl.Schema(known):
        strange = sorted(set(frame.columns) ^ set(known)) or ["types"]
        raise CfbenchError(f"{path}: its columns are not a manifest's: {name_some(strange)}", hint)
    roots = tuple(path.resolve().parent / root for root in told.pop("roots"))
    if frame.height and int(frame["root"].max()) >= len(roots):  # type: ignore[arg-type]
        raise CfbenchError(f"{path}: a row's folder is not among its folders", hint)
    _check_paths(frame, path)
    return Manifest(frame, roots, told)


def _check_paths(frame: pl.DataFrame, path: Path) -> None:
    """Refuse a table of somebody else's that would lead out of the folders."""
    away = frame.filter(pl.col("path").str.contains(r"^/|(?:^|/)\.\.(?:/|$)").fill_null(True))
    if away.height:
        raise CfbenchError(
            f"{path}: {plural(away.height, 'path leads|paths lead')} out of its folder: "
            f"{name_some(away['path'].head(5).to_list(), away.height)}",
            "index the folder again",
        )


def shard_path(out: Path, index: int, count: int) -> Path:
    """Where the share `index` (from 0) of `count` is kept: `manifest.shard-2-of-4.parquet`."""
    return out.with_name(f"{out.stem}.shard-{index + 1}-of-{count}{out.suffix}")


def merge_shards(out: Path) -> tuple[pl.DataFrame, tuple[Path, ...], Mapping[str, Any]]:
    """Join the shares that lie beside a manifest.

    Returns:
        Their rows, sorted, their folders, and what one of them says.

    Raises:
        CfbenchError: A share is missing, or they do not belong together.
    """
    found: dict[int, dict[int, Path]] = {}
    for path in sorted(out.parent.glob(f"{_escaped(out.stem)}.shard-*-of-*{out.suffix}")):
        match = _SHARD.search(path.stem)
        if match and path.stem[: match.start()] == out.stem:
            found.setdefault(int(match[2]), {})[int(match[1])] = path
    if not found:
        raise CfbenchError(
            f"{out}: there are no shares of it beside it",
            "cfbench data index DIR --shard 1/4 makes the first of four",
        )
    if len(found) > 1:
        counts = " and ".join(f"{count}" for count in sorted(found))
        raise CfbenchError(
            f"{out}: shares of {counts} lie beside it", "delete those that are not wanted"
        )
    count, shares = next(iter(found.items()))
    lacking = [f"{number}/{count}" for number in range(1, count + 1) if number not in shares]
    if lacking:
        raise CfbenchError(
            f"{out}: {plural(len(lacking), 'share is|shares are')} missing: {name_some(lacking)}",
            f"cfbench data index DIR --shard {lacking[0]} makes it",
        )
    read = [read_manifest(shares[number]) for number in sorted(shares)]
    for number, one in enumerate(read, start=1):
        same = [root.resolve() for root in one.roots] == [root.resolve() for root in read[0].roots]
        if not same or one.said["digests"] != read[0].said["digests"]:
            raise CfbenchError(
                f"{shares[number]}: of other folders or made in another way than {shares[1]}",
                "make all shares by the same command",
            )
    frame = pl.concat([one.frame.select(*FILES) for one in read]).sort("root", "path")
    twice = frame.filter(pl.struct("root", "path").is_duplicated())
    if twice.height:
        raise CfbenchError(
            f"{out}: {plural(twice.height, 'file stands|files stand')} in more than one share: "
            + name_some(twice["path"].head(5).to_list(), twice.height),
            "make the shares anew",
        )
    said = {name: value for name, value in read[0].said.items() if name != "shard"}
    told = {
        "links": {k: v for one in read for k, v in one.said["walk"]["links"].items()},
        "others": read[0].said["walk"]["others"],
        "unreadable": {k: v for one in read for k, v in one.said["walk"]["unreadable"].items()},
    }
    return frame, read[0].roots, {**said, "walk": told}


def _escaped(stem: str) -> str:
    return re.sub(r"([\[\]*?])", r"[\1]", stem)
