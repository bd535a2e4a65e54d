"""The pages of a leaderboard as HTML: self-contained, and readable without a script.

What systems say of themselves comes from strangers. It is escaped wherever it is written, and the
page's own policy forbids every script and style but those that are written here.
"""

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from html import escape
from importlib.resources import files

import cfbench
from cfbench.leaderboard.build import cells, header, legend, shown, shown_place
from cfbench.leaderboard.page_data import (
    Json,
    Lines,
    comparison_data,
    embedded,
    facts,
    split_title,
)
from cfbench.leaderboard.plots import confusion_tables, heat_map
from cfbench.leaderboard.ranking import OVERALL, Board, Listed, Row, Table
from cfbench.metrics.catalogue import METRICS
from cfbench.submission import System

_TAGLINE = "Which kind of neural codec made a fake, and whether it is a fake at all."
_PLACEHOLDER = "https://LEADERBOARD/"


@cache
def asset(name: str) -> str:
    """The text of a file that is written into pages: `page.css`, `rules.html`, scripts."""
    return (files("cfbench.leaderboard") / "assets" / name).read_text(encoding="utf-8")


@cache
def _head_and_end(*scripts: str) -> tuple[str, str]:
    """What stands before a page's title, and its script: the same for every page of a kind."""
    style, script = asset("page.css"), "".join(map(asset, scripts))
    policy = (
        f"default-src 'none'; style-src 'sha256-{_digest(style)}'; "
        f"script-src 'sha256-{_digest(script)}'; img-src 'self' data:; "
        "base-uri 'none'; form-action 'none'"
    )
    head = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f'<link rel="icon" href="data:,">\n<style>{style}</style>\n'
    )
    return head, f"<script>{script}</script>\n"


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _page(title: str, top: str, body: str, boards: Sequence[Board], scripts: Sequence[str]) -> str:
    head, end = _head_and_end(*scripts)
    return "".join(
        (
            head,
            f"<title>{escape(title)}</title>\n</head>\n<body>\n",
            '<a class="skip" href="#main">Skip to the content</a>\n',
            f"<header>\n{top}</header>\n",
            f'<main id="main" tabindex="-1">\n{body}</main>\n',
            _footer(boards),
            end,
            "</body>\n</html>\n",
        )
    )


def _footer(boards: Sequence[Board]) -> str:
    lines = [f"<p>Made by cfbench {escape(cfbench.__version__)} from the submissions' files.</p>"]
    for board in boards:
        digests = ", ".join(
            f"{escape(split_title(split).lower())} <code>{board.protocol[split]}</code>"
            for split in board.splits
        )
        lines.append(
            f"<p>{escape(board.title)}: track <code>{escape(board.track)}</code>, version "
            f"{escape(board.track_version)}; protocol (SHA-256): {digests}</p>"
        )
    return "<footer>\n" + "\n".join(lines) + "\n</footer>\n"


def _with_data(data: Json) -> str:
    return f'<script type="application/json" id="data">{embedded(data)}</script>\n'


def index_page(boards: Sequence[Board], data: Sequence[Json]) -> str:
    """The leaderboard itself: tables, filters, the plot and the rules.

    Args:
        boards: One a track.
        data: Of each board, `page_data.table_data`.
    """
    top = (
        f'<h1 class="site">cfbench leaderboard</h1>\n<p>{_TAGLINE}</p>\n'
        '<nav aria-label="Pages"><ul><li><a href="#ranking-title">Ranking</a></li>'
        '<li><a href="compare.html">Two systems side by side</a></li>'
        '<li><a href="#rules">Rules</a></li>'
        '<li>As <a href="leaderboard.csv">CSV</a>, <a href="leaderboard.json">JSON</a>, '
        '<a href="leaderboard.md">Markdown</a></li></ul></nav>\n'
    )
    static = "".join(f'<section class="static">{_static(board)}</section>\n' for board in boards)
    rules = f'<section class="rules" id="rules" tabindex="-1"><h2>Rules</h2>{asset("rules.html")}'
    body = asset("controls.html") + static + asset("plot.html") + rules + "</section>\n"
    body += _with_data({"boards": data})
    return _page("cfbench leaderboard", top, body, boards, ("page.js", "index.js"))


