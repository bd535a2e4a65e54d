"""What the page shows of reports: HTML in which words of others are nothing but text."""

from collections.abc import Sequence
from html import escape

from cfbench.errors import Problem, clip, plural
from cfbench.leaderboard.page_data import split_title
from cfbench.scorecard import Number, Scorecard, TaskScore
from cfbench.space.intake import Report
from cfbench.space.pages import HELD_BACK, Standing
from cfbench.space.results import Sent
from cfbench.space.settings import Settings
from cfbench.submission import LARGEST_SHIPPED
from cfbench.tasks import TRACING_IDS

_MOST_PROBLEMS = 50


def inert(text: str) -> str:
    """Text of others, for HTML and for templates that are filled in by a script."""
    shown = escape(clip(text, 500))
    return shown.replace("$", "&#36;").replace("{", "&#123;").replace("}", "&#125;")


def board_frame(standing: Standing, title: str) -> str:
    """The leaderboard's own pages, in a frame; beside them those on what was held back."""
    parts = ""
    if standing.held_back:
        parts = (
            '<nav class="cf-parts" aria-label="Parts of the leaderboard">'
            '<a href="board/index.html" target="cf-board">Public part</a> '
            f'<a href="board/{HELD_BACK}/index.html" target="cf-board">Held-back part</a></nav>'
        )
    return (
        f'{parts}<iframe class="cf-board" name="cf-board" src="board/index.html" '
        f'title="{inert(title)}"></iframe>'
    )


def waiting(place: int) -> str:
    """Where in the queue an upload is."""
    text = f"Waiting: place {place} in the queue." if place else "Checking and scoring …"
    return f'<p class="cf-note" role="status">{text}</p>'


def report(found: Report, settings: Settings) -> str:
    """What was found of predictions: problems, or the scorecard as a table."""
    if found.card is None:
        return problems(f"{found.name}: not accepted", found.problems)
    notes = [*found.card.notes]
    if found.held_back:
        day = settings.reveal
        when = f"shown from {day.isoformat()} (UTC) on" if day else "not shown"
        notes.append(
            "The utterances whose labels are held back were scored too. That result is kept with "
            f"the entry when it is sent, and is {when}."
        )
    notes.append(f"{plural(found.left, 'more upload')} can be scored today.")
    return (
        f'<section class="cf-report"><h3>{inert(found.name)}: no problems</h3>'
        f"{scorecard(found.card)}<ul>{''.join(f'<li>{inert(note)}</li>' for note in notes)}</ul>"
        "</section>"
    )


def problems(title: str, found: Sequence[Problem]) -> str:
    """Problems, each with what to do about it."""
    items = "".join(
        f"<li>{inert(one.message)}"
        + (f'<br><span class="cf-hint">{inert(one.hint)}</span>' if one.hint else "")
        + "</li>"
        for one in found[:_MOST_PROBLEMS]
    )
    more = len(found) - _MOST_PROBLEMS
    rest = f"<p>and {plural(more, 'more problem')}</p>" if more > 0 else ""
    return (
        f'<section class="cf-report cf-bad" role="alert"><h3>{inert(title)}</h3>'
        f"<ul>{items}</ul>{rest}</section>"
    )


def scorecard(card: Scorecard) -> str:
    """The headline numbers: a row a task, a column a split."""
    splits = list(card.protocol)
    drop = len(splits) == 2
    titles = [*map(split_title, splits), *(["Drop"] if drop else [])]
    head = "".join(f'<th scope="col">{inert(name)}</th>' for name in ("Task, in %", *titles))
    rows = _overall(card, splits, drop)
    rows += "".join(_row(card, task_id, task, splits, drop) for task_id, task in card.tasks.items())
    facts = "; ".join(
        f"{split_title(name)}: {plural(split.utterances, 'utterance')}, "
        f"{plural(split.groups, 'group')}"
        for name, split in card.protocol.items()
    )
    told = f"[low, high]: {card.settings.level:.0%} interval over resampled groups."
    if drop:
        told += f" Drop: positive is worse {split_title(splits[1]).lower()}."
    return (
        f'<div class="cf-wide" tabindex="0" role="region" aria-label="Scorecard"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
        f'<p class="cf-hint">{inert(told)}</p><p class="cf-hint">'
        f"{inert(card.track.title)}, version {inert(card.track.version)}. {inert(facts)}.</p>"
    )


