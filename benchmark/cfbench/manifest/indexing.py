"""From folders to a table of their files, in parts that outlive an interruption.

What was read is kept in parts beside the manifest until that is whole; a part is written whole or
not at all. A file whose size and time of change are as they were is not read again. So neither
interruptions nor the number of processes change anything in the table.
"""

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from cfbench.errors import CfbenchError
from cfbench.manifest.crew import BATCH, look
from cfbench.manifest.headers import Facts
from cfbench.manifest.share import Share
from cfbench.manifest.table import FILES, places, read_manifest, write_manifest
from cfbench.manifest.walking import Walked, walk

_SECONDS_A_PART = 2.0
_BATCHES_A_PART = 64
NAMELESS = "its name is not UTF-8"
"""The problem of a file that no table can name, and which is not read."""


@dataclass(frozen=True)
class Watch:
    """Told how an index gets on.

    Attributes:
        walked: How many audio files were found so far.
        start: How many there are, and how many of them need not be read again.
        advance: How many more were read.
    """

    walked: Callable[[int], None] = lambda found: None
    start: Callable[[int, int], None] = lambda total, known: None
    advance: Callable[[int], None] = lambda read: None


UNWATCHED = Watch()


@dataclass(frozen=True)
class Indexed:
    """The files below some folders.

    Attributes:
        frame: The columns of `FILES`, sorted by root and path.
        walked: What else there was.
        read: How many files were read.
        kept: How many an earlier run had read.
    """

    frame: pl.DataFrame
    walked: Walked
    read: int
    kept: int


def parts_folder(out: Path) -> Path:
    """Where parts are kept until the manifest is whole."""
    return out.with_name(out.name + ".parts")


def index_files(
    roots: Sequence[Path],
    out: Path | None,
    digests: bool = True,
    workers: int | None = None,
    share: Share | None = None,
    follow: bool = False,
    watch: Watch = UNWATCHED,
) -> Indexed:
    """Look at all audio files below folders.

    Args:
        roots: The folders.
        out: The manifest, of which an earlier state is used, and beside which parts are kept;
            None keeps nothing.
        digests: Whether to read files whole; else their headers only, and a digest of an earlier
            run stays.
        workers: Processes that read; None for one a core.
        share: Which of the files; None for all.
        follow: Whether to follow links out of the folders.
        watch: Told how it gets on.

    Raises:
        CfbenchError: A folder is not there, or `out` is a file that is no manifest.
    """
    earlier = _earlier(roots, out)
    walked = walk(roots, follow, watch.walked)
    there = listing(walked, share)
    nameless = there.filter("nameless").drop("nameless")
    there = there.filter(~pl.col("nameless")).drop("nameless")
    keys = ["root", "path", "size", "mtime_ns"]
    if digests:
        earlier = earlier.filter(pl.col("sha256").is_not_null())
    kept = there.join(earlier, on=keys, how="inner").select(*FILES)
    todo = there.join(earlier, on=keys, how="anti").sort("root", "path")
    watch.start(there.height, kept.height)
    new = _read(todo, roots, out, digests, workers, watch)
    strange = nameless.with_columns(
        pl.lit(None, dtype).alias(name) for name, dtype in FILES.items() if name not in keys
    ).with_columns(problem=pl.lit(NAMELESS))
    frame = pl.concat([kept, *new, strange.select(*FILES)]).sort("root", "path")
    return Indexed(frame, walked, todo.height, kept.height)


