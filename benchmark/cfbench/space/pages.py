"""Keeps the leaderboard's own pages up to date; they are served from memory."""

import datetime
import hashlib
import logging
import mimetypes
import shutil
import threading
from dataclasses import dataclass
from html import escape
from typing import NamedTuple

from cfbench.errors import CfbenchError
from cfbench.leaderboard.build import build
from cfbench.leaderboard.receipts import Receipt
from cfbench.leaderboard.site import site_files
from cfbench.space.intake import Intake
from cfbench.space.limits import today
from cfbench.submission import DESCRIPTION, VERIFIED

HELD_BACK = "held-back"
"""The folder of the pages on what was held back."""

_AGAIN = 30.0
"""Seconds after which it is tried again when it went wrong."""

_log = logging.getLogger(__name__)


class Page(NamedTuple):
    """A file as it is served."""

    content: bytes
    media_type: str
    etag: str


@dataclass(frozen=True)
class Standing:
    """How the pages stand.

    Attributes:
        built: When they were made; None before the first time.
        systems: How many the leaderboard has.
        held_back: There are pages on what was held back.
    """

    built: datetime.datetime | None = None
    systems: int = 0
    held_back: bool = False


class Pages:
    """The pages of a leaderboard.

    Args:
        intake: Whose results they show.
    """

    def __init__(self, intake: Intake) -> None:
        self._intake, self._settings = intake, intake.settings
        self._receipts = self._settings.state / "receipts"
        self._files: dict[str, Page] = {}
        self._seen: object = None
        self._stop, self._wake = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self.standing = Standing()
        self._show({"index.html": _note("The leaderboard is being built.", again=True)})

    def start(self) -> None:
        """Build the pages, and again whenever something has changed, beside all else."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name="pages", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End that; what is under way ends first."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def wake(self) -> None:
        """Look at the results now."""
        self._wake.set()

    def find(self, path: str) -> Page | None:
        """A page by its path; nothing but what was built is found."""
        if path.endswith("/") or not path:
            path += "index.html"
        return self._files.get(path)

    def renew(self) -> bool:
        """Build the pages anew if something has changed.

        Returns:
            Whether it had.

        Raises:
            CfbenchError: The results cannot be read.
        """
        intake = self._intake
        seen = (intake.results.refresh(), intake.private.is_due(today()))
        if seen == self._seen:
            return False
        self._restore()
        files: dict[str, bytes] = {}
        systems, hidden = 0, None
        try:
            boards = build(self._settings.entries, intake.verify, intake.private.track)
        except CfbenchError as error:
            files["index.html"] = _note(error.problems[0].message)
        else:
            files |= site_files(boards)
            systems = sum(len(board.systems) for board in boards)
            hidden = intake.reveal(boards[0])
            if hidden is not None:
                pages = site_files([hidden])
                files |= {f"{HELD_BACK}/{path}": content for path, content in pages.items()}
        self._keep()
        self._show(files)
        self.standing = Standing(datetime.datetime.now(datetime.UTC), systems, hidden is not None)
        self._seen = seen
        return True

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            pause = 60 * self._settings.rebuild_minutes
            try:
                self.renew()
                self._intake.private.flush()
            except CfbenchError as error:
                _log.warning("the leaderboard was not renewed: %s", error)
                pause = min(pause, _AGAIN)
            except Exception:
                # The old pages stay, and it is tried again.
                _log.exception("the leaderboard was not renewed")
                pause = min(pause, _AGAIN)
            self._wake.wait(pause)

    def _show(self, files: dict[str, bytes]) -> None:
        found = {}
        for path, content in files.items():
            kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
            if kind.startswith("text/") or kind.endswith(("json", "javascript")):
                kind += "; charset=utf-8"
            found[path] = Page(content, kind, f'"{hashlib.sha256(content).hexdigest()[:32]}"')
        self._files = found

    def _restore(self) -> None:
        """Put receipts of earlier verifications into the copy, which the repository overwrites."""
        if self._settings.results is None or not self._receipts.is_dir():
            return
        for path in self._receipts.glob("*.json"):
            try:
                receipt = Receipt.model_validate_json(path.read_bytes())
                described = self._settings.entries / path.stem / DESCRIPTION
                found = hashlib.sha256(described.read_bytes()).hexdigest()
            except (OSError, ValueError):
                found = None
            target = self._settings.entries / VERIFIED
            target.mkdir(exist_ok=True)
            for file in (path, path.with_suffix(".npy")):
                if found is None or receipt.digests.get(DESCRIPTION) != found:
                    file.unlink(missing_ok=True)
                elif file.is_file():
                    shutil.copyfile(file, target / file.name)

    def _keep(self) -> None:
        if self._settings.results is None:
            return
        self._receipts.mkdir(exist_ok=True)
        for path in (self._settings.entries / VERIFIED).glob("*.*"):
            if path.suffix in (".json", ".npy") and path.is_file():
                shutil.copyfile(path, self._receipts / path.name)


def _note(text: str, again: bool = False) -> bytes:
    """A page that says one thing."""
    refresh = '<meta http-equiv="refresh" content="2">' if again else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"{refresh}<title>Leaderboard</title><style>:root{{color-scheme:light dark}}"
        "body{font:16px/1.5 system-ui,sans-serif;margin:2rem}</style></head>"
        f"<body><main><h1>Leaderboard</h1><p>{escape(text)}</p></main></body></html>\n"
    ).encode()
