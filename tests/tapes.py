"""Archives as an honest or a hostile maker would write them."""

import io
import lzma
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

END = bytes(1024)


def member(name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, **told: object) -> bytes:
    """A member as tarfile writes it, whatever its name; `told` sets other fields of its header."""
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(content)
    for field, value in told.items():
        setattr(info, field, value)
    header = info.tobuf(tarfile.GNU_FORMAT)
    return header + content + bytes(-len(content) % 512)


def pax(records: Mapping[str, str], kind: bytes = tarfile.XHDTYPE) -> bytes:
    """A header of pax before the header."""
    content = b""
    for key, value in records.items():
        body = f" {key}={value}\n".encode()
        length = len(body) + 1
        while len(str(length)) + len(body) != length:
            length = len(str(length)) + len(body)
        content += str(length).encode() + body
    return member("./PaxHeaders/x", content, kind)


def changed(block: bytes, at: int, put: bytes) -> bytes:
    """A member with other bytes in its header, and the sum that belongs to them."""
    header = bytearray(block[:512])
    header[at : at + len(put)] = put
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + block[512:]


def tape(files: Mapping[str, bytes], form: int = tarfile.GNU_FORMAT) -> bytes:
    """An archive of files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def xz(data: bytes) -> bytes:
    """Compressed, quickly."""
    return lzma.compress(data, preset=0)


def write_parts(folder: Path, data: bytes, names: Iterable[str]) -> list[Path]:
    """One file cut into parts of about the same size, as `split` does."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in names]
    size = -(-len(data) // len(paths))
    for number, path in enumerate(paths):
        path.write_bytes(data[number * size : (number + 1) * size])
    return paths


def tree(folder: Path) -> dict[str, bytes]:
    """The files below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
