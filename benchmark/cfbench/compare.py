"""Two systems on one protocol: how much they differ, whether that is more than chance, and where.

Intervals and p-values are of the paired bootstrap over groups (`pairing`); p-values are corrected
over the tasks of a split by Holm's method.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from cfbench.answers import GivenAnswers, SplitData
from cfbench.errors import CfbenchError
from cfbench.metrics import confusion as decisions
from cfbench.metrics.catalogue import METRICS
from cfbench.pairing import (
    REPLICATES,
    SIGNIFICANCE,
    Difference,
    Key,
    Replicated,
    aligned_splits,
    difference,
    holm,
    replicated_splits,
)
from cfbench.predictions import Predictions
from cfbench.protocol import Protocol

SHOWN_SOURCES = 5
"""How many sources are named where two systems differ most."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Agreement(_Part):
    """How often two systems say the same, and who is right; shares of all utterances.

    Attributes:
        same: The same answer, right or wrong.
        kappa: Cohen's, agreement beyond chance; null where both always say one thing.
        both_right: Both are right. `only_a`: A alone is. `only_b`: B alone. `neither`: none.
    """

    same: float
    kappa: float | None
    both_right: float
    only_a: float
    only_b: float
    neither: float


class PartDifference(_Part):
    """A part of a split: a class or a source. `difference` is A less B."""

    name: str
    utterances: int
    a: float | None
    b: float | None
    difference: float | None


class TaskDifference(_Part):
    """One task on one split.

    Attributes:
        metric: What is compared; `direction` says which way is better.
        difference: A less B, with its 95 % interval `low` to `high`.
        p: Two-sided; `p_holm` is corrected over the tasks of the split.
        better: Which of the two is better by more than resampling the groups explains.
        reason: Why something is null.
        classes: F1 a class.
        sources: Share of right answers; those with the largest differences first.
    """

    task: str
    split: str
    metric: str
    direction: Literal["higher", "lower"]
    a: float | None
    b: float | None
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    p_holm: float | None
    better: Literal["a", "b"] | None
    reason: str | None
    agreement: Agreement
    classes: tuple[PartDifference, ...]
    sources: tuple[PartDifference, ...]


class Comparison(_Part):
    """Two systems, compared."""

    schema_version: Literal["1"] = "1"
    track: str
    track_version: str
    protocol: dict[str, str]
    groups: dict[str, int]
    replicates: int
    seed: int
    tasks: tuple[TaskDifference, ...]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]


