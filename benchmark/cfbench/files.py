"""Writes files so that an interrupted run leaves the old one or the new one, never half."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from cfbench.errors import CfbenchError


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file under a temporary name beside it, then rename it.

    Args:
        path: The file.
        write: Writes the content to the path that it is given.

    Raises:
        CfbenchError: The folder is not there or cannot be written to.
    """
    if path.is_dir():
        raise CfbenchError(f"{path}: a folder", "name a file in it")
    # A link stays a link; a pipe or device is written to, never replaced.
    try:
        path = path.resolve()
    except (OSError, RuntimeError):
        raise CfbenchError(f"{path}: a link that leads to itself", "name another file") from None
    if path.exists() and not path.is_file():
        write(path)
        return
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
    except OSError as error:
        raise CfbenchError(f"{path}: cannot be written: {error.strerror}") from None
    temporary = Path(name)
    try:
        write(temporary)
        # mkstemp makes files that only their owner can read.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    except OSError as error:
        raise CfbenchError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, in UTF-8 and with plain line ends."""
    write_atomically(path, lambda place: place.write_text(text, encoding="utf-8", newline="\n"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    write_atomically(path, lambda place: place.write_bytes(content))
