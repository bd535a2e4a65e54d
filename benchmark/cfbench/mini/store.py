"""From the clips that a track ships to a folder of files, `UTTERANCE.flac` each.

A track that ships its clips has a folder (`clips` in its TOML file) of this form:

    clips/digests.parquet            a row a clip, see `DIGESTS`
    clips/LICENCE/test.parquet       utt_id, flac: clips of the tests
    clips/LICENCE/sources.parquet    the same: clips from which others are made
    clips/LICENCE/LICENSE.txt, ATTRIBUTION.md
    codecs/NAME.toml, .safetensors   what makes them

A clip that is in none of the tables is made: the clip that the protocol names as its group goes
through the codec that it names as its source. Every clip, shipped or made, then goes through a
channel of its own, which is the same everywhere. What comes out must be what the digests say: of
shipped clips to the bit, of made ones to the bit on the same platform and within a tolerance
elsewhere.

Work that was interrupted goes on where it was. A manifest beside the clips keeps what was checked,
so that a second call looks at sizes and times only; a file that it does not know is read.
"""

import hashlib
import os
import re
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

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
}
"""The columns of digests.parquet, of what is unpacked. `sha256` is that of the samples as 16-bit
little-endian integers; `fingerprint` is described in `fingerprints`, and null where the clip is
shipped."""

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
_AGAIN = "install cfbench again: pip install --force-reinstall cfbench"


@dataclass(frozen=True)
class Makers:
    """What makes clips, as `package.module:name`, since other processes look it up.

    Attributes:
        codec: A function from a codec's TOML file to a `resynthesis.Codec`.
        hear: What a codec hears of a clip that is shipped: a `resynthesis.Hear`.
        finish: From what it answers to a clip as shipped ones are: a `resynthesis.Finish`.
        channel: The last step of every clip: a `resynthesis.Channel`.
    """

    codec: str = "cfbench.codecs:load_codec"
    hear: str = "cfbench.mini.levels:hear"
    finish: str = "cfbench.mini.levels:finish"
    channel: str = "cfbench.mini.levels:channel"


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
        workers: Processes that write clips, one thread each; None for one a core.
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
        lacking = manifest.lacking(wanted)
        written = _write(folder, lacking, shipped, manifest, workers, watch, makers or MAKERS)
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


