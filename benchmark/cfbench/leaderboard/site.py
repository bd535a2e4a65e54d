"""The leaderboard as a folder of static files: pages, tables and badges.

`site.json` lists what was written, so that a later run removes pages of systems that have left,
and touches nothing that is not its own.
"""

import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pydantic import TypeAdapter

from cfbench.errors import CfbenchError, name_some
from cfbench.files import write_bytes
from cfbench.leaderboard.badge import badge
from cfbench.leaderboard.build import to_csv, to_markdown
from cfbench.leaderboard.page_data import lines_of, table_data
from cfbench.leaderboard.pages import compare_page, index_page, placed, system_page
from cfbench.leaderboard.ranking import Board

MANIFEST = "site.json"

_FOLDERS = ("badges", "systems")
# A manifest can be anyone's: only what may be a file of a site is ever removed.
_OWN = re.compile(
    r"(?:index|compare)\.html|leaderboard\.(?:json|csv|md)"
    r"|systems/[a-z0-9-]+\.html|badges/[a-z0-9-]+\.svg"
)
_BOARDS = TypeAdapter(list[Board])


def site_files(boards: Sequence[Board]) -> dict[str, bytes]:
    """The files of the site, by path; the same boards give the same bytes.

    Args:
        boards: One a track, the first is shown first.

    Raises:
        CfbenchError: There is no board, or two have a system of the same slug.
    """
    if not boards:
        raise CfbenchError("there is no leaderboard to show", "cfbench submit makes a submission")
    slugs = Counter(slug for board in boards for slug in board.systems)
    twice = [slug for slug, count in slugs.items() if count > 1]
    if twice:
        raise CfbenchError(f"more than one track has a system {name_some(twice)}", "rename one")
    # The header of every table but the first is left out.
    tables = [to_csv(board) for board in boards]
    tables[1:] = [table.partition("\n")[2] for table in tables[1:]]
    data = [table_data(board) for board in boards]
    texts = {
        "index.html": index_page(boards, data),
        "compare.html": compare_page(boards, data),
        "leaderboard.csv": "".join(tables),
        "leaderboard.md": "\n".join(to_markdown(board) for board in boards),
    }
    for board in boards:
        lines, counts = lines_of(board), placed(board)
        for slug in board.systems:
            picture = badge(board, lines, slug)
            texts[f"badges/{slug}.svg"] = picture
            texts[f"systems/{slug}.html"] = system_page(board, lines, counts, slug, picture)
    found = {path: text.encode() for path, text in texts.items()}
    found["leaderboard.json"] = _BOARDS.dump_json(list(boards)) + b"\n"
    return found


def write_site(boards: Sequence[Board], out: Path) -> None:
    """Write the site into a folder; a file that has not changed is not touched.

    Args:
        boards: One a track.
        out: The folder: new, empty, or written before. Hidden files in it, such as `.git`, stay.

    Raises:
        CfbenchError: The folder holds files that are not a site's, or cannot be written to.
    """
    files = site_files(boards)
    before = _check_folder(out)
    try:
        for folder in _FOLDERS:
            (out / folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CfbenchError(f"{out}: cannot be made: {error.strerror}") from None
    # First what may be there in a moment: a run that is interrupted knows its own files again.
    _write_manifest(out, before | set(files))
    for path, content in files.items():
        _write_changed(out / path, content)
    for path in sorted(before - set(files)):
        (out / path).unlink(missing_ok=True)
    _write_manifest(out, set(files))


def _check_folder(out: Path) -> set[str]:
    """The files that an earlier run wrote; anything else in the folder is refused."""
    if not out.exists():
        return set()
    if not out.is_dir():
        raise CfbenchError(f"{out}: no folder", "give a folder for the pages")
    known = _read_manifest(out)
    foreign = []
    for place in (out, *(out / folder for folder in _FOLDERS)):
        if not place.is_dir() or (place.is_symlink() and place != out):
            continue
        for item in place.iterdir():
            path = item.relative_to(out).as_posix()
            ours = path in known or path == MANIFEST or (path in _FOLDERS and item.is_dir())
            if (not ours or item.is_symlink()) and not item.name.startswith("."):
                foreign.append(path)
    if foreign:
        raise CfbenchError(
            f"{out}: holds what is no page of a leaderboard: {name_some(sorted(foreign))}",
            "give a folder that is new, or one that was written by cfbench leaderboard build",
        )
    return known


def _read_manifest(out: Path) -> set[str]:
    try:
        said = json.loads((out / MANIFEST).read_bytes())["files"]
    except FileNotFoundError:
        return set()
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        said = None
    if not isinstance(said, list):
        raise CfbenchError(f"{out / MANIFEST}: not the list of a site's files", "remove the folder")
    return {path for path in said if isinstance(path, str) and _OWN.fullmatch(path)}


def _write_manifest(out: Path, files: set[str]) -> None:
    content = json.dumps({"files": sorted(files)}, indent=1) + "\n"
    _write_changed(out / MANIFEST, content.encode())


def _write_changed(path: Path, content: bytes) -> None:
    try:
        if path.stat().st_size == len(content) and path.read_bytes() == content:
            return
    except OSError:
        pass
    write_bytes(path, content)
