"""Finds the audio files below folders, in an order that depends on their names alone."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cfbench.audio import check_folders
from cfbench.errors import CfbenchError
from cfbench.manifest.headers import SUFFIXES

_TELL_EVERY = 20_000


@dataclass
class Walked:
    """What there is below some folders.

    Attributes:
        roots: The folders.
        root: Of each audio file, the number of its folder.
        paths: Its path from there, with `/`; what is no text has its bytes as surrogates.
        sizes: Bytes.
        mtimes: When it was changed last, in nanoseconds.
        links: Links that were not followed, by path from their folder, and why.
        others: How many other files there are, by suffix.
        unreadable: Folders that could not be listed, and why.
    """

    roots: tuple[Path, ...]
    root: list[int] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    mtimes: list[int] = field(default_factory=list)
    links: dict[str, str] = field(default_factory=dict)
    others: Counter[str] = field(default_factory=Counter)
    unreadable: dict[str, str] = field(default_factory=dict)


def walk(
    roots: Sequence[Path],
    follow: bool = False,
    told: Callable[[int], None] = lambda found: None,
) -> Walked:
    """List the audio files below folders.

    Args:
        roots: The folders. One may be given by a link.
        follow: Whether to follow links that lead out of the folders. One that stays inside is
            followed; one that leads to a folder it is in is not.
        told: Called now and then with the number of audio files so far.

    Raises:
        CfbenchError: A folder is not there, or lies in another one.
    """
    _check(roots)
    found = Walked(tuple(roots))
    inside = tuple(os.path.realpath(root) for root in roots)
    for number, root in enumerate(roots):
        _walk_one(found, number, str(root), inside, follow, told)
    told(len(found.paths))
    return found


def _walk_one(
    found: Walked,
    number: int,
    root: str,
    inside: Sequence[str],
    follow: bool,
    told: Callable[[int], None],
) -> None:
    # A folder, how its paths begin, and the folders that it is in, as they really are.
    todo: list[tuple[str, str, frozenset[str]]] = [(root, "", frozenset((inside[number],)))]
    while todo:
        folder, begin, above = todo.pop()
        try:
            with os.scandir(folder) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            found.unreadable[begin or "."] = error.strerror or str(error)
            continue
        deeper = []
        for entry in listed:
            try:
                linked = entry.is_symlink()
                target = os.path.realpath(entry.path) if linked else ""
                if linked and not follow and not _is_inside(target, inside):
                    found.links[begin + entry.name] = "leads out of the folder"
                elif entry.is_dir():
                    if linked and any(_is_inside(one, [target]) for one in above):
                        found.links[begin + entry.name] = "leads to a folder that it is in"
                    else:
                        real = target or os.path.realpath(entry.path)
                        deeper.append((entry.path, f"{begin}{entry.name}/", above | {real}))
                elif _suffix(entry.name) in SUFFIXES:
                    state = entry.stat()
                    found.root.append(number)
                    found.paths.append(begin + entry.name)
                    found.sizes.append(state.st_size)
                    found.mtimes.append(state.st_mtime_ns)
                    if len(found.paths) % _TELL_EVERY == 0:
                        told(len(found.paths))
                elif linked and not entry.is_file():
                    found.links[begin + entry.name] = "leads nowhere"
                else:
                    found.others[_suffix(entry.name)] += 1
            except OSError as error:
                # Such as an audio file's link that leads nowhere or to itself.
                found.links[begin + entry.name] = error.strerror or str(error)
        todo.extend(reversed(deeper))


def _suffix(name: str) -> str:
    # `os.path` and `pathlib` are slow where a million names are looked at.
    stem, dot, suffix = name.rpartition(".")
    return (dot + suffix).lower() if stem else ""


def _is_inside(target: str, roots: Sequence[str]) -> bool:
    return any(target == root or target.startswith(root.rstrip(os.sep) + os.sep) for root in roots)


def _check(roots: Sequence[Path]) -> None:
    check_folders(roots)
    real = [os.path.realpath(root) for root in roots]
    for one in range(len(real)):
        for two in range(len(real)):
            if one != two and _is_inside(real[one], [real[two]]):
                raise CfbenchError(
                    f"{roots[one]} lies in {roots[two]}", "name the outer folder alone"
                )
