"""A report as one HTML page: no request leaves it, and it has no script.

What comes from outside (a system's name, ids, sources) is escaped wherever it is written, and the
page's own policy forbids everything but its own style sheet.
"""

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from html import escape
from importlib.resources import files

from cfbench.errors import plural
from cfbench.leaderboard.page_data import split_title
from cfbench.leaderboard.pages import asset
from cfbench.leaderboard.plots import confusion_tables, heat_map
from cfbench.leaderboard.results import result_of
from cfbench.report import words
from cfbench.report.data import Report
from cfbench.report.figures import Drawing
from cfbench.report.svg import inline
from cfbench.report.tables import (
    calibration_table,
    classes_table,
    definitions,
    detection_table,
    errors_table,
    hardest_table,
    joint_table,
    metrics_table,
    reliability_table,
    results_table,
    trivial_table,
)

_LABELS_ONLY = "labels, which say nothing of how sure the system is"


def page(report: Report, drawings: Mapping[str, Drawing]) -> str:
    """The page.

    Args:
        report: What it shows.
        drawings: Its figures by name, as `figures.draw` gives them.
    """
    sections = {
        "Results": _results(report, drawings),
        "Confusion": _confusion(report),
        "Sources": _sources(report, drawings),
        "Detection": _detection(report, drawings),
        "Calibration": _calibration(report, drawings),
        "Most confident errors": _errors(report),
        "Tasks together": _joint(report),
        "All metrics": _metrics(report),
        "How this was made": _made(report),
    }
    ids = {title: title.lower().replace(" ", "-") for title in sections}
    links = "".join(f'<li><a href="#{ids[title]}">{title}</a></li>' for title in sections)
    body = "".join(
        f'<section aria-labelledby="{ids[title]}"><h2 id="{ids[title]}" tabindex="-1">{title}</h2>'
        f"\n{text}</section>\n"
        for title, text in sections.items()
    )
    name = escape(words.name_of(report.name))
    return (
        f"{_head()}<title>{name}: cfbench report</title>\n</head>\n<body>\n"
        '<a class="skip" href="#main">Skip to the content</a>\n'
        f"<header>\n<h1>{name}</h1>\n{_facts(report)}"
        f'<nav aria-label="Sections"><ul>{links}</ul></nav>\n</header>\n'
        f'<main id="main" tabindex="-1">\n{body}</main>\n{_footer(report)}</body>\n</html>\n'
    )


@cache
def _head() -> str:
    own = (files("cfbench.report") / "assets" / "report.css").read_text(encoding="utf-8")
    style = asset("page.css") + own
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        '<meta name="referrer" content="no-referrer">\n'
        '<meta name="generator" content="cfbench report">\n'
        f'<link rel="icon" href="data:,">\n<style>{style}</style>\n'
    )


def _facts(report: Report) -> str:
    card = report.card
    lines = [f"{card.track.title}: track {card.track.name}, version {card.track.version}"]
    for split, scored in card.protocol.items():
        missing = f"; {scored.missing:,} without a prediction, scored as wrong"
        lines.append(
            f"{split_title(split)}: {plural(scored.utterances, 'utterance')}, "
            f"{plural(scored.groups, 'group')}, each a {scored.group_unit}"
            + (missing if scored.missing else "")
        )
    if report.held_back:
        answered = card.predictions.held_back
        lines.append(
            f"{plural(report.held_back, 'utterance')} of these splits "
            f"{'has' if report.held_back == 1 else 'have'} labels that are held back: not scored"
            f" ({plural(answered, 'answer')} given)"
        )
    told = "".join(f'<p class="meta">{escape(line)}</p>\n' for line in lines)
    notes = "".join(f"<li>{escape(note)}</li>" for note in card.notes)
    return told + (f'<ul class="notes">{notes}</ul>\n' if notes else "")


def _figure(drawings: Mapping[str, Drawing], name: str, what: str, told: str) -> str:
    """A figure with its caption: what it shows, and its numbers."""
    drawing = drawings[name]
    return (
        f'<figure class="drawn">{inline(drawing.svg, name, f"{what} {told}")}\n'
        f"<figcaption>{escape(what)} {escape(told)} "
        f"<small>In the folder of figures: <code>{name}.svg</code>, <code>{name}.png</code>."
        "</small></figcaption></figure>\n"
    )


