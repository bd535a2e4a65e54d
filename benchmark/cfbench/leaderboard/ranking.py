"""Entries, ranked: a table a task and an overall one, with places that are tiers.

Down a table, ordered by value, a system shares the place of the first system of the tier above it
unless the two are told apart: by a paired bootstrap over groups where both have replicates, else by
intervals that do not overlap. The first that is told apart begins the next tier; its place is one
more than the number of systems above it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

import cfbench
from cfbench.errors import CfbenchError
from cfbench.intervals import percentile_interval
from cfbench.leaderboard.entries import Entry, Refused
from cfbench.leaderboard.results import RANKED, Result, Value
from cfbench.metrics.catalogue import METRICS
from cfbench.metrics.trivial import TITLES
from cfbench.numbers import LEAST_REPLICATES
from cfbench.pairing import Difference, Key, Replicated, of_samples
from cfbench.submission import Submission
from cfbench.tasks import TRACING_IDS, Track, load_tasks

OVERALL = "overall"
BIN = "bin"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Place(_Part):
    """Where a system stands on one split.

    Attributes:
        place: 1 is the best; systems that are not told apart share it.
        by: How it was told apart from the first of its tier, or not: "paired", "intervals"; None
            for that first one.
    """

    place: int
    by: Literal["paired", "intervals"] | None


class Row(_Part):
    """A line of a table.

    Attributes:
        slug: The entry; null for a trivial predictor without one.
        name: As shown.
        kind: Reference lines and trivial predictors have no place.
        status: "verified" where the numbers were scored again, "claimed" where not, "computed"
            for a trivial predictor.
        values: A value a split.
        places: A place a split, null where the value is not defined or the line has none.
        detection: In the overall table: EER of spoof detection, a value a split; not ranked there.
    """

    slug: str | None
    name: str
    team: str
    kind: Literal["system", "reference", "trivial"]
    status: Literal["verified", "claimed", "computed"]
    values: dict[str, Value]
    places: dict[str, Place | None]
    detection: dict[str, Value] = {}


class Table(_Part):
    """Systems in order: the best out of domain first, lines for comparison among them."""

    id: str
    title: str
    metric: str
    direction: Literal["higher", "lower"]
    rows: tuple[Row, ...]


class Listed(_Part):
    """A system of the leaderboard: what it says of itself, and its result."""

    submission: Submission
    status: Literal["verified", "claimed"]
    why: str
    result: Result


class Board(_Part):
    """The leaderboard of one track.

    Attributes:
        splits: The scored splits; the last one orders the tables.
        protocol: A digest a split: results on other protocols are not ranked.
        tables: "overall", then a table a task.
        systems: By slug.
        refused: Entries that are not ranked: slug and reason.
    """

    schema_version: Literal["1"] = "1"
    cfbench_version: str
    track: str
    track_version: str
    title: str
    splits: tuple[str, ...]
    utterances: dict[str, int]
    groups: dict[str, int]
    group_units: dict[str, str]
    protocol: dict[str, str]
    tables: tuple[Table, ...]
    systems: dict[str, Listed]
    refused: dict[str, str]

    def to_json(self) -> str:
        """The board as JSON; the same board has the same bytes."""
        import json

        data = self.model_dump(mode="json")
        return json.dumps(data, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


@dataclass(frozen=True, eq=False)
class _Standing:
    """A system in one table: a value and, where they are there, replicates a split."""

    entry: Entry
    values: Mapping[str, Value]
    samples: Mapping[str, np.ndarray]
    points: Mapping[str, float]


def rank(entries: Sequence[Entry], refused: Sequence[Refused], track: Track) -> Board:
    """Rank the entries of one track.

    Args:
        entries: Of any tracks; only those of `track` and its version are ranked.
        refused: Listed, not ranked.
        track: The track.

    Raises:
        CfbenchError: There are no entries of the track, or it asks nothing that is ranked.
    """
    if not set(track.tasks) & set(RANKED):
        raise CfbenchError(
            f"{track.name} asks {', '.join(track.tasks)}, which a leaderboard does not rank",
            f"it ranks {', '.join(RANKED)}; cfbench compare sets two systems side by side",
        )
    of_track = [entry for entry in entries if entry.result.track == track.name]
    if not of_track:
        raise CfbenchError(
            f"there are no submissions of {track.name}",
            "cfbench submit makes one; --track names another track",
        )
    told = {one.slug: one.problems[0].message for one in refused}
    protocol = _protocol(of_track, track)
    ranked = []
    for entry in of_track:
        slug = entry.submission.slug
        if entry.result.track_version != track.version:
            told[slug] = f"is of version {entry.result.track_version}, not {track.version}"
        elif entry.result.protocol != protocol:
            told[slug] = "was scored on another protocol"
        else:
            ranked.append(entry)
    if not ranked:
        raise CfbenchError(
            f"no submission of {track.name} can be ranked: {next(iter(told.items()))}",
            "cfbench verify says more",
        )
    first = ranked[0].result
    tables = [_table(OVERALL, ranked, track)]
    tables += [
        _table(task_id, ranked, track) for task_id in (*TRACING_IDS, BIN) if task_id in track.tasks
    ]
    return Board(
        cfbench_version=cfbench.__version__,
        track=track.name,
        track_version=track.version,
        title=track.title,
        splits=track.scored,
        utterances=first.utterances,
        groups=first.groups,
        group_units=first.group_units,
        protocol=protocol,
        tables=tuple(tables),
        systems={
            entry.submission.slug: Listed(
                submission=entry.submission,
                status=entry.status,
                why=entry.why,
                result=entry.result,
            )
            for entry in sorted(ranked, key=lambda entry: entry.submission.slug)
        },
        refused=dict(sorted(told.items())),
    )


def _protocol(entries: Sequence[Entry], track: Track) -> dict[str, str]:
    """The protocol that the board is of: the verifier's own; else a published one; else most."""
    published = [
        entry.result.protocol
        for entry in entries
        if all(track.published_name(s, digest) for s, digest in entry.result.protocol.items())
    ]
    verified = [entry.result.protocol for entry in entries if entry.status == "verified"]
    candidates = verified or published or [entry.result.protocol for entry in entries]
    counted = Counter(tuple(sorted(found.items())) for found in candidates)
    most = max(counted.values())
    return dict(min(found for found, count in counted.items() if count == most))