def compare(
    a: Predictions,
    b: Predictions,
    protocol: Protocol,
    splits: Sequence[str] | None = None,
    allow_missing: bool = False,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Comparison:
    """Compare two systems on every task that both answer.

    Args:
        a: The first system's predictions.
        b: The second one's.
        protocol: What is true.
        splits: None for those that the track scores.
        allow_missing: Count utterances without a prediction as wrong.
        replicates: Resamples of the groups.
        seed: Of the resamples.

    Raises:
        CfbenchError: Utterances are missing or surplus, or there is no task that both answer.
    """
    of_a, of_b = (aligned_splits(p, protocol, splits, allow_missing) for p in (a, b))
    values_a, values_b = (
        replicated_splits(p, protocol, aligned, replicates, seed)
        for p, aligned in ((a, of_a), (b, of_b))
    )
    found: list[TaskDifference] = []
    answered_a, answered_b = ({t for d in data for t in d.answered} for data in (of_a, of_b))
    if not answered_a & answered_b:
        raise CfbenchError(
            f"no task is answered by both: {', '.join(a.kinds)} and {', '.join(b.kinds)}",
            "compare systems that answer the same task",
        )
    for one, two in zip(of_a, of_b, strict=True):
        both = [task_id for task_id in one.answered if task_id in two.answered]
        rows = []
        for task_id in both:
            task = protocol.track.known_tasks[task_id]
            key = Key(task_id, one.name, task.headline_for_labels)
            with_scores = key._replace(metric=task.headline)
            if with_scores in values_a.keys and with_scores in values_b.keys:
                key = with_scores
            rows.append((key, difference(values_a, values_b, key)))
        tested = [told.p for _, told in rows if told.p is not None]
        corrected = iter(holm(tested))
        for key, told in rows:
            p_holm = None if told.p is None else next(corrected)
            found.append(
                _task_difference(
                    key,
                    told,
                    p_holm,
                    (_at(values_a, key), _at(values_b, key)),
                    one.of_task(key.task),
                    two.of_task(key.task),
                )
            )
    asked = protocol.only([data.name for data in of_a])
    return Comparison(
        track=protocol.track.name,
        track_version=protocol.track.version,
        protocol={data.name: asked.digests[data.name] for data in of_a},
        groups={data.name: data.n_groups for data in of_a},
        replicates=replicates,
        seed=seed,
        tasks=tuple(found),
        only_a=tuple(sorted(answered_a - answered_b)),
        only_b=tuple(sorted(answered_b - answered_a)),
    )


def _at(values: Replicated, key: Key) -> float | None:
    value = float(values.point[values.keys.index(key)]) if key in values.keys else np.nan
    return None if np.isnan(value) else value


def _task_difference(
    key: Key,
    told: Difference,
    p_holm: float | None,
    values: tuple[float | None, float | None],
    one: SplitData,
    two: SplitData,
) -> TaskDifference:
    direction = METRICS[key.metric].direction
    better: Literal["a", "b"] | None = None
    if told.value is not None and p_holm is not None and p_holm < SIGNIFICANCE:
        better = "a" if (told.value > 0) == (direction == "higher") else "b"
    given, other = one.answers[key.task], two.answers[key.task]
    return TaskDifference(
        task=key.task,
        split=key.split,
        metric=key.metric,
        direction=direction,
        a=values[0],
        b=values[1],
        difference=told.value,
        low=told.low,
        high=told.high,
        p=told.p,
        p_holm=p_holm,
        better=better,
        reason=told.reason,
        agreement=_agreement(given, other),
        classes=_classes(given, other),
        sources=_sources(given, other, one),
    )


def _agreement(one: GivenAnswers, two: GivenAnswers) -> Agreement:
    truth, said, also = one.decided.truth, one.decided.codes, two.decided.codes
    right, too = said == truth, also == truth
    same = float((said == also).mean())
    n_answers = one.decided.n_classes + 1
    shares = [np.bincount(codes, minlength=n_answers) / truth.size for codes in (said, also)]
    chance = float((shares[0] * shares[1]).sum())
    return Agreement(
        same=same,
        kappa=None if chance >= 1 else (same - chance) / (1 - chance),
        both_right=float((right & too).mean()),
        only_a=float((right & ~too).mean()),
        only_b=float((~right & too).mean()),
        neither=float((~right & ~too).mean()),
    )


def _classes(one: GivenAnswers, two: GivenAnswers) -> tuple[PartDifference, ...]:
    scores = []
    for given in (one, two):
        decided = given.decided
        matrix = np.zeros((decided.n_classes, decided.n_classes + 1))
        np.add.at(matrix, (decided.truth, decided.codes), 1.0)
        scores.append(decisions.f1(matrix))
        support = decisions.support(matrix)
    return tuple(
        _part(name, int(support[index]), float(scores[0][index]), float(scores[1][index]))
        for index, name in enumerate(one.task.class_names)
        if support[index]
    )


def _sources(one: GivenAnswers, two: GivenAnswers, data: SplitData) -> tuple[PartDifference, ...]:
    rights = [given.decided.codes == given.decided.truth for given in (one, two)]
    n = data.utterances_of_source
    shares = [np.bincount(data.sources[right], minlength=n.size) / n for right in rights]
    parts = [
        _part(name, int(n[index]), float(shares[0][index]), float(shares[1][index]))
        for index, name in enumerate(data.source_names)
    ]
    return tuple(sorted(parts, key=lambda part: (-abs(part.difference or 0.0), part.name)))


def _part(name: str, utterances: int, a: float, b: float) -> PartDifference:
    first, second = (None if np.isnan(value) else value for value in (a, b))
    both = first is not None and second is not None
    return PartDifference(
        name=name,
        utterances=utterances,
        a=first,
        b=second,
        difference=a - b if both else None,
    )
