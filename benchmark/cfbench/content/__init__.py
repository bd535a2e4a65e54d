"""Finds the files that ship with cfbench: tasks, taxonomy, tracks and baselines."""

import importlib.resources
from contextlib import AbstractContextManager
from importlib.resources.abc import Traversable
from pathlib import Path

DEFAULT_TRACK = "codecfake-plus"
"""The shipped track that is meant where none is named."""

EMBEDDED_TRACK = "codecfake-mini"
"""The shipped track that brings its own clips."""


def folder(name: str) -> Traversable:
    """The shipped folder `name` ("tasks" or "baselines").

    In an installation (a wheel or an editable one) the folder is the data package
    `cfbench.content.<name>`; in a bare checkout on the path it stands at the top of the tree.

    Raises:
        FileNotFoundError: The installation is broken.
    """
    try:
        return importlib.resources.files(f"{__name__}.{name}")
    except ModuleNotFoundError:
        checkout = Path(__file__).resolve().parents[3] / name
        if checkout.is_dir():
            return checkout
        raise FileNotFoundError(f"this installation of cfbench lacks its folder {name}") from None


def names(name: str, suffix: str) -> list[str]:
    """The stems of the files in a shipped folder that end in `suffix`, sorted.

    Args:
        name: A folder such as "tasks" or "tasks/tracks".
        suffix: With the dot: ".toml".
    """
    return sorted(
        item.name.removesuffix(suffix)
        for item in _find(name).iterdir()
        if item.name.endswith(suffix)
    )


def text(path: str) -> str:
    """The content of a shipped file, by its path from the top: "tasks/codecs.csv"."""
    return _find(path).read_text(encoding="utf-8")


def as_path(path: str) -> AbstractContextManager[Path]:
    """A shipped file as a path on disk, for readers that want one."""
    return importlib.resources.as_file(_find(path))


def tree(path: str) -> Path:
    """A shipped folder with all that is below it, by its path from the top: "tasks/mini".

    Raises:
        FileNotFoundError: It is not there as a folder on disk.
    """
    found = _find(path)
    if isinstance(found, Path) and found.is_dir():
        return found
    raise FileNotFoundError(f"this installation of cfbench lacks its folder {path}")


def _find(path: str) -> Traversable:
    top, _, rest = path.partition("/")
    return folder(top).joinpath(rest) if rest else folder(top)
