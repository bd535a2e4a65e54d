"""From the clips that a track ships to a folder of files, `UTTERANCE.flac` each.

A track that ships its clips has a folder (`clips` in its TOML file) of this form:

    clips/digests.parquet            a row a clip, see `DIGESTS`
    clips/LICENCE/test.parquet       utt_id, flac: clips that are shipped as they are
    clips/LICENCE/sources.parquet    the same: clips from which others are made
    clips/LICENCE/LICENSE.txt, ATTRIBUTION.md
    codecs/NAME.toml, .safetensors   what makes them

A clip that is in none of the tables is made: the clip that the protocol names as its group goes
through the codec that it names as its source. It must then be what the digests say, to the bit on
the same platform and within a tolerance elsewhere.

Work that was interrupted goes on where it was. A manifest beside the clips keeps what was checked,
so that a second call looks at sizes and times only; a file that it does not know is read.
"""

import hashlib
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import polars as pl

from cfbench import content
from cfbench.errors import CfbenchError, name_some, plural
from cfbench.files import write_atomically, write_bytes
from cfbench.mini.fingerprints import TOLERANCE, Expected, compare
from cfbench.mini.team import Team
from cfbench.protocol import shipped_protocol
from cfbench.tasks import Track

CACHE_VARIABLE = "CFBENCH_CACHE"
"""The environment variable that names the folder in which tracks are unpacked."""

DIGESTS = {
    "utt_id": pl.String(),
    "samples": pl.Int64(),
    "sha256": pl.String(),
    "fingerprint": pl.Binary(),
    "flac": pl.String(),
}
"""The columns of digests.parquet. `sha256` is that of the samples as 16-bit little-endian
integers; `fingerprint` is described in `fingerprints`; `flac` is the SHA-256 of the file, null
where it is not shipped."""

CLIPS = {"utt_id": pl.String(), "flac": pl.Binary()}
"""The columns of a table of clips."""

TABLES = ("test.parquet", "sources.parquet")

PORTION = 256
"""Rows of a table of clips that are written and read together."""

SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
"""What may be the name of a file in the folder."""

_MANIFEST = ".manifest.parquet"
_STAMPS = {
    "utt_id": pl.String(),
    "size": pl.Int64(),
    "mtime_ns": pl.Int64(),
    "file": pl.String(),
    "match": pl.String(),
    "difference": pl.Float64(),
}
_KEEP_EVERY = 2.0  # seconds
_ABANDONED = 3600.0  # seconds after which a temporary file is one of a call that was killed
_JOB = 8  # clips
_AGAIN = "install cfbench again: pip install --force-reinstall cfbench"


@dataclass(frozen=True)
class Makers:
    """What makes clips, as `package.module:name`, since other processes look it up.

    Attributes:
        codec: A function from a codec's TOML file to a `resynthesis.Codec`.
        finish: The last step of every clip: a `resynthesis.Finish`.
        hear: What a codec hears of a source clip: a `resynthesis.Hear`.
    """

    codec: str = "cfbench.codecs:load_codec"
    finish: str = "cfbench.mini.levels:finish"
    hear: str = "cfbench.mini.levels:hear"


MAKERS = Makers()


@dataclass(frozen=True)
class Watch:
    """Whom unpacking tells how it gets on.

    Attributes:
        begin: Called with a number of clips, and what is done with them.
        advance: Called with how many more are done.
    """

    begin: Callable[[int, str], None] = lambda total, what: None
    advance: Callable[[int], None] = lambda done: None


@dataclass(frozen=True)
class Unpacked:
    """Clips on the disk.

    Attributes:
        folder: Where they are.
        splits: How many clips there are of each split.
        exact: How many have the samples of the digests, to the bit.
        near: How many are within the tolerance of their fingerprint.
        difference: The largest mean difference of a fingerprint among these, in dB.
        written: How many this call wrote.
        read: How many of the others were read again; the rest was known by size and time.
        licences: How many clips there are under each licence; its text is in `licences/`.
    """

    folder: Path
    splits: Mapping[str, int]
    exact: int
    near: int
    difference: float
    written: int
    read: int
    licences: Mapping[str, int]


def cache_folder() -> Path:
    """The folder in which tracks are unpacked: as CFBENCH_CACHE says, or the platform's custom."""
    given = os.environ.get(CACHE_VARIABLE)
    if given:
        return Path(given)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "cfbench"
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "cfbench" / "Cache"
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "cfbench"


