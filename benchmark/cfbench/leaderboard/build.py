"""From a folder of submissions to a ranked board, and from a board to files."""

import csv
import gc
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cfbench.content import DEFAULT_TRACK
from cfbench.errors import CfbenchError
from cfbench.leaderboard.entries import Verify, read_entries
from cfbench.leaderboard.ranking import OVERALL, Board, Place, Row, Table, rank
from cfbench.leaderboard.results import Value
from cfbench.metrics.catalogue import METRICS
from cfbench.tasks import Track, find_track


def build(
    folder: Path, verify: Verify | None, track: str | None = None, again: bool = False
) -> list[Board]:
    """Rank the submissions of a folder.

    Args:
        folder: A folder an entry, and `verified/`.
        verify: Verifies entries that have no receipt; None takes them as claimed.
        track: Of this track only: a name, or the path of a track file; None for every track that
            has entries.
        again: Verify all entries, whether they have a receipt or not.

    Returns:
        A board a track, the default track first.

    Raises:
        CfbenchError: There is nothing to rank.
    """
    with _uncollected():
        return _build(folder, verify, track, again)


@contextmanager
def _uncollected() -> Iterator[None]:
    # A thousand receipts are a million objects without a circle among them: looking for circles
    # again and again would take a third of the time.
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _build(folder: Path, verify: Verify | None, track: str | None, again: bool) -> list[Board]:
    entries, refused = read_entries(folder, verify, again)
    if track is not None:
        return [rank(entries, refused, find_track(track))]
    names = sorted(
        {e.result.track for e in entries}, key=lambda name: (name != DEFAULT_TRACK, name)
    )
    if not names:
        told = [f"{one.slug}: {problem}" for one in refused for problem in one.problems[:1]]
        raise CfbenchError(
            f"{folder}: no submissions that can be ranked" + (f"; {told[0]}" if told else ""),
            "cfbench submit makes one",
        )
    return [rank(entries, refused, _known(name)) for name in names]


def _known(name: str) -> Track:
    if name.endswith(".toml"):
        raise CfbenchError(f"a submission names '{name}' as its track", "tracks go by name")
    return find_track(name)


def shown(value: Value, metric: str) -> str:
    """A value and its interval as tables show them: percentages with one digit."""
    if value.value is None:
        return "n/a"
    text = _percent(value.value)
    if value.low is None or value.high is None:
        return text
    return f"{text} [{_percent(value.low)}, {_percent(value.high)}]"


def _percent(value: float) -> str:
    text = f"{100 * value:.1f}"
    return text.removeprefix("-") if float(text) == 0 else text


def shown_place(place: Place | None) -> str:
    """A place as tables show it; `*` where intervals decided."""
    if place is None:
        return ""
    return f"{place.place}{'*' if place.by == 'intervals' else ''}"


def column_title(table: Table) -> str:
    """The metric of a table and which way is better."""
    arrow = "↑" if table.direction == "higher" else "↓"
    return f"{METRICS[table.metric].title} (%) {arrow}"


def to_markdown(board: Board) -> str:
    """The tables in Markdown; names of others cannot become markup."""
    lines = [f"# {_markdown(board.title)}", ""]
    lines += [f"Track {board.track}, version {board.track_version}."]
    for split in board.splits:
        lines += [
            f"{split}: {board.utterances[split]:,} utterances, {board.groups[split]:,} groups "
            f"({_markdown(board.group_units[split])}), protocol {board.protocol[split][:12]}."
        ]
    for table in board.tables:
        lines += ["", f"## {table.title}: {column_title(table)}", ""]
        titles = header(table, board.splits)
        lines += ["| " + " | ".join(titles) + " |", "|" + " --- |" * len(titles)]
        for row in table.rows:
            escaped = [_markdown(cell) for cell in cells(row, table, board.splits)]
            lines += ["| " + " | ".join(escaped) + " |"]
    lines += ["", *legend(board)]
    if board.refused:
        lines += ["", "## Not ranked", ""]
        lines += [f"- {_markdown(slug)}: {_markdown(why)}" for slug, why in board.refused.items()]
    return "\n".join(lines) + "\n"


def legend(board: Board) -> list[str]:
    """What a reader of the tables has to know."""
    lines = [
        "[low, high]: 95 % interval over resampled groups. Places are tiers by the last split: two "
        "systems share one unless a paired bootstrap over groups tells them apart (p < 0.05).",
        "Lines without a place are there for comparison: trivial predictors know nothing of the "
        "audio.",
    ]
    marks = [p.by for t in board.tables for r in t.rows for p in r.places.values() if p is not None]
    if "intervals" in marks:
        lines.append("* The predictions were not at hand: placed by whether intervals overlap.")
    if any(listed.status == "claimed" for listed in board.systems.values()):
        lines.append("Claimed: the numbers are the submission's own and were not scored again.")
    return lines


def header(table: Table, splits: Sequence[str]) -> list[str]:
    """The titles of a table's columns."""
    values = list(reversed(splits))
    detection = [f"EER {split} ↓" for split in values] if table.id == OVERALL else []
    return ["Place", "System", "Team", *values, *detection, "Status"]


def cells(row: Row, table: Table, splits: Sequence[str]) -> list[str]:
    """A line of a table; names are as they were given and have to be escaped."""
    order = list(reversed(splits))
    values = [shown(row.values[split], table.metric) for split in order]
    if table.id == OVERALL:
        values += [shown(row.detection[s], "eer") if s in row.detection else "" for s in order]
    kind = row.kind if row.kind == "reference" else ""
    status = ", ".join(word for word in (row.status, kind) if word)
    return [shown_place(row.places.get(splits[-1])), row.name, row.team, *values, status]


def _markdown(text: str) -> str:
    """Text of others in Markdown: no markup, no link, no line of its own."""
    flat = " ".join(text.split())
    return "".join(
        f"\\{c}" if c in "\\`*_{}[]()<>#+-!|~&:@" and not c.isspace() else c for c in flat
    )


def to_csv(board: Board) -> str:
    """Every table in one CSV, a row a table and system and split."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(
        ["track", "table", "metric", "split", "place", "placed_by", "slug", "system", "team",
         "kind", "status", "value", "low", "high", "reason"]
    )  # fmt: skip
    for table in board.tables:
        for row in table.rows:
            for split, value in row.values.items():
                place = row.places.get(split)
                writer.writerow(
                    [
                        board.track,
                        table.id,
                        table.metric,
                        split,
                        "" if place is None else place.place,
                        "" if place is None else place.by or "",
                        row.slug or "",
                        inert(row.name),
                        inert(row.team),
                        row.kind,
                        row.status,
                        *(
                            "" if n is None else repr(n)
                            for n in (value.value, value.low, value.high)
                        ),
                        inert(value.reason or ""),
                    ]
                )
    return buffer.getvalue()


def inert(text: str) -> str:
    """Text of others for a spreadsheet: what would begin a formula gets an apostrophe."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r", "|", "%") else text
