"""Takes the compression off, ahead of who reads: by the program xz, else in a thread.

Both use liblzma. The program waits for nobody but its input. A thread waits for the other threads
of this process between any two pieces, which can cost half the speed where many programs want the
cores. And the program decodes several blocks at once, where who compressed has left several.
"""

import gzip
import lzma
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import IO, Any, cast

from cfbench.archives.parts import Parts

FORMATS = ("tar.xz", "tar.gz", "tar")
"""What archives may be."""

_BLOCK = 1 << 20
_AHEAD = 16  # blocks
_PIPE = 1 << 20  # bytes; where the system lets a pipe hold so much
# The strongest setting of xz needs 65 MiB; a header may ask for 4 GiB.
_MEMORY = 512 << 20
_MAGIC = {"xz": b"\xfd7zXZ\0", "gzip": b"\x1f\x8b"}


class Undecodable(Exception):
    """The bytes are not what they should be; says why."""


def program_for(form: str) -> str | None:
    """The program of this machine that decodes a form, or None."""
    program = shutil.which("xz") if form == "tar.xz" else None
    if program is None:
        return None
    # Others are called so too, and know other options.
    try:
        told = subprocess.run([program, "--version"], capture_output=True, timeout=10, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    return program if b"XZ Utils" in told.stdout else None


@contextmanager
def decoded(parts: Parts, form: str, program: str | None = None) -> Iterator[Iterator[bytes]]:
    """The decoded bytes, in pieces.

    Args:
        parts: The files.
        form: One of `FORMATS`.
        program: A program xz that is to do it.

    Yields:
        An iterator of pieces of at most a megabyte. It raises `Undecodable`.
    """
    with closing(parts), ExitStack() as stack:
        if program is None:
            source = {"tar.xz": _xz, "tar.gz": _gz, "tar": _plain}[form](parts)
        else:
            source = stack.enter_context(_by_program(parts, program))
        yield stack.enter_context(_ahead(source))


def _plain(parts: Parts) -> Iterator[bytes]:
    while data := parts.read(_BLOCK):
        yield data


def _gz(parts: Parts) -> Iterator[bytes]:
    try:
        # Of what it is given it calls `read` alone.
        with gzip.GzipFile(fileobj=cast(Any, parts), mode="rb") as file:
            while data := file.read(_BLOCK):
                yield data
    except EOFError:
        raise Undecodable("it is cut short") from None
    except (gzip.BadGzipFile, zlib.error):
        raise Undecodable(_damaged(parts, "gzip")) from None


def _xz(parts: Parts) -> Iterator[bytes]:
    """One stream of xz after the other; between them there may be zeros."""
    decoder, data, any_yet = None, b"", False
    try:
        while data or (data := parts.read(_BLOCK)):
            if decoder is None:
                data = data.lstrip(b"\0") if any_yet else data
                if not data:
                    continue
                decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY)
                any_yet = True
            piece = decoder.decompress(data, _BLOCK)
            data = b""
            while piece:
                yield piece
                full = not decoder.eof and not decoder.needs_input
                piece = decoder.decompress(b"", _BLOCK) if full else b""
            if decoder.eof:
                data, decoder = decoder.unused_data, None
    except lzma.LZMAError as error:
        why = _damaged(parts, "xz")
        if "limit" in str(error):
            why = f"decoding it takes more than {_MEMORY >> 20} MiB of memory"
        raise Undecodable(why) from None
    if decoder is not None or not any_yet:
        raise Undecodable("it is cut short")


def _damaged(parts: Parts, kind: str) -> str:
    with parts.paths[0].open("rb") as file:
        if file.read(len(_MAGIC[kind])) != _MAGIC[kind]:
            return f"{parts.paths[0].name} does not begin as {kind} does"
    return f"it is damaged ({parts.where})"


@contextmanager
def _ahead(source: Iterator[bytes]) -> Iterator[Iterator[bytes]]:
    """What an iterator yields, fetched ahead by a thread."""
    ready: queue.Queue[bytes | Exception] = queue.Queue(_AHEAD)
    stopped = threading.Event()

    def put(item: bytes | Exception) -> bool:
        while not stopped.is_set():
            with suppress(queue.Full):
                ready.put(item, timeout=0.1)
                return True
        return False

    def work() -> None:
        try:
            for piece in source:
                if not put(piece):
                    return
            put(b"")
        except Exception as error:
            put(error)

    def pieces() -> Iterator[bytes]:
        while item := ready.get():
            if isinstance(item, Exception):
                raise item
            yield item

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield pieces()
    finally:
        stopped.set()
        thread.join()


@contextmanager
def _by_program(parts: Parts, program: str) -> Iterator[Iterator[bytes]]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("XZ_")}
    command = [program, "-dc", "-T0", "--format=xz", f"--memlimit-decompress={_MEMORY << 1}"]
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(  # noqa: S603 - the program is that of `program_for`
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            start_new_session=True,  # who interrupts means this process, which ends it
            env={**kept, "LC_ALL": "C"},
        )
        assert process.stdin is not None  # noqa: S101 - for the type checker
        assert process.stdout is not None  # noqa: S101
        for pipe in (process.stdin, process.stdout):
            _widen(pipe)
        trouble: list[OSError] = []
        thread = threading.Thread(target=_feed, args=(parts, process.stdin, trouble), daemon=True)
        thread.start()
        try:
            yield _read(process, process.stdout, parts, said, trouble)
        finally:
            process.kill()
            thread.join()
            process.stdout.close()
            process.wait()


def _widen(pipe: IO[bytes]) -> None:
    """Let a pipe hold more, lest its two ends wait for each other; Linux alone can."""
    if sys.platform == "linux":
        import fcntl

        with suppress(OSError):
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE)


def _feed(parts: Parts, sink: IO[bytes], trouble: list[OSError]) -> None:
    with suppress(BrokenPipeError), sink:  # the program says itself why it has ended
        try:
            while data := parts.read(_BLOCK):
                sink.write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            trouble.append(error)


def _read(
    process: subprocess.Popen[bytes],
    source: IO[bytes],
    parts: Parts,
    said: IO[bytes],
    trouble: list[OSError],
) -> Iterator[bytes]:
    while data := source.read(_BLOCK):
        yield data
    code = process.wait()
    if trouble:
        raise trouble[0]
    if code:
        said.seek(0)
        words = said.read(2000).decode("utf-8", "replace")
        if "Unexpected end" in words:
            raise Undecodable("it is cut short")
        if "Memory usage limit" in words:
            raise Undecodable(f"decoding it takes more than {_MEMORY >> 19} MiB of memory")
        raise Undecodable(_damaged(parts, "xz"))
