"""What a leaderboard shows of a scorecard: what is ranked, and what a system's page has."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

from cfbench.errors import CfbenchError
from cfbench.scorecard import Number, Scorecard, SplitScore
from cfbench.tasks import TASK_IDS, TRACING_IDS

RANKED = {"bin": "eer", **dict.fromkeys(TRACING_IDS, "macro_f1")}
"""The metric by which each task is ranked; tasks of a track's own are not."""


def _in_order(values: dict[str, "TaskResult"]) -> dict[str, "TaskResult"]:
    return {key: values[key] for key in TASK_IDS if key in values}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Value(_Part):
    """A number with its 95 % interval; null with the reason where it is not defined."""

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str | None = None


class SourceResult(_Part):
    """A source's utterances, and the share of them that was answered right."""

    source: str
    subset: str | None
    truth: str | None
    spoofed: int
    bonafide: int
    spoof_accuracy: float | None
    bonafide_accuracy: float | None


class SplitResult(_Part):
    """A task on one split.

    Attributes:
        value: Of the ranked metric.
        trivial: Of the same metric, by trivial predictor.
        support: Utterances of each class.
        answers: The columns of `confusion`.
        confusion: Rows are the classes of `support`.
        sources: A row a source.
    """

    value: Value
    trivial: dict[str, float | None]
    support: dict[str, int]
    answers: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    sources: tuple[SourceResult, ...]


class TaskResult(_Part):
    """A task: `metric` is what it is ranked by; `drop` is how much worse it is out of domain."""

    title: str
    metric: str
    given: str
    splits: dict[str, SplitResult]
    drop: Value | None


class Result(_Part):
    """A system's result on one track; `protocol` gives a split's digest."""

    track: str
    track_version: str
    track_title: str
    protocol: dict[str, str]
    utterances: dict[str, int]
    groups: dict[str, int]
    group_units: dict[str, str]
    tasks: Annotated[dict[str, TaskResult], AfterValidator(_in_order)]


def result_of(card: Scorecard) -> Result:
    """What a leaderboard shows of a scorecard.

    Raises:
        CfbenchError: The scorecard lacks something that every scorecard has.
    """
    try:
        return _result_of(card)
    except KeyError as error:
        raise CfbenchError(
            f"the scorecard lacks {error.args[0]}", "cfbench score --json writes whole ones"
        ) from None


def _result_of(card: Scorecard) -> Result:
    return Result(
        track=card.track.name,
        track_version=card.track.version,
        track_title=card.track.title,
        protocol={name: split.digest for name, split in card.protocol.items()},
        utterances={name: split.utterances for name, split in card.protocol.items()},
        groups={name: split.groups for name, split in card.protocol.items()},
        group_units={name: split.group_unit for name, split in card.protocol.items()},
        tasks={
            task_id: TaskResult(
                title=task.title,
                metric=RANKED[task_id],
                given=task.given,
                splits={
                    name: _split_result(task.splits[name], RANKED[task_id])
                    for name in card.protocol
                },
                drop=None
                if task.drop is None or task.headline != RANKED[task_id]
                else value_of(task.drop.number),
            )
            for task_id, task in card.tasks.items()
            if task_id in RANKED
        },
    )


def _split_result(split: SplitScore, metric: str) -> SplitResult:
    return SplitResult(
        value=value_of(split.overall.metrics[metric]),
        trivial={name: values.get(metric) for name, values in split.trivial.items()},
        support=split.overall.support,
        answers=split.overall.answers,
        confusion=split.overall.confusion,
        sources=tuple(
            SourceResult(
                source=row.source,
                subset=row.subset,
                truth=row.truth,
                spoofed=row.spoofed,
                bonafide=row.utterances - row.spoofed,
                spoof_accuracy=row.spoof_accuracy.value,
                bonafide_accuracy=row.bonafide_accuracy.value,
            )
            for row in split.sources
        ),
    )


def value_of(number: Number) -> Value:
    """A number of a scorecard with its interval over groups."""
    if number.interval is None:
        return Value(value=number.value, reason=number.reason or number.interval_reason)
    return Value(value=number.value, low=number.interval.low, high=number.interval.high)
