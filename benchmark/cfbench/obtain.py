"""From a published release to files on this disk: downloaded, or taken from a folder; unpacked.

    FOLDER/CoSG_labels.txt, ...     plain files
    FOLDER/archives/...             archives, as they were downloaded
    FOLDER/CoSG/..., CoRS/...       what was in them
    FOLDER/.cfbench/                what is known of all that, see `obtained`

Each step looks at what earlier calls have left, so that the same call goes on where one was
interrupted, and ends in the same files.
"""

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cfbench.archives.unpacking import Bounds, DiskFull, Unpacked, look, unpack
from cfbench.errors import CfbenchError, Problem, plural
from cfbench.files import write_atomically
from cfbench.hub.downloads import BrokenOff, Listener, Wanted, arrived, download
from cfbench.hub.failures import NotConnected
from cfbench.hub.patience import Wait
from cfbench.obtained import FOLDER, By, KnownFile, Obtained, alone, sha256_of
from cfbench.release import Release, ReleaseArchive, ReleaseFile

_BLOCK = 4096  # bytes that a file's last block takes, at most
_SPARE = 64 << 20


class Incomplete(CfbenchError):
    """Not all is there, though what was asked for is right; the same call goes on."""


@dataclass(frozen=True)
class Watch:
    """Whom it is told how the work gets on.

    Attributes:
        begin: Called with a number of bytes, and what is done with them.
        advance: Called with how many more are done, and how many of these were done before.
        note: Called with a line worth knowing.
        wait: Called before a wait for the Hub.
    """

    begin: Callable[[int, str], None] = lambda total, what: None
    advance: Callable[[int, int], None] = lambda done, free: None
    note: Callable[[str], None] = lambda line: None
    wait: Callable[[Wait], None] = lambda wait: None


@dataclass(frozen=True)
class Plan:
    """What there is to do.

    Attributes:
        release: Of what.
        folder: Where everything goes.
        source: A folder that holds the files already; None to download them.
        files: The files that are needed now; those of archives that are unpacked are not.
        archives: The archives to unpack.
        ready: The archives that are unpacked, and what is in them.
        to_download: Bytes.
        to_unpack: Bytes, about.
        clips: How many files that gives, about.
        free: Bytes that are free where the folder is.
    """

    release: Release
    folder: Path
    source: Path | None
    files: tuple[ReleaseFile, ...]
    archives: tuple[ReleaseArchive, ...]
    ready: dict[str, Unpacked]
    to_download: int
    to_unpack: int
    clips: int
    free: int

    @property
    def needed(self) -> int:
        """Bytes of the disk, about."""
        work = self.to_download + self.to_unpack + self.clips * _BLOCK // 2
        return work + _SPARE if work else 0

    def place(self, name: str) -> Path:
        """Where a file is read from."""
        if self.source is not None:
            return self.source / name
        return _place(self.release, self.folder, name)

    def check_disk(self) -> None:
        """See that there is room.

        Raises:
            CfbenchError: There is not.
        """
        if self.needed > self.free:
            raise CfbenchError(
                f"{self.folder}: about {gigabytes(self.needed)} are needed "
                f"({gigabytes(self.to_download)} to download, {gigabytes(self.to_unpack)} to "
                f"unpack), {gigabytes(self.free)} are free",
                "name a folder on another disk with --to; --subset takes a part",
            )
        free = _free_files(self.folder)
        if free is not None and self.clips > free:
            raise CfbenchError(
                f"{self.folder}: the file system has room for {plural(free, 'more file')}, and "
                f"about {self.clips:,} are needed",
                "name a folder on another disk with --to; df -i shows what a disk can hold",
            )


@dataclass(frozen=True)
class Done:
    """What is there now.

    Attributes:
        files: What is known of each file that was asked for.
        archives: What is in each archive that was asked for.
        downloaded: Bytes that came over the network in this call.
        removed: Archives that were removed after they were unpacked.
    """

    files: dict[str, KnownFile]
    archives: dict[str, Unpacked]
    downloaded: int
    removed: tuple[str, ...]


