"""The page: tabs and forms of Gradio, and what their buttons do."""

import datetime
import logging
import queue
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path
from typing import Any

import gradio as gr

from cfbench.errors import CfbenchError, Problem
from cfbench.space import markup
from cfbench.space.intake import Intake, Report
from cfbench.space.pages import Pages
from cfbench.submission import SUFFIXES, System, make_system

_log = logging.getLogger(__name__)
_ASSETS = files("cfbench.space") / "assets"

Who = Callable[[gr.OAuthProfile | None], str | None]
"""The user of a session, or None where nobody is logged in."""

_FIELDS = (
    ("name", "Name of the system", "As the leaderboard shows it."),
    ("team", "Team", "Who made it."),
    ("description", "Description", "A few sentences."),
    ("contact", "Contact", "An address; it is published."),
    ("licence", "Licence of the predictions", "For example CC-BY-4.0."),
    ("training_data", "Training data", "Everything that it learnt from, one a line."),
    ("paper", "Paper (optional)", "Its address."),
    ("code", "Code (optional)", "Its address."),
    ("parameters", "Parameters (optional)", "How many, the front end included."),
    ("front_end", "Front end (optional)", "A pre-trained model that it builds on."),
    ("front_end_data", "Data of the front end (optional)", "What that was trained on."),
    ("preprocessing", "Preprocessing (optional)", "What is done to the audio first."),
)
"""The fields of a description, as the form asks for them."""

_REQUIRED = 6
"""How many of them have to be filled in: the first."""

_LONG = {"description": 4, "training_data": 3}
ONLY, OTHER = "Yes", "No"
_BROKEN = (Problem("Something went wrong here.", "try again; if it stays, tell the keepers"),)


def make_page(intake: Intake, pages: Pages, who: Who, pool: ThreadPoolExecutor) -> gr.Blocks:
    """The page of an app.

    Args:
        intake: Takes what is uploaded.
        pages: The leaderboard's own pages.
        who: Says who a user is.
        pool: Where uploads are worked on.
    """
    settings = intake.settings
    handlers = _Handlers(intake, pages, who, pool)
    with gr.Blocks(
        title=settings.title, analytics_enabled=False, delete_cache=(300, 1800), fill_width=True
    ) as page:
        # With it the page would load the Hub's header and two fonts from other machines.
        page.space_id = None
        gr.HTML(f'<h1 class="cf-title">{markup.inert(settings.title)}</h1>')
        with gr.Tabs():
            with gr.Tab("Leaderboard"):
                board = gr.HTML(markup.board_frame(pages.standing, settings.title), padding=False)
            with gr.Tab("Submit"):
                told = _submit(handlers)
            with gr.Tab("Rules"):
                gr.HTML(_rules() + markup.limits(settings))
            with gr.Tab("About"):
                about = gr.HTML()
        loaded = handlers.loaded if settings.login else handlers.loaded_here
        page.load(loaded, None, [board, told, about], **_quick() | {"show_progress": "hidden"})
    for block in page.blocks.values():
        _only_uploads(block, (settings.state / "uploads").resolve())
    page.queue(max_size=256, api_open=False, default_concurrency_limit=None)
    return page


