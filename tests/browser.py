"""Chromium, driven by Playwright, and watched: what a page asks for must come from this machine.

    with Browser() as browser, browser.open(address, width=390, dark=True) as page:
        page.get_by_role("button", name="Columns").click()

When a page is closed, everything that went wrong on it is an error: requests that leave the
machine, errors of scripts, what a policy of the page has refused.
"""

import functools
import http.server
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import BrowserContext, ConsoleMessage, Dialog, Page, Request
from playwright.sync_api import sync_playwright as start_playwright

VARIABLE = "CFBENCH_CHROMIUM"
HERE = ("127.0.0.1", "localhost")
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    # Whatever asks for another machine, the browser itself included, does not get there.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)  # fmt: skip
RULES = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa")
_INSIDE = ("about", "blob", "data", "file")
# What has a browser turn to another machine without a request that could be seen here.
_HINTS = "link[rel~=preconnect], link[rel~=dns-prefetch], link[rel~=prefetch], [ping]"


def chromium() -> str | None:
    """The browser of this machine."""
    return os.environ.get(VARIABLE) or shutil.which("chromium") or shutil.which("chromium-browser")


def need_chromium() -> None:
    """Skip a test where there is no browser; in continuous integration that is a failure."""
    if chromium() is None:
        reason = f"there is no Chromium: apt-get install chromium, or name one in {VARIABLE}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


class Browser:
    """A browser without a window, for many pages.

    Attributes:
        requests: What the page that was opened last has asked for: addresses.
        faults: What has gone wrong on it.
    """

    def __enter__(self) -> "Browser":
        self.requests: list[str] = []
        self.faults: list[str] = []
        self._playwright = start_playwright().start()
        try:
            self._chromium = self._playwright.chromium.launch(
                executable_path=chromium(), args=list(ARGUMENTS)
            )
        except BaseException:
            self._playwright.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._chromium.close()
        self._playwright.stop()

    @contextmanager
    def open(
        self,
        address: str,
        *,
        width: int = 1280,
        height: int = 900,
        dark: bool = False,
        scripts: bool = True,
        scale: float = 1,
    ) -> Iterator[Page]:
        """A page in a context of its own: no cookies, nothing stored.

        Args:
            address: What is opened.
            width: Of the window, in CSS pixels.
            height: Of the window.
            dark: The reader prefers dark pages.
            scripts: Scripts run.
            scale: Pixels of the screen to one of CSS.
        """
        self.requests, self.faults = [], []
        context = self._chromium.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            java_script_enabled=scripts,
            device_scale_factor=scale,
            reduced_motion="reduce",
            service_workers="block",
            locale="en-GB",
        )
        context.set_default_timeout(15_000)
        try:
            self._watch(context)
            page = context.new_page()
            page.goto(address)
            yield page
            self._look(page)
        finally:
            context.close()
        assert not self.faults, "\n".join(self.faults)

    @contextmanager
    def again(self, page: Page, address: str) -> Iterator[Page]:
        """A page that is open already, at another address: quicker, and watched alike."""
        page.goto("about:blank")
        # What the page that was left says of its broken connections is no fault of this one.
        self.requests, self.faults = [], []
        page.goto(address)
        yield page
        self._look(page)
        assert not self.faults, "\n".join(self.faults)

    def _look(self, page: Page) -> None:
        for frame in page.frames:
            hints = frame.locator(_HINTS)
            self.faults += [f"hint: {one}" for one in hints.evaluate_all(_OUTER)]

    def _watch(self, context: BrowserContext) -> None:
        context.on("request", self._asked)
        context.on("console", self._said)
        context.on("weberror", lambda error: self.faults.append(f"script: {error.error}"))
        context.on("dialog", self._opened)

    def _asked(self, request: Request) -> None:
        self.requests.append(request.url)
        parts = urlsplit(request.url)
        if parts.scheme not in _INSIDE and parts.hostname not in HERE:
            self.faults.append(f"leaves the machine: {request.url}")

    def _said(self, message: ConsoleMessage) -> None:
        # What a policy refuses, and a file that is not there, are errors of the console too.
        if message.type in ("error", "assert"):
            self.faults.append(f"console: {message.text} ({message.location.get('url')})")

    def _opened(self, dialog: Dialog) -> None:
        self.faults.append(f"a dialog: {dialog.message}")
        dialog.dismiss()


_OUTER = "found => found.map(one => one.outerHTML)"


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a folder on a port of this machine."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *arguments: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def violations(page: Page) -> list[str]:
    """What an accessibility check (axe) finds of a page and of the frames in it."""
    for frame in page.frames:
        frame.evaluate(AXE_SCRIPT)
    found = page.evaluate(
        "rules => axe.run(document, {runOnly: {type: 'tag', values: rules}, "
        "resultTypes: ['violations']}).then(done => done.violations)",
        list(RULES),
    )
    return [
        f"{one['id']}: {node['target']}: {node['failureSummary']}"
        for one in found
        for node in one["nodes"]
    ]


def overflow(page: Page) -> int:
    """How many pixels a page is wider than its window."""
    return int(
        page.evaluate(
            "() => Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)"
            " - document.documentElement.clientWidth"
        )
    )
