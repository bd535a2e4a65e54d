"""The app: the leaderboard's pages, and the page that takes predictions, behind one guard."""

import logging
import os
import re
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cfbench.errors import CfbenchError
from cfbench.space.guard import Guard
from cfbench.space.intake import Intake
from cfbench.space.pages import Pages
from cfbench.space.results import NOBODY
from cfbench.space.settings import Settings

if TYPE_CHECKING:
    from socket import socket

    from fastapi import FastAPI

LOCAL = ("127.0.0.1", "localhost", "[::1]")
"""Hosts that only this machine reaches."""

_USER = re.compile(r"[A-Za-z0-9._-]{1,96}")
_CONNECTIONS = 512


def make_app(settings: Settings, hosts: Sequence[str] | None = None) -> "FastAPI":
    """The app of a leaderboard.

    Args:
        settings: What its host has decided.
        hosts: Names by which it may be addressed; None for any.

    Raises:
        CfbenchError: The protocol cannot be had, or users are to log in and cannot.
    """
    uploads = (settings.state / "uploads").resolve()
    # Before gradio is imported, which reads them then.
    os.environ["GRADIO_TEMP_DIR"] = str(uploads)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    try:
        import gradio as gr
        from fastapi import FastAPI, Request, Response
        from fastapi.responses import RedirectResponse
        from gradio.utils import get_space

        from cfbench.space.forms import head, make_page
        from cfbench.space.theme import style, theme
    except ImportError as error:
        raise CfbenchError(
            f"the app needs gradio ({error})", "pip install 'cfbench[space]'"
        ) from None
    # Elsewhere Gradio logs everybody in as the user whose token the machine has.
    if settings.login and not (get_space() and os.environ.get("OAUTH_CLIENT_ID")):
        raise CfbenchError(
            "users are to log in, but there is no login here",
            "in a Space of the Hub: sdk: gradio and hf_oauth: true in the front matter of its "
            "README.md; elsewhere: no login in space.toml",
        )
    intake = Intake(settings)
    pages = Pages(intake)
    here = None if settings.login else _who_here()
    bounds = settings.limits
    # Threads wait for their turn at the desk, which is where a queue is bounded.
    pool = ThreadPoolExecutor(bounds.at_once + bounds.waiting + 8, "upload")

    def who(profile: Any) -> str | None:
        if not settings.login:
            return here
        name = str(profile.username) if profile is not None else ""
        return name if _USER.fullmatch(name) else None

    @asynccontextmanager
    async def alive(_: FastAPI) -> AsyncIterator[None]:
        pages.start()
        yield
        pages.stop()
        pool.shutdown(cancel_futures=True)

    app = FastAPI(lifespan=alive, openapi_url=None, docs_url=None, redoc_url=None)

    @app.api_route("/board", methods=["GET", "HEAD"])
    def board_itself() -> Response:
        return RedirectResponse("board/")

    @app.api_route("/board/{path:path}", methods=["GET", "HEAD"])
    def board(path: str, request: Request) -> Response:
        page = pages.find(path)
        if page is None:
            return Response("Not found.", 404, media_type="text/plain")
        headers = {"ETag": page.etag, "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == page.etag:
            return Response(status_code=304, headers=headers)
        return Response(page.content, media_type=page.media_type, headers=headers)

    @app.get("/manifest.json")
    def manifest() -> dict[str, str]:
        # The page of Gradio asks for it, and has none without its own installable app.
        return {"name": settings.title, "start_url": "./", "display": "browser"}

    gr.mount_gradio_app(
        app,
        make_page(intake, pages, who, pool),
        path="/",
        footer_links=[],
        run_history=False,
        blocked_paths=[str(path) for path in _never_served(settings)],
        show_error=False,
        max_file_size=bounds.upload,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        # A word of Gradio's for those who hear the page, which has no text of its own.
        i18n=gr.I18n(en={"common.complete": "Done"}),
        mcp_server=False,
        theme=theme(),
        css=style(),
        head=head(),
    )
    app.add_middleware(Guard, bounds=bounds, uploads=uploads, hosts=hosts, on_hub=settings.login)
    return app


def serve(settings: Settings, host: str = "127.0.0.1", port: int = 7860) -> None:
    """Run the app until it is interrupted.

    Args:
        settings: What its host has decided.
        host: Where it listens.
        port: Where it listens.

    Raises:
        CfbenchError: It cannot be made.
    """
    known = [*LOCAL, host] if host in LOCAL else None
    app = make_app(settings, known)
    import uvicorn
    from starlette.routing import Mount

    class Server(uvicorn.Server):
        async def shutdown(self, sockets: "list[socket] | None" = None) -> None:
            # Every page that is open holds a connection, which does not end by itself; that it is
            # cut off is no error.
            for route in app.routes:
                if isinstance(route, Mount) and hasattr(route.app, "stop_event"):
                    route.app.stop_event.set()
            logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
            await super().shutdown(sockets)

    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_level="warning",
        limit_concurrency=_CONNECTIONS,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=5,
        server_header=False,
        ws="none",
    )
    server = Server(config)
    with suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        raise CfbenchError(f"the app cannot listen on {host}:{port}", "give another --port")


def _never_served(settings: Settings) -> list[Path]:
    """Folders of which Gradio must not serve a file."""
    kept = ("private", "private-copy", "reports", "results", "receipts", "uploads.sqlite")
    places = [settings.state / name for name in kept]
    places += [path for path in (settings.board, settings.hidden, settings.protocol) if path]
    return [path.resolve() for path in places]


def _who_here() -> str:
    """The user of this machine: the Hub account that is logged in, or nobody."""
    from cfbench.hub.repos import whoami

    try:
        name = whoami() or NOBODY
    except CfbenchError:
        return NOBODY
    return name if _USER.fullmatch(name) else NOBODY