def _table(table: str, entries: Sequence[Entry], track: Track) -> Table:
    metric = RANKED.get(table, "macro_f1")
    splits = track.scored
    found = [
        _overall(entry, splits) if table == OVERALL else _of_task(entry, table, splits)
        for entry in entries
    ]
    standings = [standing for standing in found if standing is not None]
    rows: list[Row] = []
    if standings:
        higher = METRICS[metric].direction == "higher"
        places = {split: _places(standings, split, splits, higher) for split in splits}
        for standing in standings:
            slug = standing.entry.submission.slug
            found_places = {split: places[split].get(slug) for split in splits}
            detection = _detection(standing.entry, splits) if table == OVERALL else {}
            rows.append(_row(standing, found_places, detection))
        # Nobody but the keepers stands in for a trivial predictor.
        there = {row.slug for row in rows if row.kind == "reference"}
        rows += _trivial_rows(table, standings[0].entry.result, splits, there)
        rows.sort(key=lambda row: (_order(row, splits, higher), row.slug or row.name))
    title = "Overall" if table == OVERALL else load_tasks()[table].title
    return Table(
        id=table, title=title, metric=metric, direction=METRICS[metric].direction, rows=tuple(rows)
    )


def _detection(entry: Entry, splits: Sequence[str]) -> dict[str, Value]:
    task = entry.result.tasks.get(BIN)
    if task is None:
        return {split: Value(value=None, reason="not answered") for split in splits}
    return {split: task.splits[split].value for split in splits}


def _row(
    standing: _Standing, places: Mapping[str, Place | None], detection: dict[str, Value]
) -> Row:
    submission = standing.entry.submission
    return Row(
        slug=submission.slug,
        name=submission.system.name,
        team=submission.system.team,
        kind="reference" if submission.reference else "system",
        status=standing.entry.status,
        values=dict(standing.values),
        places=dict(places),
        detection=detection,
    )


def _order(row: Row, splits: Sequence[str], higher: bool) -> tuple[tuple[bool, float], ...]:
    """Best first by the last split, then by the one before it; undefined comes last."""
    ordered = []
    for split in reversed(splits):
        value = row.values[split].value
        signed = 0.0 if value is None else (-value if higher else value)
        ordered.append((value is None, signed))
    return tuple(ordered)


def _of_task(entry: Entry, task_id: str, splits: Sequence[str]) -> _Standing | None:
    task = entry.result.tasks.get(task_id)
    if task is None:
        return None
    samples, points = {}, {}
    for split in splits:
        found = _samples(entry.replicates, Key(task_id, split, RANKED[task_id]))
        if found is not None:
            points[split], samples[split] = found
    return _Standing(entry, {s: task.splits[s].value for s in splits}, samples, points)