def make_plan(
    release: Release, folder: Path, subset: str | None = None, source: Path | None = None
) -> Plan:
    """See what there is to do; the network is not asked.

    Args:
        release: What is wanted.
        folder: Where it goes; need not be there.
        subset: Which part of it; None for all.
        source: A folder that holds the published files.

    Raises:
        CfbenchError: There is no such subset, the source lacks files, or the folder is of another
            release.
    """
    plain = release.plain_files(subset)
    chosen = release.chosen_archives(subset)
    record = Obtained.of(folder, release.repo, release.revision)
    ready, todo, to_unpack, clips = {}, [], 0, 0
    for archive in chosen:
        key = record.key(archive.parts)
        found, complete = look(*_here(folder, archive), key) if key else (Unpacked(), False)
        if complete:
            ready[archive.name] = found
        else:
            todo.append(archive)
            to_unpack += max(0, archive.unpacked - found.size)
            clips += max(0, archive.clips - found.files)
    files = [*plain, *(release.by_path[part] for archive in todo for part in archive.parts)]
    if source is not None:
        _check_source(source, files)
        to_download = 0
    else:
        lacking = (file.bytes - arrived(_place(release, folder, file.path)) for file in files)
        to_download = sum(max(0, size) for size in lacking)
    return Plan(
        release, folder, source, tuple(files), tuple(todo), ready, to_download, to_unpack, clips,
        _free(folder),
    )  # fmt: skip


def obtain(plan: Plan, watch: Watch = Watch(), remove: bool = False) -> Done:
    """Have everything in its place.

    Args:
        plan: What there is to do.
        watch: Told how it gets on.
        remove: Remove downloaded archives when they are unpacked.

    Raises:
        Incomplete: Not all is there; the same call goes on.
        CfbenchError: A file cannot be had, is not what was published, or holds what is not
            unpacked; the folder cannot be written to, or there is no room.
    """
    plan.check_disk()
    release, folder = plan.release, plan.folder
    try:
        with alone(folder):
            record = Obtained.of(folder, release.repo, release.revision)
            if plan.source is None:
                downloaded = _download(plan, record, watch)
            else:
                _take(plan, record, watch)
                downloaded = 0
            unpacked = dict(plan.ready)
            for archive in plan.archives:
                unpacked[archive.name] = _unpack(plan, archive, record, watch)
            removed = _remove(release, folder, unpacked) if remove and not plan.source else ()
    except (BrokenOff, DiskFull, NotConnected) as error:
        raise Incomplete.of(error.problems) from None
    names = {file.path for file in plan.files}
    names |= {part for one in release.archives if one.name in unpacked for part in one.parts}
    return Done(
        {name: record.files[name] for name in sorted(names)},
        {name: unpacked[name] for name in sorted(unpacked)},
        downloaded,
        removed,
    )


def gigabytes(size: int) -> str:
    """`1.2 GB`, `350 MB`."""
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.0f} MB"


def _download(plan: Plan, record: Obtained, watch: Watch) -> int:
    """Download what is not there; what is there and known is not read again."""
    release, wanted = plan.release, []
    for file in plan.files:
        place = plan.place(file.path)
        if record.knows(file.path, place):
            continue
        known = record.files.get(file.path)
        if known is not None and place.is_file():
            _notice_change(file, place, known, record, watch)
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        sha256 = file.sha256 or (known.sha256 if known else None)
        wanted.append(Wanted(file.path, place, file.bytes, sha256))
    record.save(plan.folder)
    if not wanted:
        return 0
    watch.begin(sum(one.bytes or 0 for one in wanted), "downloading")
    total = 0
    listener = Listener(watch.advance, watch.wait)
    for one in download(release.repo, release.revision, wanted, listener):
        by: By = "release" if release.by_path[one.wanted.path].sha256 else "hub"
        record.remember(one.wanted.path, one.wanted.place, one.sha256, by)
        record.save(plan.folder)
        total += one.arrived
    return total


