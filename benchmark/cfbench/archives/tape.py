"""Reads the members of a tar archive from a stream of bytes.

tarfile takes a header that it cannot read for the end of the archive, holds every member in memory
and believes each size. Here whatever is not plainly a file or a folder is an error.

The formats are ustar, those of GNU tar and pax: 512-byte blocks; a header tells name, size and
type; names that do not fit stand in a member of their own before it.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from cfbench.archives.names import Refused

_BLOCK = 512
_ZEROS = bytes(_BLOCK)
# A name, or a few of pax's records; there is no honest need for more.
_MOST_EXTRA = 1 << 16
_OCTAL = re.compile(rb" *([0-7]*)[ \0]*")
_RECORD = re.compile(rb"([1-9]\d{0,5}) ")
_KINDS = {
    b"1": "a hard link", b"2": "a symbolic link", b"3": "a character device",
    b"4": "a block device", b"6": "a pipe (FIFO)", b"S": "a sparse file", b"M": "part of a file",
    b"D": "a dump of a folder", b"V": "a label of a tape",
}  # fmt: skip


class Cut(Exception):
    """The stream ends where it must not."""


class Member(NamedTuple):
    """A file or folder in an archive.

    Attributes:
        name: As the archive has it.
        is_folder: Whether it is a folder.
        size: Bytes of its content.
        offset: Where its first header is in the stream.
    """

    name: str
    is_folder: bool
    size: int
    offset: int


class Stream:
    """Bytes that come in pieces, read in portions of any size.

    Attributes:
        offset: How many bytes were read.
    """

    def __init__(self, pieces: Iterator[bytes], limit: int) -> None:
        """Read nothing yet.

        Args:
            pieces: None of them is empty.
            limit: After so many bytes reading is refused.
        """
        self.offset = 0
        self._pieces = pieces
        self._limit = limit
        self._rest = memoryview(b"")

    def some(self, most: int) -> memoryview:
        """The next bytes, at least one and at most `most`; none at the end."""
        if not self._rest:
            self._rest = memoryview(next(self._pieces, b""))
        taken, self._rest = self._rest[:most], self._rest[most:]
        self.offset += len(taken)
        if self.offset > self._limit:
            raise Refused(f"it unpacks to more than the {self._limit:,} bytes allowed")
        return taken

    def portion(self, size: int) -> Iterator[memoryview]:
        """The next `size` bytes, in pieces.

        Raises:
            Cut: There are fewer.
        """
        while size:
            piece = self.some(size)
            if not piece:
                raise Cut
            size -= len(piece)
            yield piece

    def take(self, size: int) -> bytes:
        """The next `size` bytes.

        Raises:
            Cut: There are fewer.
        """
        if size <= len(self._rest):
            return bytes(self.some(size)) if size else b""
        return b"".join(self.portion(size))


class Tape:
    """The members, one after the other; each one's content is read from the stream in between."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self._next_header = 0
        self.name = ""  # of the member that is being read, for messages

    def next(self) -> Member | None:
        """The next member; None at the end of the archive.

        Raises:
            Refused: It is not a file or a folder, or its header makes no sense.
            Cut: The archive ends in the middle.
        """
        stream = self.stream
        self.name = ""
        for _ in stream.portion(self._next_header - stream.offset):
            pass  # what the caller did not read of the last member, and its padding
        offset = stream.offset
        extra: dict[str, str] = {}
        while True:
            header = stream.take(_BLOCK)
            if header == _ZEROS:
                if extra:
                    raise Refused("a long name is followed by nothing")
                self._check_rest()
                return None
            if not _is_sound(header):
                raise Refused("a header is damaged, or it is no tar archive")
            kind, size = header[156:157], _number(header[124:136])
            if kind in b"LKxgX" and kind:
                extra |= self._extra(kind, size)
                continue
            self.name = extra.get("path") or _name(header)
            if "size" in extra:
                size = int(extra["size"])
            is_folder = kind == b"5" or (kind in (b"0", b"\0") and self.name.endswith("/"))
            if not is_folder and kind not in (b"0", b"\0", b"7"):
                raise Refused(f"it is {_KINDS.get(kind, 'of a kind that is not known')}")
            if is_folder and size:
                raise Refused("it is a folder with content")
            self._next_header = stream.offset + _padded(size)
            return Member(self.name, is_folder, size, offset)

    def _extra(self, kind: bytes, size: int) -> dict[str, str]:
        """What a header before the header says: the name, and the size where it is large."""
        if size > _MOST_EXTRA:
            raise Refused(f"a long name has {size:,} bytes")
        content = self.stream.take(_padded(size))[:size]
        if kind == b"K":
            return {}  # the target of a link, which is refused anyway
        if kind == b"L":
            return {"path": _text(content.rstrip(b"\0"))}
        found = _records(content)
        if any(key.startswith("GNU.sparse.") for key in found):
            raise Refused("it is a sparse file")
        told: dict[str, str] = {key: found[key] for key in ("path", "size") if key in found}
        if kind == b"g" and told:
            raise Refused("one name or size is to hold for all members")
        if not re.fullmatch(r"\d{1,20}", told.get("size", "0"), re.ASCII):
            raise Refused("its size is no number")
        return told

    def _check_rest(self) -> None:
        """Behind the end there is nothing but zeros, and all of it is read: so it is checked."""
        while piece := self.stream.some(1 << 20):
            if bytes(piece).strip(b"\0"):
                raise Refused("something follows the end of the archive")


def _is_sound(header: bytes) -> bool:
    told = _OCTAL.fullmatch(header[148:156])
    if told is None or not told[1]:
        return False
    fields = header[:148] + b" " * 8 + header[156:]
    if int(told[1], 8) == sum(fields):
        return True
    # Some old programs counted with signs.
    return int(told[1], 8) == sum(fields) - 256 * sum(byte > 127 for byte in fields)


def _number(field: bytes) -> int:
    """A size: octal, or binary where it is too large for that."""
    if field[0] & 0x80:
        if field[0] != 0x80:
            raise Refused("its size is negative or absurd")
        return int.from_bytes(field[1:])
    match = _OCTAL.fullmatch(field)
    if match is None:
        raise Refused("its size is no number")
    return int(match[1] or b"0", 8)


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def _name(header: bytes) -> str:
    name = header[:100].partition(b"\0")[0]
    # GNU tar has times where ustar has the beginning of a long name.
    prefix = header[345:500].partition(b"\0")[0] if header[257:263] == b"ustar\0" else b""
    return _text(prefix + b"/" + name if prefix else name)


def _text(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        raise Refused(f"its name is no text in UTF-8: {name[:40]!r}") from None


def _records(content: bytes) -> dict[str, str]:
    """What pax tells: `LENGTH KEY=VALUE` and a line feed, each."""
    found = {}
    while content.rstrip(b"\0"):
        match = _RECORD.match(content)
        length = int(match[1]) if match else 0
        record, content = content[:length], content[length:]
        key, equals, value = record[match.end() if match else 0 : -1].partition(b"=")
        if not equals or len(record) != length or not record.endswith(b"\n"):
            raise Refused("a header of pax makes no sense")
        if key in (b"path", b"size") or key.startswith(b"GNU.sparse."):
            found[_text(key)] = _text(value)
    return found