def clips_folder(track: Track) -> Path:
    """Where a track's clips are unpacked if nobody says otherwise.

    Raises:
        CfbenchError: Its version cannot be a folder's name.
    """
    if not SAFE_ID.fullmatch(track.version):
        raise CfbenchError(
            f"{track.name}: its version '{track.version}' cannot be a folder's name",
            "letters, digits, points and hyphens",
        )
    return cache_folder() / track.name / track.version


def unpack(
    track: Track,
    splits: Sequence[str] | None = None,
    to: Path | None = None,
    verify: bool = False,
    workers: int | None = None,
    watch: Watch = Watch(),
    makers: Makers | None = None,
) -> Unpacked:
    """Have the clips of a track on the disk, unpacked, made and checked.

    Args:
        track: One that ships its clips.
        splits: Whose clips; None for all.
        to: The folder; None for that in the cache.
        verify: Read every file again, and not only those that changed.
        workers: Processes that make clips, one thread each; None for one a core.
        watch: Told how it gets on.
        makers: What makes clips; None for `MAKERS`.

    Raises:
        CfbenchError: What is shipped is incomplete or damaged, something is not installed, the
            folder cannot be written to, or clips that were made are not those that they should be.
    """
    shipped = _Shipped.of(track)
    wanted = shipped.clips(splits)
    folder = to or clips_folder(track)
    _make_folder(folder)
    manifest = _Manifest(folder, shipped.key)
    with manifest.kept():
        read = _look(folder, wanted, manifest, verify, watch)
        stored = wanted.filter(pl.col("table").is_not_null())
        written = _write_stored(folder, manifest.lacking(stored), shipped, manifest, watch)
        made = wanted.filter(pl.col("table").is_null())
        written += _make(
            folder, manifest.lacking(made), shipped, manifest, workers, watch, makers or MAKERS
        )
    shipped.write_licences(folder, wanted)
    stamps = [manifest.stamps[utt_id] for utt_id in wanted["utt_id"]]
    return Unpacked(
        folder=folder,
        splits={
            name: count
            for name in track.splits
            if (count := wanted.filter(pl.col("split") == name).height)
        },
        exact=sum(stamp["match"] == "exact" for stamp in stamps),
        near=sum(stamp["match"] == "near" for stamp in stamps),
        difference=max((stamp["difference"] for stamp in stamps), default=0.0),
        written=written,
        read=read,
        licences=dict(sorted(wanted["licence"].value_counts().iter_rows())),
    )


