"""Pictures of one system that are tables: confusion matrices and the heat map of sources."""

from collections.abc import Sequence
from functools import lru_cache
from html import escape

from cfbench.leaderboard.page_data import split_title, whole_percent
from cfbench.leaderboard.results import Result, SplitResult, TaskResult

_Source = tuple[str, str, int]
"""A source, the kind of its speech, and how many utterances."""

# The words of a protocol are the same on every page.
_escaped = lru_cache(maxsize=4096)(escape)


def level(percent: int) -> str:
    """The class of a cell's colour: h0 to h10."""
    return f"h{percent // 10}"


def confusion_tables(task_id: str, task: TaskResult, splits: Sequence[str]) -> str:
    """The confusion matrices of a task, one beside the other."""
    tables = [
        _confusion(f"{task_id.upper()}, {split_title(split).lower()}", task.splits[split])
        for split in reversed(splits)
    ]
    return (
        f"<h3>{escape(task.title)} ({task_id.upper()})</h3>\n"
        f'<div class="pair">{"".join(tables)}</div>\n'
    )


def _confusion(title: str, split: SplitResult) -> str:
    rows = []
    for name, counts in zip(split.answers, split.confusion, strict=False):
        total = sum(counts)
        cells = "".join([_count_cell(count, total) for count in counts])
        rows.append(f'<tr><th scope="row">{_escaped(name)}</th>{cells}</tr>')
    heads = "".join(f'<th scope="col">{_escaped(name)}</th>' for name in split.answers)
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="Confusion matrix of {title}">'
        f'<table class="matrix"><caption><span>{title}: rows are the truth, columns the '
        f"answers</span></caption><thead><tr><td></td>{heads}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


# Cells repeat: there are a hundred thousand on a thousand pages.
@lru_cache(maxsize=65536)
def _count_cell(count: int, total: int) -> str:
    percent = whole_percent(count / total) if total else 0
    share = f"<small>{percent} %</small>" if total else ""
    return f'<td class="{level(percent)}">{count:,}{share}</td>'


def heat_map(result: Result, tasks: Sequence[str], splits: Sequence[str]) -> str:
    """The share of right answers, sources by tasks, in whole per cent."""
    heads = "".join(f'<th scope="col">{task_id.upper()}</th>' for task_id in tasks)
    body = []
    for split in reversed(splits):
        body.append(
            f'<tr><th class="part" scope="colgroup" colspan="{1 + len(tasks)}">'
            f"{escape(split_title(split))}</th></tr>"
        )
        body += [
            f"{_source_title(*key)}{''.join(cells)}</tr>"
            for key, cells in _cells(result, split, tasks).items()
        ]
    return (
        '<div class="scroll" role="region" tabindex="0" aria-label="Right answers by source">'
        '<table class="heat"><caption><span>Right answers in %, by codec or generator and task; '
        "beside its name, how many utterances</span></caption>"
        f'<thead><tr><th scope="col">Source</th>{heads}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>\n"
    )


def _cells(result: Result, split: str, tasks: Sequence[str]) -> dict[_Source, list[str]]:
    """A cell a task, by source."""
    rows: dict[_Source, list[str]] = {}
    width = len(tasks)
    for position, task_id in enumerate(tasks):
        for row in result.tasks[task_id].splits[split].sources:
            share = row.spoof_accuracy
            if share is not None:
                cells = rows.setdefault((row.source, "fake", row.spoofed), [_NO_CELL] * width)
                cells[position] = _heat_cell(share, row.truth or "spoof")
            share = row.bonafide_accuracy
            if share is not None:
                cells = rows.setdefault((row.source, "bona fide", row.bonafide), [_NO_CELL] * width)
                cells[position] = _heat_cell(share, "bona fide")
    return rows


_NO_CELL = '<td class="soft">&ndash;</td>'


@lru_cache(maxsize=65536)
def _heat_cell(share: float, truth: str) -> str:
    percent = whole_percent(share)
    return f'<td class="{level(percent)}" title="truth: {escape(truth)}">{percent}</td>'


@lru_cache(maxsize=4096)
def _source_title(source: str, kind: str, count: int) -> str:
    return f'<tr><th scope="row">{escape(source)} <small>{kind}, {count:,}</small></th>'
