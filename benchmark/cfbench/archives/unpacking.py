"""Unpacks an archive below a folder, and goes on where an earlier call was interrupted."""

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cfbench.archives.decoding import Undecodable, decoded, program_for
from cfbench.archives.journal import Journal, Line, lines_of
from cfbench.archives.names import Names, Refused, safe_parts
from cfbench.archives.parts import Parts
from cfbench.archives.tape import Cut, Member, Stream, Tape
from cfbench.errors import CfbenchError, clip, plural

_INCOMING = ".cfbench-incoming"
# So much is held in memory to be compared with what is there; a clip is much smaller.
_COMPARED = 8 << 20

_UNSOUND = "get it again: it is not what was published, or should not have been"


class DiskFull(CfbenchError):
    """There was no room for all; what is there stays, and the same call goes on."""


@dataclass(frozen=True)
class Bounds:
    """How much an archive may be: what is more was not meant by who published it.

    Attributes:
        files: How many files, and how many folders.
        file: Bytes of one file.
        total: Bytes in all, with the headers.
    """

    files: int
    file: int
    total: int


@dataclass
class Unpacked:
    """What there is of an archive.

    Attributes:
        files: How many files.
        size: Their bytes.
        written: How many of them this call wrote.
        top: The innermost folder that holds all of them, as the archive has it; "" for none.
    """

    files: int = 0
    size: int = 0
    written: int = 0
    top: str = ""
    _began: bool = field(default=False, repr=False)

    def add(self, path: str, size: int) -> None:
        """Count a file."""
        self.files += 1
        self.size += size
        folder = path.rpartition("/")[0]
        if not self._began:
            self.top, self._began = folder, True
        while self.top and folder != self.top and not folder.startswith(self.top + "/"):
            self.top = self.top.rpartition("/")[0]


def unpack(
    paths: Sequence[Path],
    form: str,
    folder: Path,
    journal: Path,
    key: str,
    bounds: Bounds,
    told: Callable[[int], None] = lambda done: None,
    program: bool = True,
) -> Unpacked:
    """Unpack an archive that may be in several files, without joining them on the disk.

    Args:
        paths: The files, in order.
        form: One of `decoding.FORMATS`.
        folder: Where to; the archive's own folders are made below it.
        journal: The file in which is kept what is done. Not below `folder`.
        key: By what the archive is known, such as a digest: with another key nothing that the
            journal says is believed.
        bounds: How much it may be.
        told: Told how many more bytes of the files are read.
        program: Whether the program xz may decode; it does where there is one.

    Returns:
        What there is now: the same files with the same content as if nothing was there before.

    Raises:
        CfbenchError: A file is not there, damaged or cut short, or holds something that is not
            unpacked; names it. What was unpacked before stays.
        DiskFull: There was no room.
    """
    parts = Parts(paths)
    xz = program_for(form) if program else None
    what = paths[0].name if len(paths) == 1 else f"{paths[0].name} to {paths[-1].name}"
    hint = f"see that the parts are in order, or {_UNSOUND}" if len(paths) > 1 else _UNSOUND
    kept = _Kept(folder, Journal(journal, key))
    tape: Tape | None = None
    try:
        with _no_room(folder), decoded(parts, form, xz) as pieces:
            tape = Tape(Stream(_counted(pieces, parts, told), bounds.total))
            done = _unpack(tape, kept, bounds)
            kept.journal.finish(done.files)
            return done
    except Undecodable as error:
        raise CfbenchError(f"{what}: {error}", hint) from None
    except Cut:
        raise CfbenchError(f"{what}: it is cut short", hint) from None
    except Refused as error:
        member = f" '{clip(tape.name, 200)}'" if tape and tape.name else ""
        where = f"member{member}, " if member else ""
        raise CfbenchError(f"{what}: {where}refused: {error}", hint) from None
    finally:
        kept.close()


def look(folder: Path, journal: Path, key: str) -> tuple[Unpacked, bool]:
    """What an earlier call has unpacked, by sizes and times; no archive is needed.

    Args:
        folder: As for `unpack`.
        journal: As for `unpack`.
        key: As for `unpack`.

    Returns:
        The files that are there unchanged, and whether these are all.
    """
    found, missing, complete = Unpacked(), 0, False
    for line in lines_of(journal, key):
        if line is None:
            complete = True
        elif _is_unchanged(f"{folder}/{line.path}", line):
            found.add(line.path, line.size)
        else:
            missing += 1
    return found, complete and not missing