def _submit(handlers: "_Handlers") -> gr.HTML:
    """The form; returns the line that says who is logged in."""
    settings = handlers.intake.settings
    if settings.login:
        gr.LoginButton("Log in with Hugging Face", icon=None, elem_id="cf-login")
    told = gr.HTML()
    ticket = gr.State("")
    with gr.Row(equal_height=False):
        with gr.Column(min_width=280):
            gr.HTML(
                f"<h2>1. Predictions</h2><p>A file ({', '.join(SUFFIXES)}; at most "
                f"{settings.limits.upload_mib:,} MiB) or an address.</p>"
            )
            file = gr.File(
                label="File of predictions",
                elem_id="cf-file",
                height=150,
            )
            address = gr.Textbox(
                label="Address of a file on the Hub, at a commit",
                info="https://huggingface.co/datasets/OWNER/REPO/resolve/COMMIT/PATH",
                max_length=1000,
                elem_id="cf-address",
            )
            logits = gr.Checkbox(
                label="The numbers are logits, not probabilities", elem_id="cf-logits"
            )
            check = gr.Button("Check and score", variant="primary", elem_id="cf-check")
            report = gr.HTML(elem_id="cf-report")
        with gr.Column(min_width=280):
            gr.HTML("<h2>2. The system</h2>")
            fields = [_field(*field) for field in _FIELDS[:_REQUIRED]]
            only = gr.Radio(
                [ONLY, OTHER],
                label="Was it trained on the track's own training and development splits only?",
                info="The front end's pre-training aside.",
                elem_id="cf-only",
            )
            fields += [_field(*field) for field in _FIELDS[_REQUIRED:]]
            offered = settings.results is not None
            send = gr.Button(
                "Send as a pull request" if offered else "Write the entry",
                variant="primary",
                interactive=False,
                elem_id="cf-send",
            )
            outcome = gr.HTML(elem_id="cf-outcome")
    checked = handlers.check if settings.login else handlers.check_here
    sent = handlers.send if settings.login else handlers.send_here
    check.click(checked, [file, address, logits], [report, ticket, send, told, outcome], **_quick())
    send.click(sent, [ticket, only, *fields], [outcome, ticket, send], **_quick())
    return told


def _field(key: str, label: str, info: str) -> gr.Textbox:
    lines = _LONG.get(key, 1)
    return gr.Textbox(
        label=label,
        info=info,
        lines=lines,
        max_lines=lines * 3,
        max_length=4000,
        elem_id=f"cf-{key.replace('_', '-')}",
    )


def _quick() -> dict[str, Any]:
    # The desk decides who is served when; nothing else queues. No part of a public API.
    return {"concurrency_limit": None, "api_visibility": "private", "show_progress": "minimal"}


class _Handlers:
    """What happens when a button is pressed."""

    def __init__(self, intake: Intake, pages: Pages, who: Who, pool: ThreadPoolExecutor) -> None:
        self.intake, self._pages, self._who, self._pool = intake, pages, who, pool

    def loaded(self, profile: gr.OAuthProfile | None) -> tuple[Any, ...]:
        settings, standing = self.intake.settings, self._pages.standing
        return (
            markup.board_frame(standing, settings.title),
            self._told(self._who(profile)),
            markup.about(settings, _facts(self.intake), standing),
        )

    def loaded_here(self) -> tuple[Any, ...]:
        return self.loaded(None)

    def check(
        self, file: str | None, address: str, logits: bool, profile: gr.OAuthProfile | None
    ) -> Iterator[tuple[Any, ...]]:
        user = self._who(profile)
        address = (address or "").strip()
        off = gr.update(interactive=False)
        if user is None:
            problem = Problem("You are not logged in.", "log in with your Hub account first")
            yield markup.problems("Not checked", [problem]), "", off, gr.skip(), ""
            return
        if bool(file) == bool(address):
            problem = Problem("Give a file or an address", "one of them, not both")
            yield markup.problems("Not checked", [problem]), "", off, gr.skip(), ""
            return
        places: queue.SimpleQueue[int] = queue.SimpleQueue()
        given: Path | str = Path(file) if file else address
        name = Path(file).name if file else ""
        work = self._pool.submit(
            self.intake.examine, given, user, name, logits=bool(logits), told=places.put
        )
        yield markup.waiting(0), "", off, gr.skip(), ""
        while not work.done():
            try:
                yield markup.waiting(places.get(timeout=0.25)), "", off, gr.skip(), ""
            except queue.Empty:
                continue
        try:
            found = work.result()
        except Exception:
            _log.exception("an upload could not be examined")
            found = Report(name or address, _BROKEN, left=self.intake.left(user))
        shown = markup.report(found, self.intake.settings)
        ready = gr.update(interactive=bool(found.ticket))
        yield shown, found.ticket, ready, self._told(user), ""

    def check_here(self, file: str | None, address: str, logits: bool) -> Iterator[tuple[Any, ...]]:
        yield from self.check(file, address, logits, None)

    def send(
        self, ticket: str, only: str | None, profile: gr.OAuthProfile | None, *fields: str
    ) -> Iterator[tuple[Any, ...]]:
        user = self._who(profile)
        off, on = gr.update(interactive=False), gr.update(interactive=True)
        yield markup.waiting(0), gr.skip(), off
        try:
            if user is None:
                raise CfbenchError("You are not logged in.", "log in with your Hub account first")
            sent = self.intake.send_ticket(ticket, described(only, fields), user)
        except CfbenchError as error:
            yield markup.problems("Not sent", error.problems), gr.skip(), on
            return
        except Exception:
            _log.exception("an entry could not be sent")
            yield markup.problems("Not sent", _BROKEN), gr.skip(), on
            return
        self._pages.wake()
        yield markup.sent(sent), "", off

    def send_here(self, ticket: str, only: str | None, *fields: str) -> Iterator[tuple[Any, ...]]:
        yield from self.send(ticket, only, None, *fields)

    def _told(self, user: str | None) -> str:
        left = self.intake.left(user) if user is not None else 0
        return markup.user(user, left, self.intake.settings)