def _take(plan: Plan, record: Obtained, watch: Watch) -> None:
    """Check the files of a folder; archives stay where they are, plain files are copied."""
    unread = [file for file in plan.files if not record.knows(file.path, plan.place(file.path))]
    watch.begin(sum(file.bytes for file in unread), "reading")
    for file in unread:
        place, known = plan.place(file.path), record.files.get(file.path)
        sha256 = sha256_of(place, lambda done: watch.advance(done, 0))
        expected = file.sha256 or (known.sha256 if known else None)
        if expected not in (None, sha256):
            raise _not_published(file, place, sha256, expected)
        by: By = "release" if file.sha256 else known.by if known else "first seen"
        record.remember(file.path, place, sha256, by)
        record.save(plan.folder)
    parts = {part for archive in plan.release.archives for part in archive.parts}
    for file in plan.files:
        if file.path not in parts:
            _copy(plan.place(file.path), plan.folder / file.path, record.files[file.path].sha256)


def _unpack(plan: Plan, archive: ReleaseArchive, record: Obtained, watch: Watch) -> Unpacked:
    key = record.key(archive.parts)
    assert key is not None  # noqa: S101 - every part was read
    paths = [plan.place(part) for part in archive.parts]
    watch.begin(sum(path.stat().st_size for path in paths), f"unpacking {archive.name}")
    bounds = Bounds(archive.most_files, archive.most_file, archive.most_unpacked)
    folder, journal = _here(plan.folder, archive)
    return unpack(
        paths, archive.format, folder, journal, key, bounds, lambda done: watch.advance(done, 0)
    )


def _remove(release: Release, folder: Path, unpacked: dict[str, Unpacked]) -> tuple[str, ...]:
    names = [part for one in release.archives if one.name in unpacked for part in one.parts]
    found = [name for name in names if _place(release, folder, name).is_file()]
    for name in found:
        _place(release, folder, name).unlink()
    return tuple(found)


def _notice_change(
    file: ReleaseFile, place: Path, known: KnownFile, record: Obtained, watch: Watch
) -> None:
    """Read a file again that was touched since it was checked."""
    watch.begin(place.stat().st_size, "reading")
    sha256 = sha256_of(place, lambda done: watch.advance(done, 0))
    if sha256 != known.sha256:
        raise _not_published(file, place, sha256, known.sha256)
    record.remember(file.path, place, sha256, known.by)


def _not_published(
    file: ReleaseFile, place: Path, sha256: str, expected: str | None
) -> CfbenchError:
    if file.sha256:
        return CfbenchError(
            f"{place}: not what was published: its sha256 is {sha256}, that of the release is "
            f"{expected}",
            "delete it, and get it again",
        )
    return CfbenchError(
        f"{place}: has changed since it was first read: its sha256 is {sha256}, and was {expected}",
        "delete it, and get it again",
    )


def _check_source(source: Path, files: Sequence[ReleaseFile]) -> None:
    """See that a folder holds files, and of the right sizes."""
    if not source.is_dir():
        raise CfbenchError(f"{source}: no such folder", "--from names a folder of published files")
    problems = []
    for file in files:
        path = source / file.path
        if not path.is_file():
            problems.append(Problem(f"{path}: no such file", "each file keeps its published name"))
        elif (size := path.stat().st_size) != file.bytes:
            why = "cut short" if size < file.bytes else "too long"
            problems.append(
                Problem(f"{path}: {why}: {size:,} bytes, not {file.bytes:,}", "get it again")
            )
    if problems:
        raise CfbenchError.of(problems)


def _copy(path: Path, to: Path, sha256: str) -> None:
    if to.is_file() and (to.samefile(path) or sha256_of(to) == sha256):
        return
    write_atomically(to, lambda place: shutil.copyfile(path, place))


def _place(release: Release, folder: Path, name: str) -> Path:
    parts = {part for archive in release.archives for part in archive.parts}
    return folder / "archives" / name if name in parts else folder / name


def _here(folder: Path, archive: ReleaseArchive) -> tuple[Path, Path]:
    """Where an archive is unpacked, and its journal."""
    return folder / archive.name, folder / FOLDER / f"{archive.name}.journal"


def _above(folder: Path) -> Path:
    """The folder, or the innermost one above it that is there."""
    folder = folder.absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def _free(folder: Path) -> int:
    return shutil.disk_usage(_above(folder)).free


def _free_files(folder: Path) -> int | None:
    """How many files can still be made; None where the file system sets no number."""
    if not hasattr(os, "statvfs"):
        return None
    told = os.statvfs(_above(folder))
    return told.f_favail if told.f_files else None
