"""Which names of an archive's members are safe to be files below a folder.

An archive can name any place of the machine, or one place twice. What is not plainly a path below
the folder is refused, on every system alike where that costs no honest archive anything.
"""

import os
import re
import unicodedata

from cfbench.errors import plural

_LONGEST_PART = 255  # bytes; what most file systems hold
_LONGEST = 1024
_MOST_PARTS = 32
_DRIVE = re.compile(r"[A-Za-z]:")
_NOT_ON_WINDOWS = re.compile(r'[<>:"|?*]|[. ]$')
_DEVICES = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?", re.IGNORECASE)


class Refused(Exception):
    """Something in an archive that is not unpacked; says why."""


def safe_parts(name: str, windows: bool = os.name == "nt") -> tuple[str, ...]:
    """The folders and the name that a member's name consists of; none for the top itself.

    Args:
        name: As the archive has it.
        windows: Whether names must be possible on Windows.

    Raises:
        Refused: It is not safe; says why.
    """
    if not name.isprintable():
        raise Refused("its name holds characters that cannot be shown")
    if "\\" in name:
        raise Refused("its name holds a backslash")
    if name.startswith("/") or _DRIVE.match(name):
        raise Refused("its name is absolute")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise Refused("its name leads out of the folder")
    if len(name.encode()) > _LONGEST or len(parts) > _MOST_PARTS:
        raise Refused(f"its name has more than {_LONGEST:,} bytes or {_MOST_PARTS} folders")
    for part in parts:
        if len(part.encode()) > _LONGEST_PART:
            raise Refused(f"a part of its name has more than {_LONGEST_PART} bytes")
        if windows and (_NOT_ON_WINDOWS.search(part) or _DEVICES.fullmatch(part)):
            raise Refused("its name cannot be a file's on Windows")
    return tuple(parts)


class Names:
    """The names so far: each once, and no file that is a folder too.

    Two names are one where a file system that does not tell case, or writes accents in another
    way, would take them for one.
    """

    def __init__(self, most_folders: int) -> None:
        self._most_folders = most_folders
        # Numbers take a third of the memory of the names: releases have a million.
        self._files: set[int] = set()
        self._folders: dict[str, str] = {}

    def add_file(self, parts: tuple[str, ...]) -> None:
        """Take a file in.

        Raises:
            Refused: The name is taken.
        """
        if not parts:
            raise Refused("it is a file without a name")
        self.add_folder(parts[:-1])
        folded = _fold("/".join(parts))
        if folded in self._folders:
            raise Refused("it is a file, and a folder too")
        if hash(folded) in self._files:
            raise Refused("it is there twice, or differs from another in upper and lower case only")
        self._files.add(hash(folded))

    def add_folder(self, parts: tuple[str, ...]) -> None:
        """Take a folder and those above it in.

        Raises:
            Refused: A name is taken.
        """
        for depth in range(len(parts), 0, -1):
            path = "/".join(parts[:depth])
            folded = _fold(path)
            known = self._folders.get(folded)
            if known == path:
                return
            if known is not None:
                raise Refused(f"its folder is called '{known}' elsewhere")
            if hash(folded) in self._files:
                raise Refused("its folder is a file too")
            self._folders[folded] = path
            if len(self._folders) > self._most_folders:
                raise Refused(f"there are more than {plural(self._most_folders, 'folder')}")


def _fold(path: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())