def listing(walked: Walked, share: Share | None = None) -> pl.DataFrame:
    """What a walk has found: root, path, size, mtime_ns, and whether the name is no text."""
    rows = range(len(walked.paths))
    if share is not None and share.count > 1:
        rows = [row for row in rows if share.holds(walked.paths[row])]  # type: ignore[assignment]
    names = [walked.paths[row] for row in rows]
    stored = []
    for name in names:
        try:
            name.encode()
            stored.append(name)
        except UnicodeEncodeError:
            stored.append(name.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
    nameless = [name != kept for name, kept in zip(names, stored, strict=True)]
    columns = {
        "root": pl.Series([walked.root[row] for row in rows], dtype=pl.UInt16),
        "path": pl.Series(stored, dtype=pl.String),
        "size": pl.Series([walked.sizes[row] for row in rows], dtype=pl.Int64),
        "mtime_ns": pl.Series([walked.mtimes[row] for row in rows], dtype=pl.Int64),
        "nameless": pl.Series(nameless, dtype=pl.Boolean),
    }
    return pl.DataFrame(columns)


def forget_parts(out: Path) -> None:
    """Delete the parts, once the manifest is whole."""
    shutil.rmtree(parts_folder(out), ignore_errors=True)


def _earlier(roots: Sequence[Path], out: Path | None) -> pl.DataFrame:
    """What earlier runs have read, a row a file."""
    nothing = pl.DataFrame(schema=FILES)
    if out is None:
        return nothing
    paths = [out] if out.exists() else []
    folder = parts_folder(out)
    if folder.is_dir():
        paths += sorted(folder.glob("part-*.parquet"))
    now = {root.resolve(): number for number, root in enumerate(roots)}
    found = []
    for path in paths:
        try:
            manifest = read_manifest(path)
        except CfbenchError:
            if path == out:
                raise
            continue  # a part that was damaged since is read again
        numbers = {old: now.get(root.resolve()) for old, root in enumerate(manifest.roots)}
        frame = manifest.frame.select(*FILES).with_columns(
            pl.col("root").replace_strict(numbers, return_dtype=pl.UInt16)
        )
        found.append(frame.filter(pl.col("root").is_not_null(), pl.col("path").is_not_null()))
    if not found:
        return nothing
    # What cannot be read may be readable by now; the last run knows best.
    frame = pl.concat(found).filter(
        pl.col("problem").is_null()
        | pl.col("sha256").is_not_null()
        | pl.col("format").is_not_null()
    )
    return frame.unique(["root", "path"], keep="last", maintain_order=False)


def _read(
    todo: pl.DataFrame,
    roots: Sequence[Path],
    out: Path | None,
    digests: bool,
    workers: int | None,
    watch: Watch,
) -> list[pl.DataFrame]:
    """Look at files, and keep what was found in parts."""
    if not todo.height:
        return []
    folder = parts_folder(out) if out is not None else None
    first = 0
    if folder is not None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CfbenchError(f"{folder}: cannot be made: {error.strerror}") from None
        numbers = [int(path.stem.removeprefix("part-")) for path in folder.glob("part-*.parquet")]
        first = max(numbers, default=-1) + 1
    new: list[pl.DataFrame] = []
    waiting: list[Facts] = []
    written = 0
    last = time.monotonic()

    def finish_part() -> None:
        nonlocal waiting, written, last
        if not waiting:
            return
        rows = todo[written : written + len(waiting)]
        new.append(_with_facts(rows, waiting))
        if folder is not None:
            place = folder / f"part-{first + len(new) - 1:06d}.parquet"
            write_manifest(new[-1], roots, place, {"digests": digests})
        written += len(waiting)
        waiting, last = [], time.monotonic()

    try:
        for facts in look(places(todo, roots).to_list(), digests, workers):
            waiting += facts
            watch.advance(len(facts))
            late = time.monotonic() - last > _SECONDS_A_PART
            if late or len(waiting) >= _BATCHES_A_PART * BATCH:
                finish_part()
    finally:
        # Ctrl-C loses nothing.
        finish_part()
    return new


def _with_facts(rows: pl.DataFrame, facts: Sequence[Facts]) -> pl.DataFrame:
    schema = {name: FILES[name] for name in Facts._fields}
    read = pl.DataFrame(facts, schema=schema, orient="row")
    # Of a file that could not be opened the folder's listing knows more.
    known = read["format"].is_not_null() | (read["mtime_ns"] > 0)
    both = read.with_columns(
        root=rows["root"],
        path=rows["path"],
        size=pl.when(known).then(read["size"]).otherwise(rows["size"]),
        mtime_ns=pl.when(known).then(read["mtime_ns"]).otherwise(rows["mtime_ns"]),
    )
    return both.select(*FILES)