def _results(report: Report, drawings: Mapping[str, Drawing]) -> str:
    settings, splits = report.card.settings, report.splits
    told = (
        f"[low, high]: {_level(report)} interval, {settings.bootstrap:,} resamples of groups. "
        if settings.bootstrap
        else "Intervals were left out. "
    )
    if len(splits) == 2:
        told += f"Drop: positive is worse {split_title(splits[1]).lower()}."
    elif len(splits) == 1:
        told += "One split was scored: there is nothing to hold it against."
    what = "The headline of each task, on every split, with its interval."
    return (
        results_table(report)
        + f'<p class="soft">{escape(told)}</p>\n'
        + f'<div class="beside">{_figure(drawings, "results", what, words.results_told(report))}'
        f"<div>{trivial_table(report)}</div></div>\n"
    )


def _level(report: Report) -> str:
    return f"{100 * report.card.settings.level:g} %"


def _metrics(report: Report) -> str:
    parts = []
    used: dict[str, object] = {}
    for task_id, task in report.card.tasks.items():
        used |= task.splits[report.splits[0]].overall.metrics
        parts.append(
            f"<h3>{escape(task.title)} ({task_id.upper()})</h3>\n"
            f"{metrics_table(report, task_id)}{classes_table(task_id, task, report.splits)}"
        )
    used |= dict.fromkeys(("precision", "recall", "f1"))
    return "".join(parts) + (
        f"<details><summary>What these metrics are</summary>{definitions(report, used)}</details>\n"
    )


def _confusion(report: Report) -> str:
    result = result_of(report.card)
    # The tables take the splits in the leaderboard's order: the last one first.
    order = report.splits[::-1]
    matrices = "".join(
        confusion_tables(task_id, task, order) for task_id, task in result.tasks.items()
    )
    names = ", ".join(f"confusion-{task_id}" for task_id in result.tasks)
    return (
        "<p>Counts, and their share of the utterances of the same true class.</p>\n"
        f"{matrices}{_also(names)}"
    )


def _also(names: str) -> str:
    told = "The same as pictures, in the folder of figures"
    return f'<p class="soft"><small>{told}: <code>{names}</code>.</small></p>\n'


def _sources(report: Report, drawings: Mapping[str, Drawing]) -> str:
    result = result_of(report.card)
    heat = heat_map(result, list(result.tasks), report.splits[::-1])
    parts = [heat, _also("sources"), "<h3>The hardest sources</h3>\n"]
    for task_id in report.hardest:
        parts.append(f"<h4>{task_id.upper()}</h4>\n")
        picture = ""
        if f"hardest-{task_id}" in drawings:
            what = "Right answers by source, the fewest first; behind a name, how many utterances."
            told = words.hardest_told(report, task_id)
            picture = _figure(drawings, f"hardest-{task_id}", what, told)
        tables = "".join(hardest_table(report, task_id, split) for split in report.splits)
        parts.append(f'<div class="beside">{picture}<div>{tables}</div></div>\n')
    return "".join(parts)


def _detection(report: Report, drawings: Mapping[str, Drawing]) -> str:
    task = report.card.tasks.get("bin")
    if task is None:
        return "<p>Spoof detection (BIN) was not answered.</p>\n"
    reasons = {split: scored.overall.metrics["eer"].reason for split, scored in task.splits.items()}
    absent = "".join(
        f"<p>{escape(split_title(split))}: n/a, {escape(reason)}.</p>\n"
        for split, reason in reasons.items()
        if reason is not None
    )
    if not report.detection:
        return f"<p>There is no DET curve.</p>\n{absent}"
    if task.threshold_transfer is None:
        told = (
            "No threshold is carried over: that takes scores, and both kinds of speech, on two "
            "splits."
        )
    else:
        told = (
            "A threshold that is fixed in advance meets speech that it was not fixed on. Carried "
            "over is the one at which the two error rates are closest on the first split."
        )
    what = (
        "DET curves, on axes on which normally distributed scores give straight lines; a rate of 0 "
        "stands at the edge."
    )
    derived = (
        "<p>Derived: the score of BIN follows from VQ, AUX and DEC.</p>\n"
        if task.given == "derived"
        else ""
    )
    return (
        f"{derived}{absent}{_figure(drawings, 'det', what, words.detection_told(report))}"
        f"{detection_table(report)}<p>{told}</p>\n"
    )