@dataclass(frozen=True)
class _Shipped:
    """What a track ships of its clips.

    Attributes:
        root: The folder.
        frame: A row a clip: utt_id, split, source, group, bin (null where held back), what
            `DIGESTS` says, and `table` (null where it is made) and `licence`.
        key: The same for the same digests.
    """

    track: Track
    root: Path
    frame: pl.DataFrame
    key: str

    @classmethod
    def of(cls, track: Track) -> "_Shipped":
        root = _root(track)
        digests = _read_table(root / "clips" / "digests.parquet", DIGESTS)
        key = hashlib.sha256((root / "clips" / "digests.parquet").read_bytes()).hexdigest()
        protocol = shipped_protocol(track)
        assert protocol is not None  # noqa: S101 - a track with clips has one, see Track
        listed = pl.concat(
            [
                protocol.frame.select(
                    "utt_id", "source", "group", pl.col("split", "bin").cast(str)
                ),
                protocol.held_back.select("utt_id", "split"),
            ],
            how="diagonal",
        )
        frame = (
            listed.join(digests, on="utt_id", how="left")
            .join(_tables(root), on="utt_id", how="left")
            .sort("utt_id")
        )
        _check(frame, root)
        origin = frame.select(group="utt_id", of_source="licence", of_table="table")
        frame = frame.join(origin, on="group", how="left", maintain_order="left")
        orphans = frame.filter(pl.col("table").is_null() & pl.col("of_table").is_null())["utt_id"]
        if len(orphans):
            raise _damaged(root / "clips", orphans, "has neither file nor source", "have neither")
        licence = pl.coalesce("licence", "of_source").alias("licence")
        return cls(track, root, frame.with_columns(licence).drop("of_source", "of_table"), key)

    def clips(self, splits: Sequence[str] | None) -> pl.DataFrame:
        """The clips of some splits, and those from which they are made."""
        for name in splits or ():
            if name not in self.track.splits:
                raise CfbenchError(
                    f"{self.track.name} has no split '{name}'",
                    f"its splits are {', '.join(self.track.splits)}",
                )
        if splits is None:
            return self.frame
        asked = self.frame.filter(pl.col("split").is_in(list(splits)))
        sources = asked.filter(pl.col("table").is_null())["group"].unique()
        return self.frame.filter(
            pl.col("split").is_in(list(splits)) | pl.col("utt_id").is_in(sources.to_list())
        )

    def contents(self, wanted: pl.DataFrame) -> Iterator[tuple[str, bytes]]:
        """The files of clips that are shipped as they are, a table after the other."""
        for table in wanted["table"].unique().sort():
            asked = wanted.filter(pl.col("table") == table)["utt_id"].to_list()
            path = self.root / "clips" / table
            scanned = pl.scan_parquet(path)
            try:
                count = scanned.select(pl.len()).collect().item()
                # In portions: there may be more clips than fit into the memory.
                for start in range(0, count, PORTION):
                    portion = scanned.slice(start, PORTION).collect()
                    yield from portion.filter(pl.col("utt_id").is_in(asked)).iter_rows()
            except (OSError, pl.exceptions.PolarsError) as error:
                raise _unreadable(path, error) from None

    def write_licences(self, folder: Path, wanted: pl.DataFrame) -> None:
        """Put the licences of clips beside them, and whom the clips are owed to."""
        for licence in wanted["licence"].unique().sort():
            place = folder / "licences" / licence
            _make_folder(place)
            for name in ("LICENSE.txt", "ATTRIBUTION.md"):
                try:
                    text = (self.root / "clips" / licence / name).read_bytes()
                except OSError as error:
                    raise _unreadable(self.root / "clips" / licence / name, error) from None
                if not (place / name).is_file() or (place / name).read_bytes() != text:
                    write_bytes(place / name, text)


class _Manifest:
    """What is known of the files in a folder: by utt_id the row of `_STAMPS`.

    Attributes:
        stamps: Those that were found to be right by this call.
        old: Those that an earlier call has left.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.path, self.key = folder / _MANIFEST, key
        self.stamps: dict[str, dict[str, Any]] = {}
        self.old: dict[str, dict[str, Any]] = {}
        self.changed, self.written_at = False, time.monotonic()
        with suppress(OSError, pl.exceptions.PolarsError):
            # A manifest that cannot be read is one that says nothing: files are then read.
            frame = pl.read_parquet(self.path)
            if frame.schema == pl.Schema({**_STAMPS, "of": pl.String()}):
                known = frame.filter(pl.col("of") == key).drop("of")
                self.old = {row["utt_id"]: row for row in known.iter_rows(named=True)}

    def lacking(self, wanted: pl.DataFrame) -> pl.DataFrame:
        """Those of some clips that are not known to be on the disk."""
        return wanted.filter(~pl.col("utt_id").is_in(list(self.stamps)))

    def add(self, stamp: Mapping[str, Any]) -> None:
        """Note that a file is right."""
        self.stamps[stamp["utt_id"]] = {name: stamp[name] for name in _STAMPS}
        self.changed = True
        if time.monotonic() - self.written_at > _KEEP_EVERY:
            self.write()

    def write(self) -> None:
        """Keep what is known."""
        rows = [*{**self.old, **self.stamps}.values()]
        frame = pl.DataFrame(rows, schema=_STAMPS, orient="row").with_columns(of=pl.lit(self.key))
        write_atomically(self.path, frame.write_parquet)
        self.changed, self.written_at = False, time.monotonic()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Write what is new when the work is done, or interrupted."""
        try:
            yield
        finally:
            if self.changed:
                self.write()


def _root(track: Track) -> Path:
    if track.clips is None:
        raise CfbenchError(
            f"the clips of {track.name} are not shipped with cfbench", "give --audio FOLDER"
        )
    try:
        root = (
            Path(track.clips)
            if Path(track.clips).is_absolute()
            else content.tree(f"tasks/{track.clips}")
        )
    except FileNotFoundError as error:
        raise CfbenchError(str(error), _AGAIN) from None
    if not (root / "clips").is_dir():
        raise CfbenchError(f"{root}: holds no clips of {track.name}", _AGAIN)
    return root