def _overall(card: Scorecard, splits: Sequence[str], drop: bool) -> str:
    """What the leaderboard ranks by; nothing where a tracing task was not answered."""
    tasks = [card.tasks[task_id] for task_id in TRACING_IDS if task_id in card.tasks]
    cells = []
    for name in splits:
        found = [task.splits[name].overall.metrics["macro_f1"].value for task in tasks]
        values = [value for value in found if value is not None]
        if len(values) < len(TRACING_IDS):
            return ""
        cells.append(f"{100 * sum(values) / len(values):.1f}")
    cells += ["&ndash;"] if drop else []
    return (
        '<tr><th scope="row">Overall <span class="cf-hint">macro-F1 ↑, mean of VQ, AUX and DEC'
        f"</span></th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
    )


def _row(card: Scorecard, task_id: str, task: TaskScore, splits: Sequence[str], drop: bool) -> str:
    metric = card.metrics[task.headline]
    arrow = "↑" if metric.direction == "higher" else "↓"
    numbers = [task.splits[name].overall.metrics[task.headline] for name in splits]
    if drop and task.drop is not None:
        numbers.append(task.drop.number)
    cells = "".join(f"<td>{_number(number)}</td>" for number in numbers)
    return (
        f'<tr><th scope="row">{inert(task.title)} ({inert(task_id.upper())}) '
        f'<span class="cf-hint">{inert(metric.title)} {arrow}</span></th>{cells}</tr>'
    )


def _number(number: Number) -> str:
    if number.value is None:
        return f'n/a <span class="cf-hint">{inert(number.reason or "")}</span>'
    text = f"{100 * number.value:.1f}"
    if number.interval is None:
        return text
    low, high = 100 * number.interval.low, 100 * number.interval.high
    return f'{text} <span class="cf-hint">[{low:.1f}, {high:.1f}]</span>'


def sent(found: Sent) -> str:
    """What became of an entry."""
    what = f"{found.submission.slug}, version {found.submission.version}"
    if found.address:
        address = escape(found.address)
        where = (
            f'is offered as <a href="{address}" target="_blank" rel="noopener">pull request '
            f"{found.number}</a>. It is on the leaderboard when its keepers have merged it."
        )
    else:
        where = "is written. The leaderboard is built anew."
    return f'<section class="cf-report" role="status"><p>{inert(what)} {where}</p></section>'


def user(name: str | None, left: int, settings: Settings) -> str:
    """Who is logged in, and what they may do today."""
    if name is None:
        return '<p class="cf-note">Log in with your Hub account to have predictions scored.</p>'
    who = f"Logged in as {inert(name)}. " if settings.login else ""
    return f'<p class="cf-note">{who}{plural(left, "more upload")} can be scored today.</p>'


def limits(settings: Settings) -> str:
    """The limits, as a part of the rules."""
    bounds = settings.limits
    largest = min(bounds.upload, LARGEST_SHIPPED) // 2**20
    lines = [
        f"An uploaded file has at most {bounds.upload_mib:,} MiB"
        + (f"; up to {largest} MiB it can be sent with the entry" if bounds.upload_mib > 20 else "")
        + ". A larger one is published on the Hub and given by the address of a commit.",
        f"{plural(bounds.per_day, 'upload')} a user and day (UTC) are scored. One that is refused "
        "does not count.",
        f"{plural(bounds.at_once, 'upload is|uploads are')} scored at once; others wait.",
        f"A file that was scored is kept for {bounds.kept_minutes} minutes, so that it can be "
        "sent; then it is deleted.",
    ]
    if settings.reveal is not None:
        lines.append(
            "Results on the utterances whose labels are held back are shown from "
            f"{settings.reveal.isoformat()} (UTC) on."
        )
    items = "".join(f"<li>{inert(line)}</li>" for line in lines)
    return f'<section class="cf-text"><h2>Limits</h2><ul>{items}</ul></section>'


def about(settings: Settings, facts: Sequence[tuple[str, str]], standing: Standing) -> str:
    """What the page is of."""
    built = standing.built
    facts = [
        *facts,
        ("Systems", f"{standing.systems:,}"),
        ("Built", built.strftime("%Y-%m-%d %H:%M UTC") if built else "not yet"),
    ]
    if settings.results is not None:
        facts.append(("Results", f"dataset repository {settings.results}"))
    rows = "".join(f"<dt>{inert(name)}</dt><dd>{inert(value)}</dd>" for name, value in facts)
    return (
        '<section class="cf-text"><h2>About</h2><p>A leaderboard for tracing codec-based deepfake '
        "speech to its source: which kind of neural codec made an utterance, and was it made at "
        "all. It is built by cfbench from the files of its entries alone; who has those files and "
        "the protocol gets the same tables.</p>"
        f"<dl>{rows}</dl></section>"
    )
