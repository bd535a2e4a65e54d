"""A board as the pages' scripts read it: lists instead of records, for a thousand systems."""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from cfbench.errors import plural
from cfbench.leaderboard.build import shown
from cfbench.leaderboard.ranking import Board, Place, Row
from cfbench.leaderboard.results import Result, Value
from cfbench.metrics.catalogue import METRICS

SPLIT_TITLES = {"id": "In domain", "ood": "Out of domain"}

KINDS = ("system", "reference", "trivial")
STATUSES = ("verified", "claimed", "computed")
_BY = {None: 0, "paired": 1, "intervals": 2}

Json = dict[str, Any]

Lines = Mapping[str, Mapping[str | None, Row]]
"""A board's rows by table and slug."""


def lines_of(board: Board) -> Lines:
    """A board's rows by table and slug."""
    return {table.id: {row.slug: row for row in table.rows} for table in board.tables}


def split_title(split: str) -> str:
    """What a split is called on a page."""
    return SPLIT_TITLES.get(split, split)


def facts(board: Board) -> list[str]:
    """What was measured on, a line a split."""
    return [
        f"{split_title(split)}: {plural(board.utterances[split], 'utterance')}, "
        f"{plural(board.groups[split], 'group')}, each a {board.group_units[split]}"
        for split in reversed(board.splits)
    ]


def embedded(data: Json) -> str:
    """JSON that can stand in a script element: nothing in it ends the element."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


def table_data(board: Board) -> Json:
    """What the tables and the plot show.

    A system is a list: slug, name, team, kind, status, whether it learnt from the track's data
    only, parameters, date. A row is the index of its system and a value a split: per cent as
    shown, millionths, place, how it was placed, the interval's ends; or null and a reason's index.
    """
    index: dict[str | None, int] = {}
    systems: list[list[Any]] = []
    for slug, listed in board.systems.items():
        index[slug] = len(systems)
        said = listed.submission.system
        kind = 1 if listed.submission.reference else 0
        status = STATUSES.index(listed.status)
        only = int(said.only_track_data)
        date = said.date.isoformat()
        systems.append([slug, said.name, said.team, kind, status, only, said.parameters, date])
    trivial: dict[str, int] = {}
    reasons: dict[str, int] = {}

    def system_of(row: Row) -> int:
        if row.slug is not None:
            return index[row.slug]
        if row.name not in trivial:
            trivial[row.name] = len(systems)
            systems.append([None, row.name, row.team, 2, 2, 0, None, None])
        return trivial[row.name]

    tables = []
    for table in board.tables:
        rows = [
            [
                system_of(row),
                *(
                    _cell(row.values[split], row.places.get(split), table.metric, reasons)
                    for split in board.splits
                ),
            ]
            for row in table.rows
        ]
        tables.append(
            {
                "id": table.id,
                "title": table.title,
                "metric": METRICS[table.metric].title,
                "higher": table.direction == "higher",
                "rows": rows,
            }
        )
    return {
        "track": board.track,
        "title": board.title,
        "splits": board.splits,
        "names": [split_title(split) for split in board.splits],
        "facts": facts(board),
        "tables": tables,
        "systems": systems,
        "reasons": list(reasons),
        "refused": list(board.refused.items()),
    }


def _cell(value: Value, place: Place | None, metric: str, reasons: dict[str, int]) -> list[Any]:
    if value.value is None:
        return [None, reasons.setdefault(value.reason or "", len(reasons))]
    # What a script shows is rounded here, once: rounding again could show another digit.
    text = shown(value, metric).replace(" [", " ").replace(",", "").rstrip("]")
    numbers = [_number(part) for part in text.split(" ")]
    placed = [None, 0] if place is None else [place.place, _BY[place.by]]
    return [numbers[0], round(1e6 * value.value), *placed, *numbers[1:]]


def _number(text: str) -> float | int:
    number = float(text)
    return int(number) if number.is_integer() else number


def comparison_data(board: Board, tables: Json) -> Json:
    """What two systems are set against each other by: `tables`, of `table_data`, and details.

    `sources` are rows: split, source, 1 for its bona fide utterances and 0 for the spoofed ones,
    how many. `right` gives a system's and a task's right answers in whole per cent, by that row.
    """
    tasks = [table.id for table in board.tables[1:]]
    # Where each source stands, by split and kind of speech.
    known: list[tuple[dict[str, int], dict[str, int]]] = [({}, {}) for _ in board.splits]
    counts: list[int] = []
    found = [
        [_right(listed.result, task, board.splits, known, counts) for task in tasks]
        for listed in board.systems.values()
    ]
    order: list[int] = []
    rows = []
    for position in reversed(range(len(board.splits))):
        there = [
            (at, source, kind) for kind in (0, 1) for source, at in known[position][kind].items()
        ]
        for at, source, kind in sorted(there):
            order.append(at)
            rows.append([position, source, kind, counts[at]])
    return tables | {
        "tasks": tasks,
        "sources": rows,
        "right": [
            [None if one is None else [one.get(at) for at in order] for one in system]
            for system in found
        ],
        "declared": [_declared(board, slug) for slug in board.systems],
    }


def _right(
    result: Result,
    task_id: str,
    splits: Sequence[str],
    known: Sequence[tuple[dict[str, int], dict[str, int]]],
    counts: list[int],
) -> dict[int, int] | None:
    task = result.tasks.get(task_id)
    if task is None:
        return None
    right = {}
    for split, (spoofed, bonafide) in zip(splits, known, strict=True):
        for row in task.splits[split].sources:
            share = row.spoof_accuracy
            if share is not None:
                at = spoofed.setdefault(row.source, len(counts))
                if at == len(counts):
                    counts.append(row.spoofed)
                right[at] = whole_percent(share)
            share = row.bonafide_accuracy
            if share is not None:
                at = bonafide.setdefault(row.source, len(counts))
                if at == len(counts):
                    counts.append(row.bonafide)
                right[at] = whole_percent(share)
    return right


# The shares of so many utterances are few, and they are asked for a hundred thousand times.
@lru_cache(maxsize=65536)
def whole_percent(share: float) -> int:
    """A share in whole per cent, within 0 and 100 whatever a claim says."""
    return min(100, max(0, int(100 * share + 0.5)))


def _declared(board: Board, slug: str) -> list[str | list[str]]:
    listed = board.systems[slug]
    said = listed.submission.system
    return [
        said.team,
        listed.status,
        said.date.isoformat(),
        list(said.training_data),
        "yes" if said.only_track_data else "no",
        said.front_end,
        said.front_end_data,
        "" if said.parameters is None else f"{said.parameters:,}",
        said.preprocessing,
        said.licence,
    ]