def _tables(root: Path) -> pl.DataFrame:
    """Where clips that are shipped as they are stand: utt_id, table and licence."""
    found = [pl.DataFrame(schema={"utt_id": pl.String, "table": pl.String, "licence": pl.String})]
    for path in sorted((root / "clips").glob("*/*.parquet")):
        if path.name in TABLES:
            licence = path.parent.name
            ids = _read_table(path, CLIPS, ["utt_id"])
            found.append(
                ids.with_columns(table=pl.lit(f"{licence}/{path.name}"), licence=pl.lit(licence))
            )
    frame = pl.concat(found)
    twice = frame.filter(pl.col("utt_id").is_duplicated())["utt_id"].unique().sort()
    if len(twice):
        raise _damaged(root / "clips", twice, "is there twice", "are there twice")
    return frame


def _read_table(
    path: Path, schema: Mapping[str, pl.DataType], columns: Sequence[str] | None = None
) -> pl.DataFrame:
    try:
        scanned = pl.scan_parquet(path)
        if scanned.collect_schema() != pl.Schema(schema):
            raise CfbenchError(f"{path}: has not the columns {', '.join(schema)}", _AGAIN)
        return scanned.select(columns or list(schema)).collect()
    except (OSError, pl.exceptions.PolarsError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> CfbenchError:
    told = str(error).splitlines()[0] if str(error) else type(error).__name__
    return CfbenchError(f"{path}: cannot be read: {told}", _AGAIN)


def _damaged(path: Path, ids: pl.Series, one: str, many: str) -> CfbenchError:
    told = plural(len(ids), f"clip {one}|clips {many}")
    return CfbenchError(f"{path}: {told}: {name_some(ids.head(5).to_list(), len(ids))}", _AGAIN)


def _check(frame: pl.DataFrame, root: Path) -> None:
    unsafe = [utt_id for utt_id in frame["utt_id"] if not SAFE_ID.fullmatch(utt_id)]
    if unsafe:
        raise CfbenchError(
            f"{plural(len(unsafe), 'utt_id')} cannot be the name of a file: {name_some(unsafe)}",
            "letters, digits, points, hyphens and underscores",
        )
    twice = frame.filter(pl.col("utt_id").is_duplicated())["utt_id"].unique().sort()
    if len(twice):
        raise _damaged(root / "clips" / "digests.parquet", twice, "is there twice", "are twice")
    without = frame.filter(pl.col("sha256").is_null())["utt_id"]
    if len(without):
        raise _damaged(
            root / "clips" / "digests.parquet", without, "has no digest", "have no digest"
        )
    stored = pl.col("table").is_not_null()
    bare = frame.filter(stored & pl.col("flac").is_null())["utt_id"]
    if len(bare):
        raise _damaged(
            root / "clips" / "digests.parquet",
            bare,
            "is without a digest of its file",
            "are without",
        )
    lost = frame.filter(~stored & (pl.col("bin").is_null() | (pl.col("bin") == "bonafide")))
    if lost.height:
        # What is held back must be shipped: to make it one would have to know its codec.
        raise _damaged(root / "clips", lost["utt_id"], "is in no table", "are in no table")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CfbenchError(
            f"{folder}: cannot be made: {error.strerror}",
            f"name another folder with --to, or for all calls with {CACHE_VARIABLE}",
        ) from None


def _look(
    folder: Path, wanted: pl.DataFrame, manifest: _Manifest, verify: bool, watch: Watch
) -> int:
    """Find the clips that an earlier call has left, and nobody has touched since.

    Returns:
        How many were read.
    """
    from cfbench.mini.resynthesis import read_pcm, stamp

    _remove_abandoned(folder)
    if verify:
        watch.begin(wanted.height, "reading")
    decodes = verify and find_spec("soundfile") is not None
    read = 0
    for row in wanted.select("utt_id", "samples", "sha256", "fingerprint").iter_rows(named=True):
        path, known = folder / f"{row['utt_id']}.flac", manifest.old.get(row["utt_id"])
        if verify:
            watch.advance(1)
        if known is None:
            continue
        try:
            now = path.stat()
            same = (now.st_size, now.st_mtime_ns) == (known["size"], known["mtime_ns"])
            if same and verify:
                same = stamp(path)["file"] == known["file"]
                read += 1
            if same and decodes:
                expected = Expected(row["samples"], row["sha256"], row["fingerprint"])
                same = compare(read_pcm(path), expected)[0] == known["match"]
        except (OSError, CfbenchError):
            same = False
        if same:
            manifest.stamps[row["utt_id"]] = known
    return read


def _remove_abandoned(folder: Path) -> None:
    """Remove what calls that were killed were writing, but not what another call is writing."""
    for path in folder.glob(".*.flac.*"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _ABANDONED:
                path.unlink()


def _write_stored(
    folder: Path, wanted: pl.DataFrame, shipped: _Shipped, manifest: _Manifest, watch: Watch
) -> int:
    """Write clips that are shipped as they are; returns how many were not there."""
    from cfbench.mini.resynthesis import stamp

    if not wanted.height:
        return 0
    watch.begin(wanted.height, "unpacking")
    digests = dict(wanted.select("utt_id", "flac").iter_rows())
    written, left = 0, set(digests)
    for utt_id, flac in shipped.contents(wanted):
        if flac is None or hashlib.sha256(flac).hexdigest() != digests[utt_id]:
            raise _damaged(
                shipped.root / "clips", pl.Series([utt_id]), "is not what its digest says", ""
            )
        path = folder / f"{utt_id}.flac"
        if not path.is_file() or path.read_bytes() != flac:
            write_bytes(path, flac)
            written += 1
        manifest.add({"utt_id": utt_id, "match": "exact", "difference": 0.0, **stamp(path)})
        left.discard(utt_id)
        watch.advance(1)
    if left:
        raise _damaged(shipped.root / "clips", pl.Series(sorted(left)), "is lost", "are lost")
    return written


def _make(
    folder: Path,
    wanted: pl.DataFrame,
    shipped: _Shipped,
    manifest: _Manifest,
    workers: int | None,
    watch: Watch,
    makers: Makers,
) -> int:
    """Make clips from their sources; returns how many were not there."""
    if not wanted.height:
        return 0
    lacking = [name for name in ("torch", "safetensors", "soundfile") if not find_spec(name)]
    if lacking:
        raise CfbenchError(
            f"{plural(wanted.height, 'clip')} of training speech must be made by codecs, which "
            f"needs {', '.join(lacking)}",
            "pip install 'cfbench[baseline]'; the clips of the tests need none of it: "
            "cfbench data mini --only test",
        )
    jobs = _jobs(folder, wanted, shipped.root, makers)
    watch.begin(wanted.height, "re-synthesising")
    off: dict[str, float] = {}
    written = 0

    def done(answer: Mapping[str, Any]) -> None:
        nonlocal written
        written += answer.get("made", False)
        if answer["match"] == "off":
            off[answer["utt_id"]] = answer["difference"]
        else:
            manifest.add(answer)
        watch.advance(1)

    Team(min(workers or _cores(), len(jobs))).work(jobs, done)
    if off:
        named = [f"{utt_id} ({off[utt_id]:.1f} dB)" for utt_id in sorted(off)]
        raise CfbenchError(
            f"{plural(len(off), 'clip')} of {wanted.height:,} came out of the codecs farther than "
            f"{TOLERANCE:g} dB from their fingerprint: {name_some(named)}",
            "this platform computes something else: say so in an issue, with what `cfbench "
            "run-baseline` writes into environment.json; the other clips are in place",
        )
    return written


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _jobs(folder: Path, wanted: pl.DataFrame, root: Path, makers: Makers) -> list[dict[str, Any]]:
    """Clips in portions of one codec each."""
    jobs = []
    for (name,), rows in wanted.sort("source", "utt_id").group_by("source", maintain_order=True):
        path = root / "codecs" / f"{name}.toml"
        if not SAFE_ID.fullmatch(str(name)) or not path.is_file():
            ids = name_some(rows["utt_id"].head(5).to_list(), rows.height)
            raise CfbenchError(f"{path}: no such codec, which {ids} need", _AGAIN)
        clips = [
            {
                "utt_id": row["utt_id"],
                "source": str(folder / f"{row['group']}.flac"),
                "out": str(folder / f"{row['utt_id']}.flac"),
                "samples": row["samples"],
                "sha256": row["sha256"],
                "fingerprint": row["fingerprint"].hex(),
            }
            for row in rows.iter_rows(named=True)
        ]
        said = {
            "load": makers.codec,
            "finish": makers.finish,
            "hear": makers.hear,
            "codec": str(path),
        }
        jobs += [
            {**said, "clips": clips[start : start + _JOB]} for start in range(0, len(clips), _JOB)
        ]
    return jobs