def _overall(entry: Entry, splits: Sequence[str]) -> _Standing:
    """The mean of the three tracing tasks; undefined unless all three are answered."""
    values, samples, points = {}, {}, {}
    tasks = [entry.result.tasks.get(task_id) for task_id in TRACING_IDS]
    for split in splits:
        single = [None if task is None else task.splits[split].value.value for task in tasks]
        defined = [value for value in single if value is not None]
        if len(defined) < len(single):
            lacking = [t for t, value in zip(TRACING_IDS, single, strict=True) if value is None]
            values[split] = Value(value=None, reason=f"{', '.join(lacking)} not defined")
            continue
        mean = sum(defined) / len(defined)
        keys = [Key(task_id, split, RANKED[task_id]) for task_id in TRACING_IDS]
        found = [_samples(entry.replicates, key) for key in keys]
        if any(one is None for one in found):
            values[split] = Value(value=mean, reason="its predictions were not at hand")
            continue
        # One resample gives a replicate of every task, so their mean is one of the mean.
        together = np.mean([one[1] for one in found if one is not None], axis=0)
        samples[split], points[split] = together, mean
        interval = percentile_interval(together)
        if interval is None or interval.replicates < LEAST_REPLICATES:
            values[split] = Value(value=mean, reason="too few groups to resample")
        else:
            low, high = (round(end, 9) + 0.0 for end in interval[:2])
            values[split] = Value(value=mean, low=low, high=high)
    return _Standing(entry, values, samples, points)


def _samples(replicates: Replicated | None, key: Key) -> tuple[float, np.ndarray] | None:
    if replicates is None:
        return None
    column = replicates.column(key)
    if column is None:
        return None
    return float(replicates.point[replicates.keys.index(key)]), column.astype(np.float64)


def _places(
    standings: Iterable[_Standing], split: str, splits: Sequence[str], higher: bool
) -> dict[str, Place | None]:
    """The places of those that have one: systems with a defined value."""
    # The split itself first, the others decide between equal values.
    others = [name for name in reversed(splits) if name != split]

    def order(standing: _Standing) -> tuple[object, ...]:
        found = []
        for name in (split, *others):
            value = standing.values[name].value
            found.append((value is None, 0.0 if value is None else (-value if higher else value)))
        return (*found, standing.entry.submission.slug)

    ranked = [
        standing
        for standing in sorted(standings, key=order)
        if standing.values[split].value is not None and not standing.entry.submission.reference
    ]
    places: dict[str, Place | None] = {}
    leader: _Standing | None = None
    tier = 1
    for above, standing in enumerate(ranked):
        by: Literal["paired", "intervals"] | None = None
        if leader is None:
            leader = standing
        else:
            apart, by = _told_apart(leader, standing, split)
            if apart:
                leader, tier, by = standing, above + 1, None
        places[standing.entry.submission.slug] = Place(place=tier, by=by)
    return places


def _told_apart(
    one: _Standing, two: _Standing, split: str
) -> tuple[bool, Literal["paired", "intervals"]]:
    if split in one.samples and split in two.samples:
        found: Difference = of_samples(
            one.points[split] - two.points[split], one.samples[split] - two.samples[split]
        )
        return found.told_apart, "paired"
    first, second = one.values[split], two.values[split]
    if first.low is None or second.low is None or first.high is None or second.high is None:
        return False, "intervals"
    return first.low > second.high or second.low > first.high, "intervals"


def _trivial_rows(
    table: str, result: Result, splits: Sequence[str], there: set[str | None]
) -> list[Row]:
    """What knows nothing of the audio, where no entry stands for it."""
    rows = []
    for name, title in TITLES.items():
        if f"trivial-{name}" in there:
            continue
        values = {}
        for split in splits:
            tasks = TRACING_IDS if table == OVERALL else (table,)
            single = [
                result.tasks[task_id].splits[split].trivial.get(name)
                for task_id in tasks
                if task_id in result.tasks
            ]
            defined = [value for value in single if value is not None]
            mean = sum(defined) / len(tasks) if len(defined) == len(tasks) else None
            values[split] = Value(value=mean, reason="expected value; not resampled")
        if any(value.value is not None for value in values.values()):
            rows.append(
                Row(
                    slug=None,
                    name=title,
                    team="",
                    kind="trivial",
                    status="computed",
                    values=values,
                    places=dict.fromkeys(splits),
                )
            )
    return rows