def described(only: str | None, fields: tuple[str, ...]) -> System:
    """The description of a system from the form's fields.

    Raises:
        CfbenchError: Every problem, by the form's own names.
    """
    given: dict[str, Any] = {
        key: (text or "").strip() for (key, _, _), text in zip(_FIELDS, fields, strict=True)
    }
    lines = [line.strip() for line in given["training_data"].splitlines() if line.strip()]
    given["training_data"] = lines
    if number := given.pop("parameters").replace(",", "").replace(" ", ""):
        given["parameters"] = int(number) if re.fullmatch(r"[0-9]{1,15}", number) else number
    if only in (ONLY, OTHER):
        given["only_track_data"] = only == ONLY
    given["date"] = datetime.datetime.now(datetime.UTC).date()
    problems = [
        Problem(f"{label} is empty", info)
        for key, label, info in _FIELDS[:_REQUIRED]
        if not given[key]
    ]
    if "only_track_data" not in given:
        problems.append(Problem("Say what it was trained on: yes or no", ""))
    if problems:
        raise CfbenchError.of(problems)
    return make_system({key: value for key, value in given.items() if value != ""})


def _facts(intake: Intake) -> list[tuple[str, str]]:
    protocol = intake.protocol
    track = protocol.track
    facts = [("Track", f"{track.title} ({track.name}, version {track.version})")]
    facts += [
        (f"Protocol, {name}", f"{protocol.split(name).height:,} utterances, {digest[:12]}")
        for name, digest in protocol.digests.items()
        if name in track.scored
    ]
    if protocol.held_back.height:
        facts.append(("Labels held back", f"{protocol.held_back.height:,} utterances"))
    return facts


def _rules() -> str:
    text = (files("cfbench.leaderboard") / "assets" / "rules.html").read_text(encoding="utf-8")
    return f'<section class="cf-text"><h2>Rules</h2>{text}</section>'


def head() -> str:
    """What the page has in its head: the script that fits the frame to its content."""
    return f"<script>{(_ASSETS / 'frame.js').read_text(encoding='utf-8')}</script>"


def _only_uploads(block: Any, uploads: Path) -> None:
    """Have a component take what was uploaded, and no other file that a request names.

    Gradio would fetch one from any address, and, mounted in another app, take any of this machine.
    """
    move = getattr(block, "async_move_resource_to_block_cache", None)
    if move is None:
        return

    async def moved(path: str | Path | None) -> str | None:
        if path is not None and not _is_in(path, uploads):
            raise gr.Error("Upload the file: it is not named here.", print_exception=False)
        return await move(path)

    block.async_move_resource_to_block_cache = moved


def _is_in(path: str | Path, folder: Path) -> bool:
    try:
        found = Path(path).resolve(strict=True)
    except (OSError, ValueError):
        return False
    return found.is_file() and found.is_relative_to(folder)
