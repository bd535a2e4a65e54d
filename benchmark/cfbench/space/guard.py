"""Bounds what a request may take before anything else sees it, and sets headers of security."""

import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cfbench.space.settings import Bounds

UPLOAD = "/gradio_api/upload"

_SMALL = 256 * 1024
"""Bytes of a request that is no upload: the fields of the form."""

_ENVELOPE = 64 * 1024
"""Bytes of an upload that are not the file's own."""

_MARGIN = 10.0
"""Seconds after which nobody can be writing a file any more, when its time is over."""

_ALLOWED = (
    "/assets/",
    "/board/",
    "/favicon.ico",
    "/gradio_api/cancel",
    "/gradio_api/heartbeat/",
    "/gradio_api/queue/data",
    "/gradio_api/queue/join",
    "/gradio_api/reset",
    "/gradio_api/startup-events",
    "/gradio_api/upload_progress",
    "/login/",
    "/static/",
    "/svelte/",
)
_EXACTLY = (
    "/",
    "/board",
    "/config",
    "/logout",
    "/manifest.json",
    "/robots.txt",
    "/theme.css",
    UPLOAD,
)

_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self'; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; "
    "form-action 'self'{forms}; frame-ancestors 'self'{frames}"
)
_HUB = " https://huggingface.co https://*.huggingface.co https://*.hf.space"


class _Refused(Exception):
    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


class Guard:
    """Middleware.

    Args:
        app: What is guarded.
        bounds: What a request may take.
        uploads: Where the app keeps what it receives.
        hosts: Names by which the app may be addressed; None for any. For an app on this machine
            that has no login: a page of another site must not reach it by a name of its own.
        on_hub: The app runs in a Space: the Hub shows it in a frame.
    """

    def __init__(
        self,
        app: ASGIApp,
        bounds: Bounds,
        uploads: Path,
        hosts: Sequence[str] | None = None,
        on_hub: bool = False,
    ) -> None:
        self._app, self._bounds, self._uploads, self._hosts = app, bounds, uploads, hosts
        self._receiving = 0
        hub = _HUB if on_hub else ""
        self._headers = {
            "Content-Security-Policy": _POLICY.format(forms=hub, frames=hub),
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "same-origin",
            "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
            "Cross-Origin-Opener-Policy": "unsafe-none" if on_hub else "same-origin",
            "Cross-Origin-Resource-Policy": "same-site" if on_hub else "same-origin",
        }
        if not on_hub:
            self._headers["X-Frame-Options"] = "SAMEORIGIN"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve or refuse one request."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(send, self._headers)
        upload = scope["path"] == UPLOAD and scope["method"] == "POST"
        try:
            length = self._check(scope, upload)
        except _Refused as refused:
            await answer.refuse(refused)
            return
        body = _Body(receive, length, self._most(upload), self._bounds.body_seconds)
        self._receiving += upload
        try:
            await self._app(scope, body.receive, answer.send_unless(body))
        except Exception:
            # The app has seen a broken connection; the reason is known here.
            if body.refused is None:
                raise
        finally:
            self._receiving -= upload
        if body.refused is not None:
            await answer.refuse(body.refused)

    def _most(self, upload: bool) -> int:
        return self._bounds.upload + _ENVELOPE if upload else _SMALL

    def _check(self, scope: Scope, upload: bool) -> int | None:
        """The length that the request gives for its body; None where it gives none."""
        headers, path = Headers(scope=scope), scope["path"]
        host = headers.get("host", "").rpartition(":")[0] or headers.get("host", "")
        if self._hosts is not None and host not in self._hosts:
            raise _Refused(400, "This app is not known by that name.")
        if path not in _EXACTLY and not path.startswith(_ALLOWED):
            raise _Refused(404, "Not found.")
        if scope["method"] not in ("GET", "HEAD", "POST"):
            raise _Refused(405, "Not allowed.")
        given = headers.get("content-length")
        length = int(given) if given is not None and given.isdecimal() else None
        if length is not None and length > self._most(upload):
            raise _Refused(413, self._too_large(upload))
        if upload:
            kept = self._bounds.kept_mib * 2**20
            _tidy(self._uploads, self._bounds.body_seconds)
            if self._receiving >= self._bounds.receiving or _size(self._uploads) > kept:
                raise _Refused(503, "Too many files are being received. Try again in a minute.")
        return length

    def _too_large(self, upload: bool) -> str:
        if not upload:
            return "The request is too large."
        return (
            f"The file is larger than {self._bounds.upload_mib:,} MiB. Write Parquet, or publish "
            "it on the Hub and give its address."
        )


class _Body:
    """The body of a request, as it comes in."""

    def __init__(self, receive: Receive, length: int | None, most: int, seconds: float) -> None:
        self._receive, self._left, self._length = receive, most, length
        self._deadline = asyncio.get_running_loop().time() + seconds
        self._whole = False
        self.refused: _Refused | None = None

    async def receive(self) -> Message:
        if self.refused is not None:
            return {"type": "http.disconnect"}
        if self._whole:
            # What comes now is that the client has left, whenever that may be.
            return await self._receive()
        left = self._deadline - asyncio.get_running_loop().time()
        try:
            message = await asyncio.wait_for(self._receive(), max(left, 0.001))
        except TimeoutError:
            return self._refuse(408, "The request took too long.")
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            return self._refuse(413, "The request is too large.")
        self._whole = not message.get("more_body", False)
        return message

    def _refuse(self, status: int, reason: str) -> Message:
        self.refused = _Refused(status, reason)
        return {"type": "http.disconnect"}


class _Answer:
    """What is answered, with headers of security."""

    def __init__(self, send: Send, headers: dict[str, str]) -> None:
        self._send, self._headers, self._begun = send, headers, False

    def send_unless(self, body: _Body) -> Send:
        async def send(message: Message) -> None:
            # What the app says of a body that was cut off is not its own mistake.
            if body.refused is not None and not self._begun:
                return
            if message["type"] == "http.response.start":
                self._begun = True
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers[name] = value
            await self._send(message)

        return send

    async def refuse(self, refused: _Refused) -> None:
        if self._begun:
            return
        self._begun = True
        content = refused.reason.encode()
        headers = {
            **self._headers,
            "Content-Type": "text/plain; charset=utf-8",
            "Content-Length": str(len(content)),
            "Connection": "close",
        }
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": refused.status, "headers": raw})
        await self._send({"type": "http.response.body", "body": content})


def _tidy(folder: Path, seconds: float) -> None:
    """Delete files that were broken off: Gradio moves into folders those that are whole."""
    late = time.time() - seconds - _MARGIN
    try:
        for item in os.scandir(folder):
            if item.is_file(follow_symlinks=False) and item.stat().st_mtime < late:
                os.unlink(item.path)  # noqa: PTH108
    except OSError:
        return  # there is none yet, or another request has deleted it


def _size(folder: Path) -> int:
    """Bytes of all files in a folder."""
    total = 0
    for root, _, files in os.walk(folder):
        for name in files:
            try:
                total += os.stat(os.path.join(root, name)).st_size  # noqa: PTH116, PTH118
            except OSError:
                continue  # deleted meanwhile
    return total