def _unpack(tape: Tape, kept: "_Kept", bounds: Bounds) -> Unpacked:
    done, names = Unpacked(), Names(bounds.files)
    while member := tape.next():
        parts = safe_parts(member.name)
        if parts and parts[0].casefold() == _INCOMING:
            raise Refused("its name is that of a file that is being written")
        if member.is_folder:
            names.add_folder(parts)
            kept.make_folder(parts)
            continue
        if member.size > bounds.file:
            raise Refused(f"it has {member.size:,} bytes, more than the {bounds.file:,} allowed")
        names.add_file(parts)
        done.add("/".join(parts), member.size)
        if done.files > bounds.files:
            raise Refused(f"there are more than {plural(bounds.files, 'file')}")
        done.written += kept.have(member, parts, tape.stream)
    return done


class _Kept:
    """The folder, and the journal of what is in it."""

    def __init__(self, folder: Path, journal: Journal) -> None:
        self.folder, self.journal = folder, journal
        self._made: set[tuple[str, ...]] = set()
        self._incoming = folder / _INCOMING

    def close(self) -> None:
        self.journal.close()
        self._incoming.unlink(missing_ok=True)

    def make_folder(self, parts: tuple[str, ...]) -> None:
        """Make a folder, and those above it; a link is none, for it may lead elsewhere."""
        if parts in self._made:
            return
        if parts:
            self.make_folder(parts[:-1])
        path = self.folder.joinpath(*parts)
        if not parts:
            path.mkdir(parents=True, exist_ok=True)
        elif path.is_symlink() or not _is_folder_now(path):
            raise _in_the_way(path, "folder")
        self._made.add(parts)

    def have(self, member: Member, parts: tuple[str, ...], stream: Stream) -> bool:
        """Have a file in its place; returns whether it had to be written."""
        self.make_folder(parts[:-1])
        inside = "/".join(parts)
        path = self.folder / inside
        line = self.journal.expects(member.offset, member.size, inside)
        if line and _is_unchanged(str(path), line):
            return False
        written = self._write(path, member.size, stream)
        if line:
            # The journal keeps its line, and the file gets the time that the line tells.
            os.utime(path, ns=(line.mtime_ns, line.mtime_ns), follow_symlinks=False)
        else:
            mtime_ns = path.lstat().st_mtime_ns
            self.journal.add(Line(member.offset, member.size, mtime_ns, inside))
        return written

    def _write(self, path: Path, size: int, stream: Stream) -> bool:
        content: Iterator[bytes | memoryview]
        if size <= _COMPARED:
            data = stream.take(size)
            if _has_content(path, data):
                return False
            content = iter((data,))
        else:
            content = stream.portion(size)
        # Whatever is there under this name may be a link.
        self._incoming.unlink(missing_ok=True)
        with self._incoming.open("xb", buffering=0) as file:
            for piece in content:
                left = memoryview(piece)
                while left:
                    left = left[file.write(left) :]
        try:
            self._incoming.replace(path)
        except (IsADirectoryError, PermissionError):
            raise _in_the_way(path, "file") from None
        return True


def _in_the_way(path: Path, what: str) -> CfbenchError:
    return CfbenchError(f"{path}: in the way of a {what} of the archive", "move it away")


def _is_folder_now(path: Path) -> bool:
    """Have a folder at a path, unless something else is there."""
    try:
        path.mkdir()
    except FileExistsError:
        return path.is_dir()
    return True


def _has_content(path: Path, content: bytes) -> bool:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    same_kind = stat.S_ISREG(found.st_mode) and found.st_size == len(content)
    return same_kind and path.read_bytes() == content


def _is_unchanged(path: str, line: Line) -> bool:
    try:
        found = os.lstat(path)  # there may be a million, and pathlib takes its time
    except (FileNotFoundError, NotADirectoryError):
        return False
    now = (found.st_size, found.st_mtime_ns)
    return stat.S_ISREG(found.st_mode) and now == (line.size, line.mtime_ns)


def _counted(pieces: Iterator[bytes], parts: Parts, told: Callable[[int], None]) -> Iterator[bytes]:
    said = 0
    for piece in pieces:
        yield piece
        so_far = parts.read_so_far
        told(so_far - said)
        said = so_far
    told(parts.read_so_far - said)


@contextmanager
def _no_room(folder: Path) -> Iterator[None]:
    """Says that the disk is full, or what else keeps files from being read or written."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise (DiskFull if full else CfbenchError)(
            f"{error.filename or folder}: cannot be read or written: {error.strerror or error}",
            "free some space" if full else "mend its rights, or name another folder",
        ) from None