def _static(board: Board) -> str:
    """The overall table, as it is read without a script."""
    table = board.tables[0]
    title = escape(f"{board.title}: {table.title}")
    told = "".join(f'<p class="meta">{escape(line)}</p>' for line in facts(board))
    heads = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header(table, board.splits))
    body = []
    previous, band = None, False
    for row in table.rows:
        place = row.places.get(board.splits[-1])
        tier = place.place if place is not None else previous
        classes = [] if row.kind == "system" else ["line", row.kind]
        if previous is not None and tier != previous:
            band = not band
            classes.append("tier")
        classes += ["band"] if band and place is not None else []
        previous = tier
        body.append(f'<tr class="{" ".join(classes)}">{_static_cells(row, table, board)}</tr>')
    legends = "".join(f"<li>{escape(line)}</li>" for line in legend(board))
    refused = "".join(
        f"<li><code>{escape(slug)}</code>: {escape(why)}</li>"
        for slug, why in board.refused.items()
    )
    return (
        f'<h2>{title}</h2>{told}<div class="scroll" role="region" tabindex="0" '
        f'aria-label="{title}"><table class="ranked"><thead><tr>{heads}</tr></thead>\n<tbody>'
        + "\n".join(body)
        + f'</tbody></table></div><ul class="legend soft">{legends}</ul>'
        + (f"<h3>Not ranked</h3><ul>{refused}</ul>" if refused else "")
    )


def _static_cells(row: Row, table: Table, board: Board) -> str:
    place, name, team, *values, status = map(escape, cells(row, table, board.splits))
    if row.slug is not None:
        name = f'<a href="systems/{row.slug}.html">{name}</a>'
    return (
        f'<td class="place">{place}</td><th scope="row" class="name">{name}</th><td>{team}</td>'
        + "".join(f'<td class="num">{_with_interval(value)}</td>' for value in values)
        + f"<td>{status}</td>"
    )


def _with_interval(text: str) -> str:
    value, _, interval = text.partition(" ")
    return f"{value} <small>{interval}</small>" if interval else value


def compare_page(boards: Sequence[Board], data: Sequence[Json]) -> str:
    """Two systems side by side; which, the script reads from the address.

    Args:
        boards: One a track.
        data: Of each board, `page_data.table_data`.
    """
    top = (
        "<h1>Two systems side by side</h1>\n"
        '<nav aria-label="Pages"><ul><li><a href="index.html">Leaderboard</a></li>'
        '<li><a href="index.html#rules">Rules</a></li></ul></nav>\n'
    )
    details = [comparison_data(*pair) for pair in zip(boards, data, strict=True)]
    body = asset("compare.html") + _with_data({"boards": details})
    title = "Two systems side by side: cfbench leaderboard"
    return _page(title, top, body, boards, ("page.js", "compare.js"))


def system_page(board: Board, lines: Lines, counts: Json, slug: str, badge: str) -> str:
    """Everything about one system.

    Args:
        board: The leaderboard that it is on.
        lines: The rows of the board by table and slug.
        counts: By table and split, how many systems have a place.
        slug: The system.
        badge: Its badge, SVG.
    """
    listed = board.systems[slug]
    said = listed.submission.system
    top = (
        '<nav aria-label="Pages"><ul><li><a href="../index.html">Leaderboard</a></li>'
        f'<li><a href="../compare.html#track={board.track}&amp;a={slug}">Set beside another'
        "</a></li></ul></nav>\n"
        f'<h1>{escape(said.name)}</h1>\n<p class="soft">{escape(said.team)}</p>\n'
    )
    tasks = listed.result.tasks
    answered = [table.id for table in board.tables if table.id in tasks]
    matrices = "".join(confusion_tables(one, tasks[one], board.splits) for one in answered)
    body = (
        f"<p>{_status(listed)}</p>\n"
        f'<p class="said">{escape(said.description)}</p>\n'
        f"<h2>Result</h2>\n{_values(board, lines, counts, slug)}"
        f"<h2>Declared</h2>\n{_declared(said)}"
        f"<h2>Confusion</h2>\n{matrices}"
        f"<h2>Sources</h2>\n{heat_map(listed.result, answered, board.splits)}"
        f"<h2>Files and versions</h2>\n{_files(listed)}"
        f"<h2>Badge</h2>\n{_badge(slug, said.name, badge)}"
    )
    return _page(f"{said.name}: cfbench leaderboard", top, body, [board], ("system.js",))


def _status(listed: Listed) -> str:
    mark = f'<span class="mark {listed.status}">{listed.status}</span> '
    reference = "Reference system. " if listed.submission.reference else ""
    if listed.status == "verified":
        return f"{mark}{reference}The predictions were scored again here; every number agreed."
    return f"{mark}{reference}The numbers are the submission's own: {escape(listed.why)}."


def placed(board: Board) -> Json:
    """By table and split, how many systems have a place."""
    return {
        table.id: {
            split: sum(row.places.get(split) is not None for row in table.rows)
            for split in board.splits
        }
        for table in board.tables
    }