def _unsure(report: Report) -> str:
    """Which tasks say nothing of probabilities, and why."""
    given = [task_id.upper() for task_id in report.card.tasks if task_id not in report.reliability]
    if not given:
        return ""
    return f"<p>{', '.join(given)}: not shown, as the predictions are {_LABELS_ONLY}.</p>\n"


def _calibration(report: Report, drawings: Mapping[str, Drawing]) -> str:
    if not report.reliability:
        return _unsure(report)
    parts = [calibration_table(report)]
    missing = sum(split.missing for split in report.card.protocol.values())
    if missing:
        parts.append(
            f"<p>{plural(missing, 'utterance')} without a prediction count as the most confident "
            "wrong answer would.</p>\n"
        )
    if report.card.tasks.get("bin") and report.card.tasks["bin"].given == "derived":
        parts.append("<p>The probability of BIN follows from VQ, AUX and DEC.</p>\n")
    for task_id in report.reliability:
        what = (
            f"{task_id.upper()}: how often answers are right, by the probability that they were "
            "given; below the line the system is too sure of itself. Under it, how many."
        )
        told = words.calibration_told(report, task_id)
        parts.append(
            f"<h3>{escape(report.card.tasks[task_id].title)} ({task_id.upper()})</h3>\n"
            f'<div class="beside">{_figure(drawings, f"calibration-{task_id}", what, told)}'
            f"{reliability_table(report, task_id)}</div>\n"
        )
    return "".join(parts) + _unsure(report)


def _errors(report: Report) -> str:
    parts = []
    for task_id, by_split in report.errors.items():
        parts.append(f"<h3>{escape(report.card.tasks[task_id].title)} ({task_id.upper()})</h3>\n")
        for split, found in by_split.items():
            title = escape(split_title(split))
            if not found.wrong:
                parts.append(f"<p>{title}: no wrong answers.</p>\n")
                continue
            parts.append(
                f"<p>{title}: {found.wrong:,} of {plural(found.utterances, 'answer')} "
                f"{'is' if found.wrong == 1 else 'are'} wrong, {found.sure:,} of them given a "
                "probability of at least 0.9.</p>\n"
            )
            if found.most_confident:
                parts.append(errors_table(task_id, split, found))
    return "".join(parts) + _unsure(report)


def _joint(report: Report) -> str:
    if not report.card.joint:
        return "<p>Not shown: that takes answers to all of VQ, AUX and DEC, and spoofs.</p>\n"
    used = next(iter(report.card.joint.values())).metrics
    return joint_table(report) + (
        f"<details><summary>What these shares are</summary>{definitions(report, used)}</details>\n"
    )


def _made(report: Report) -> str:
    card, settings = report.card, report.card.settings
    facts = [
        ("Track", f"{escape(card.track.name)}, version {escape(card.track.version)}"),
        *(
            (
                f"Protocol, {escape(split_title(split).lower())}",
                f"<code>{scored.digest}</code>"
                + (f" published: {escape(scored.published)}" if scored.published else ""),
            )
            for split, scored in card.protocol.items()
        ),
        ("Predictions", f"<code>{card.predictions.digest}</code>"),
        ("Scored", plural(card.predictions.utterances, "utterance")),
        (
            "Left aside",
            f"{plural(card.predictions.left_aside, 'prediction')} of splits that are not scored; "
            f"{plural(card.predictions.held_back, 'answer')} for utterances whose labels are held "
            "back",
        ),
        (
            "Given",
            ", ".join(f"{task_id.upper()}: {task.given}" for task_id, task in card.tasks.items()),
        ),
        (
            "Tasks",
            ", ".join(
                f"{task_id.upper()}, version {escape(task.version)}"
                for task_id, task in card.tasks.items()
            ),
        ),
        (
            "Intervals",
            f"{_level(report)}, {settings.bootstrap:,} resamples of groups, seed {settings.seed}"
            if settings.bootstrap
            else "left out",
        ),
        ("Missing utterances", "scored as wrong" if settings.allow_missing else "refused"),
        ("cfbench", escape(card.cfbench_version)),
    ]
    told = "".join(f"<dt>{title}</dt><dd>{text}</dd>" for title, text in facts)
    return (
        "<p>Digests are SHA-256, of what was scored and not of files. The same predictions, "
        "protocol, settings and version of cfbench give the same numbers.</p>\n"
        f'<dl class="fact">{told}</dl>\n'
    )


def _footer(report: Report) -> str:
    return f"<footer><p>Made by cfbench {escape(report.card.cfbench_version)}.</p></footer>\n"
