"""What is known of a folder into which a release was downloaded.

`FOLDER/.cfbench/record.json` holds size, digest and time of every file that was checked, so that a
later run reads a file again only if it was touched, and notices if it has become another one.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cfbench.errors import CfbenchError
from cfbench.files import write_text

FOLDER = ".cfbench"
"""The folder of this record, and of the journals of archives."""

By = Literal["release", "hub", "first seen"]
"""What a digest was held against: what is known of the release, what the Hub said of it, or
nothing: it was recorded when the file was read for the first time."""

_CHUNK = 1 << 20


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class KnownFile(_Record):
    """A file that was read.

    Attributes:
        place: Its path when it was read.
        bytes: How many it had.
        mtime_ns: When it was changed last, in nanoseconds.
        sha256: Its digest.
        by: What that was held against.
    """

    place: str
    bytes: int
    mtime_ns: int
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    by: By


class Obtained(_Record):
    """The record.

    Attributes:
        repo: Of which repository the files are.
        revision: At which commit.
        files: The files, by their names in the release.
    """

    repo: str
    revision: str
    files: dict[str, KnownFile] = Field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path, repo: str, revision: str) -> "Obtained":
        """The record of a folder; an empty one where there is none.

        Raises:
            CfbenchError: It is damaged, or of another release.
        """
        path = folder / FOLDER / "record.json"
        try:
            found = cls.model_validate_json(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return cls(repo=repo, revision=revision)
        except (OSError, ValidationError):
            raise CfbenchError(
                f"{path}: cannot be read, or is damaged",
                "delete it: the files are then read again",
            ) from None
        if (found.repo, found.revision) != (repo, revision):
            raise CfbenchError(
                f"{folder}: holds {found.repo} at {found.revision[:8]}, not {repo} at "
                f"{revision[:8]}",
                "name another folder with --to",
            )
        return found

    def save(self, folder: Path) -> None:
        """Write the record."""
        said = json.dumps(self.model_dump(), indent=1, sort_keys=True)
        write_text(folder / FOLDER / "record.json", said + "\n")

    def remember(self, name: str, place: Path, sha256: str, by: By) -> None:
        """Take a file in that was read a moment ago."""
        now = place.stat()
        self.files[name] = KnownFile(
            place=str(place.absolute()),
            bytes=now.st_size,
            mtime_ns=now.st_mtime_ns,
            sha256=sha256,
            by=by,
        )

    def knows(self, name: str, place: Path) -> bool:
        """Whether the file at a place was read, and nobody has touched it since."""
        known = self.files.get(name)
        if known is None or known.place != str(place.absolute()) or not place.is_file():
            return False
        now = place.stat()
        return (now.st_size, now.st_mtime_ns) == (known.bytes, known.mtime_ns)

    def key(self, names: tuple[str, ...]) -> str | None:
        """By what files that make up an archive are known; None if one was never read."""
        if not all(name in self.files for name in names):
            return None
        told = "\n".join(f"{name} {self.files[name].sha256}" for name in names)
        return hashlib.sha256(told.encode()).hexdigest()


def sha256_of(path: Path, told: Callable[[int], None] = lambda done: None) -> str:
    """The digest of a file; `told` hears of every megabyte."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(_CHUNK):
            digest.update(data)
            told(len(data))
    return digest.hexdigest()


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Make sure that no other run works in a folder at the same time.

    Raises:
        CfbenchError: One does, or the folder cannot be written to.
    """
    path = folder / FOLDER / "lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+b")
    except OSError as error:
        raise CfbenchError(
            f"{folder}: cannot be used: {error.strerror or error}", "name another folder with --to"
        ) from None
    with file:
        try:
            _lock(file.fileno())
        except OSError:
            raise CfbenchError(
                f"{folder}: another cfbench is at work in it", "wait until it is done"
            ) from None
        yield


def _lock(file: int) -> None:
    """Lock a file for as long as it is open; the system unlocks it however the process ends."""
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