def _values(board: Board, lines: Lines, counts: Json, slug: str) -> str:
    order = list(reversed(board.splits))
    heads = "".join(
        f'<th scope="col" class="num">{escape(split_title(split))}</th>'
        '<th scope="col" class="num">Place</th>'
        for split in order
    )
    body = []
    for table in board.tables:
        row = lines[table.id].get(slug)
        found = []
        for split in order:
            value = None if row is None else row.values[split]
            if row is None or value is None or value.value is None:
                why = escape((value.reason if value else None) or "not answered")
                found.append(f'<td class="num">n/a <small>{why}</small></td><td></td>')
                continue
            place = shown_place(row.places.get(split))
            of = f" <small>of {counts[table.id][split]:,}</small>" if place else ""
            found.append(
                f'<td class="num">{_with_interval(shown(value, table.metric))}</td>'
                f'<td class="num">{place or "&ndash;"}{of}</td>'
            )
        arrow = "↑" if table.direction == "higher" else "↓"
        body.append(
            f'<tr><th scope="row">{escape(table.title)} <small>{METRICS[table.metric].title} '
            f"{arrow}</small></th>{''.join(found)}{_drop(board.systems[slug], table)}</tr>"
        )
    return (
        '<div class="scroll" role="region" tabindex="0" aria-label="Values"><table><caption>'
        "In %, with the 95 % interval. Systems that are not told apart share a place"
        f'</caption><thead><tr><th scope="col">Task</th>{heads}<th scope="col" class="num">Drop'
        f"</th></tr></thead><tbody>{''.join(body)}</tbody></table></div>\n"
        '<p class="soft">Drop: how much worse out of domain than in domain.</p>\n'
    )


def _drop(listed: Listed, table: Table) -> str:
    task = None if table.id == OVERALL else listed.result.tasks.get(table.id)
    if task is None or task.drop is None or task.drop.value is None:
        return '<td class="num soft">&ndash;</td>'
    return f'<td class="num">{_with_interval(shown(task.drop, table.metric))}</td>'


def _declared(said: System) -> str:
    data = "".join(f"<li>{escape(line)}</li>" for line in said.training_data)
    only = "yes" if said.only_track_data else "no"
    return _facts(
        ("Date", said.date.isoformat()),
        ("Training data", f"<ul>{data}</ul>"),
        ("Only the track's data", only),
        ("Front end", escape(said.front_end)),
        ("Its training data", escape(said.front_end_data)),
        ("Parameters", "" if said.parameters is None else f"{said.parameters:,}"),
        ("Preprocessing", escape(said.preprocessing)),
        ("Licence of predictions", escape(said.licence)),
        ("Paper", _link(said.paper)),
        ("Code", _link(said.code)),
    )


def _files(listed: Listed) -> str:
    submission, result = listed.submission, listed.result
    tasks = ", ".join(
        f"{escape(task.upper())} {escape(version)}"
        for task, version in submission.result.tasks.items()
    )
    return _facts(
        ("Predictions", _link(submission.predictions.address)),
        ("Their SHA-256", f"<code>{submission.predictions.sha256}</code>"),
        ("Scorecard's SHA-256", f"<code>{submission.result.scorecard}</code>"),
        ("Submission", f"{submission.slug}, version {submission.version}"),
        ("Pushed by", escape(submission.owner)),
        ("Track", f"{escape(result.track)}, version {escape(result.track_version)}"),
        ("Tasks", f"version: {tasks}"),
        ("Scored with", f"cfbench {escape(submission.result.cfbench)}, as submitted"),
    )


def _facts(*pairs: tuple[str, str]) -> str:
    """A list of terms; those of which nothing is known are left out."""
    there = "".join(f"<dt>{title}</dt><dd>{text}</dd>" for title, text in pairs if text)
    return f'<dl class="fact">{there}</dl>\n'


def _link(address: str) -> str:
    text = escape(address)
    if not address.startswith(("https://", "http://")):
        return text
    return f'<a href="{text}" target="_blank" rel="nofollow noopener noreferrer">{text}</a>'


def _badge(slug: str, name: str, badge: str) -> str:
    # Characters that could end the text of a picture in Markdown.
    plain = "".join(char for char in name if char.isalnum() or char in " .,-_").strip() or slug
    markdown = (
        f"[![{plain} on the cfbench leaderboard]({_PLACEHOLDER}badges/{slug}.svg)]"
        f"({_PLACEHOLDER}systems/{slug}.html)"
    )
    parts = [f'<img class="badge" src="../badges/{slug}.svg" alt="Badge of this system">']
    for name_of, text in (("Markdown", markdown), ("SVG", badge.strip())):
        key = f"badge-{name_of.lower()}"
        parts.append(
            f'<div class="copy"><label for="{key}">As {name_of}</label>'
            f'<button class="button" type="button" hidden data-copies="{key}">Copy {name_of}'
            f'</button></div><textarea id="{key}" readonly rows="3">{escape(text)}</textarea>'
        )
    return "\n".join(parts) + "\n"
