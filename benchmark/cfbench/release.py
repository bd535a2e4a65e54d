"""What the makers of a dataset have published: files at a commit of a repository, and archives.

A release is read from a TOML file that ships beside the track of the same name, or from one of the
user's own. It says nothing of what is on this machine.
"""

import tomllib
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cfbench import content
from cfbench.errors import CfbenchError, Problem, did_you_mean

# A file of the release gets the same name on this machine, where some names mean something else.
_FILE = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
_SHIPPED = "tasks/releases"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ReleaseFile(_Record):
    """One file of the repository.

    Attributes:
        path: Its name, there and here.
        bytes: How many it has.
        sha256: Its digest; None where none is known.
    """

    path: str = Field(pattern=_FILE)
    bytes: int = Field(ge=1)
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")


class ReleaseArchive(_Record):
    """An archive, in one file or in several that are to be read as one.

    Attributes:
        name: The folder that it is unpacked into.
        parts: Names of files, in order.
        format: What it is.
        clips: How many files about it holds.
        unpacked: How many bytes about these have.
        most_files: More files are refused.
        most_file: A file of more bytes is refused.
        most_unpacked: More bytes in all are refused.
    """

    name: str = Field(pattern=_FILE)
    parts: tuple[str, ...] = Field(min_length=1, strict=False)
    format: Literal["tar.xz", "tar.gz", "tar"]
    clips: int = Field(ge=1)
    unpacked: int = Field(ge=1)
    most_files: int = Field(ge=1)
    most_file: int = Field(ge=1)
    most_unpacked: int = Field(ge=1)


class ReleaseSubset(_Record):
    """What can be had by itself: plain files, and what is in archives."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")
    title: str = Field(min_length=1)
    files: tuple[str, ...] = Field(default=(), strict=False)
    archives: tuple[str, ...] = Field(default=(), strict=False)


class Release(_Record):
    """A published dataset.

    Attributes:
        name: That of its track.
        repo: The dataset repository on the Hub, as `owner/name`.
        revision: The commit, 40 hex digits: its files cannot change.
        files: Every file that is wanted, whether plain or part of an archive.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    title: str = Field(min_length=1)
    repo: str = Field(pattern=r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")
    revision: str = Field(pattern=r"^[0-9a-f]{40}$")
    licence: str = ""
    subsets: tuple[ReleaseSubset, ...] = Field(min_length=1, strict=False)
    files: tuple[ReleaseFile, ...] = Field(min_length=1, strict=False)
    archives: tuple[ReleaseArchive, ...] = Field(default=(), strict=False)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        files = _unique([file.path for file in self.files], "file")
        archives = _unique([archive.name for archive in self.archives], "archive")
        # On some systems a file and a folder would be one.
        _unique([*files, *archives, "archives"], "name")
        _unique([subset.name for subset in self.subsets], "subset")
        parts = [part for archive in self.archives for part in archive.parts]
        _unique(parts, "part")
        plain = [name for subset in self.subsets for name in subset.files]
        for name in (*parts, *plain):
            if name not in files:
                raise ValueError(f"'{name}' is not among [[files]]")
        if both := set(parts) & set(plain):
            raise ValueError(f"'{min(both)}' is part of an archive, and a plain file too")
        for subset in self.subsets:
            for name in subset.archives:
                if name not in archives:
                    raise ValueError(f"'{name}' is not among [[archives]]")
        if unused := set(files) - set(parts) - set(plain):
            raise ValueError(f"'{min(unused)}' is in no subset and no archive")
        return self

    @cached_property
    def by_path(self) -> dict[str, ReleaseFile]:
        """The files by their names."""
        return {file.path: file for file in self.files}

    def plain_files(self, subset: str | None) -> list[ReleaseFile]:
        """The plain files of a subset, or of all.

        Raises:
            CfbenchError: There is no such subset.
        """
        wanted = {name for one in self._chosen(subset) for name in one.files}
        return [file for file in self.files if file.path in wanted]

    def chosen_archives(self, subset: str | None) -> list[ReleaseArchive]:
        """The archives of a subset, or all.

        Raises:
            CfbenchError: There is no such subset.
        """
        wanted = {name for one in self._chosen(subset) for name in one.archives}
        return [archive for archive in self.archives if archive.name in wanted]

    def _chosen(self, name: str | None) -> list[ReleaseSubset]:
        if name is None:
            return list(self.subsets)
        found = [subset for subset in self.subsets if subset.name == name.strip().casefold()]
        if not found:
            known = [subset.name for subset in self.subsets]
            raise CfbenchError(
                f"{self.name} has no subset '{name}'{did_you_mean(name, known)}",
                f"it has {', '.join(known)}; without --subset all are meant",
            )
        return found


def release_names() -> list[str]:
    """The names of the releases that cfbench knows."""
    return content.names(_SHIPPED, ".toml")


def find_release(name: str) -> Release:
    """A release by the name of its track, or one of the user's own by the path of its TOML file.

    Raises:
        CfbenchError: There is none, or its file breaks the schema.
    """
    if name.endswith(".toml"):
        where = name
        try:
            text = Path(name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise CfbenchError(
                f"{name}: the release cannot be read: {error}", "a release is a TOML file in UTF-8"
            ) from None
    elif name in release_names():
        where = f"{_SHIPPED}/{name}.toml"
        text = content.text(where)
    else:
        known = release_names()
        if name == content.EMBEDDED_TRACK:
            raise CfbenchError(f"{name} ships with cfbench", "unpack it: cfbench data mini")
        raise CfbenchError(
            f"there is no release '{name}'{did_you_mean(name, known)}",
            f"cfbench knows {', '.join(known)}; another one is described by a FILE.toml",
        )
    try:
        data: dict[str, Any] = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise CfbenchError(f"{where}: not TOML: {error}") from None
    try:
        return Release.model_validate(data)
    except ValidationError as error:
        raise CfbenchError.of(
            [
                Problem(f"{where}: {'.'.join(map(str, one['loc'])) or 'the release'}: {one['msg']}")
                for one in error.errors()[:5]
            ]
        ) from None


def _unique(names: list[str], what: str) -> list[str]:
    folded = [name.casefold() for name in names]
    for name in names:
        if folded.count(name.casefold()) > 1:
            raise ValueError(f"{what} '{name}' is there twice")
    return names