def shipped_clips(track: Track, utt_ids: Collection[str]) -> dict[str, NDArray[np.int16]]:
    """Clips as they are shipped, before their channel: what codecs are given.

    Args:
        track: One that ships its clips.
        utt_ids: Of clips of the tests, or bona fide ones.

    Returns:
        By utt_id (n,) integers. They are not held against digests, which are of unpacked clips.

    Raises:
        CfbenchError: A clip is not shipped, or cannot be decoded; soundfile is not installed.
    """
    from cfbench.mini.resynthesis import decode

    _check_installed(0)
    shipped = _Shipped.of(track)
    found = {
        utt_id: decode(flac or b"", f"{shipped.root / 'clips'}: {utt_id}")
        for utt_id, flac in shipped.contents(utt_ids)
    }
    lost = sorted(set(utt_ids) - set(found))
    if lost:
        told = plural(len(lost), "clip is not shipped|clips are not shipped")
        raise CfbenchError(
            f"{shipped.root / 'clips'}: {told}: {name_some(lost[:5], len(lost))}",
            "what training has beside recordings is made by codecs: `cfbench.mini.store.unpack`",
        )
    return found


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

    def contents(self, utt_ids: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """The files of some clips that are shipped, a table after the other.

        Raises:
            CfbenchError: A table cannot be read.
        """
        asked = self.frame.filter(pl.col("utt_id").is_in(list(utt_ids)))
        for table in asked["table"].drop_nulls().unique().sort():
            ids = asked.filter(pl.col("table") == table)["utt_id"].to_list()
            path = self.root / "clips" / table
            scanned = pl.scan_parquet(path)
            try:
                count = scanned.select(pl.len()).collect().item()
                # In portions: there may be more clips than fit into the memory.
                for start in range(0, count, PORTION):
                    portion = scanned.slice(start, PORTION).collect()
                    yield from portion.filter(pl.col("utt_id").is_in(ids)).iter_rows()
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
    """Where clips that are shipped stand: utt_id, table and licence."""
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
    lost = frame.filter(~stored & (pl.col("bin").is_null() | (pl.col("bin") == "bonafide")))
    if lost.height:
        # What is held back must be shipped: to make it one would have to know its codec.
        raise _damaged(root / "clips", lost["utt_id"], "is in no table", "are in no table")
    bare = frame.filter(~stored & pl.col("fingerprint").is_null())["utt_id"]
    if len(bare):
        raise _damaged(
            root / "clips" / "digests.parquet",
            bare,
            "that must be made is without a fingerprint",
            "that must be made are without fingerprints",
        )


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


def _write(
    folder: Path,
    wanted: pl.DataFrame,
    shipped: _Shipped,
    manifest: _Manifest,
    workers: int | None,
    watch: Watch,
    makers: Makers,
) -> int:
    """Write clips that are shipped, and make the others; returns how many were not there."""
    if not wanted.height:
        return 0
    made = wanted.filter(pl.col("table").is_null())
    _check_installed(made.height)
    _check_codecs(made, shipped.root)
    watch.begin(wanted.height, "unpacking and re-synthesising" if made.height else "unpacking")
    off: dict[str, float] = {}
    broken: set[str] = set()
    written = 0

    def done(answer: Mapping[str, Any]) -> None:
        nonlocal written
        written += answer.get("made", False)
        if "broken" in answer:
            broken.add(answer["broken"])
        elif answer["match"] == "off":
            off[answer["utt_id"]] = answer["difference"]
        else:
            manifest.add(answer)
        watch.advance(1)

    by_origin = _by_origin(wanted)
    jobs = _jobs(folder, by_origin, shipped, makers)
    Team(min(workers or _cores(), len(by_origin))).work(jobs, wanted.height, done)
    if broken:
        raise _damaged(
            shipped.root / "clips",
            pl.Series(sorted(broken)),
            "is not what its digest says",
            "are not what their digests say",
        )
    if off:
        named = [f"{utt_id} ({off[utt_id]:.2f} dB)" for utt_id in sorted(off)]
        raise CfbenchError(
            f"{plural(len(off), 'clip')} of {made.height:,} came out of the codecs farther than "
            f"{TOLERANCE:g} dB from their fingerprint: {name_some(named)}",
            "this platform computes something else: say so in an issue, with what `cfbench "
            "run-baseline` writes into environment.json; the other clips are in place",
        )
    return written


def _check_installed(made: int) -> None:
    codecs = ("torch", "safetensors") if made else ()
    lacking = [name for name in (*codecs, "soundfile") if not find_spec(name)]
    if lacking and made:
        raise CfbenchError(
            f"{plural(made, 'clip')} of training speech must be made by codecs, which needs "
            f"{', '.join(lacking)}",
            "pip install 'cfbench[baseline]'; the clips of the tests need soundfile only: "
            "cfbench data mini --only test",
        )
    if lacking:
        raise CfbenchError("unpacking clips needs soundfile", "pip install 'cfbench[data]'")


def _check_codecs(made: pl.DataFrame, root: Path) -> None:
    for (name,), rows in made.group_by("source", maintain_order=True):
        if not SAFE_ID.fullmatch(str(name)) or not _codec(root, str(name)).is_file():
            ids = name_some(rows["utt_id"].head(5).to_list(), rows.height)
            raise CfbenchError(
                f"{_codec(root, str(name))}: no such codec, which {ids} need", _AGAIN
            )


def _codec(root: Path, name: str) -> Path:
    return root / "codecs" / f"{name}.toml"


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _by_origin(wanted: pl.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """Rows by the shipped clip that they come of, which is a row itself or not."""
    origin = pl.when(pl.col("table").is_null()).then("group").otherwise("utt_id")
    found: dict[str, list[dict[str, Any]]] = {}
    for row in wanted.with_columns(origin=origin).iter_rows(named=True):
        found.setdefault(row["origin"], []).append(row)
    return found


def _jobs(
    folder: Path,
    by_origin: Mapping[str, Sequence[Mapping[str, Any]]],
    shipped: _Shipped,
    makers: Makers,
) -> Iterator[dict[str, Any]]:
    """What `resynthesis.serve` is told, for each clip that is shipped.

    Raises:
        CfbenchError: A table cannot be read, or lacks a clip that it had.
    """
    digests = dict(shipped.frame.select("utt_id", "sha256").iter_rows())
    left = dict(by_origin)
    for utt_id, flac in shipped.contents(by_origin):
        clips = [
            {
                "utt_id": row["utt_id"],
                "made_by": None if row["table"] else str(_codec(shipped.root, row["source"])),
                "out": str(folder / f"{row['utt_id']}.flac"),
                "samples": row["samples"],
                "sha256": row["sha256"],
                "fingerprint": None if row["table"] else row["fingerprint"].hex(),
            }
            for row in left.pop(utt_id)
        ]
        yield {
            **asdict(makers),
            "shipped": utt_id,
            "sha256": digests[utt_id],
            "flac": b64encode(flac or b"").decode("ascii"),
            "clips": clips,
        }
    if left:
        lost = pl.Series(sorted(left))
        raise _damaged(shipped.root / "clips", lost, "is lost", "are lost")
