"""What a report shows: a scorecard, and what only the answers themselves can say. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from cfbench.answers import GivenAnswers, SplitData
from cfbench.intervals import fixed_point_sums
from cfbench.pairing import aligned_splits
from cfbench.predictions import Predictions
from cfbench.protocol import Protocol
from cfbench.report.curves import Detection, Reliability, detection_of, reliability_of
from cfbench.scorecard import Number, Scorecard, SplitScore
from cfbench.scoring import score

HARDEST = 10
"""How many sources are named as the hardest, a task and split."""

_SURE = 0.9


@dataclass(frozen=True)
class ConfidentError:
    """An utterance that was answered wrong.

    Attributes:
        utt_id: Which.
        source: The codec or generator that made it.
        truth: Its class.
        answer: What was said of it.
        probability: That the system gave its answer.
        of_truth: That it gave the truth.
    """

    utt_id: str
    source: str
    truth: str
    answer: str
    probability: float
    of_truth: float


@dataclass(frozen=True)
class Errors:
    """The wrong answers of one task on one split.

    Attributes:
        wrong: How many there are; utterances without a prediction are not among them.
        sure: How many of them were given a probability of at least 0.9.
        utterances: How many were answered.
        most_confident: The first few, the most confident first.
    """

    wrong: int
    sure: int
    utterances: int
    most_confident: tuple[ConfidentError, ...]


@dataclass(frozen=True)
class HardSource:
    """A source's spoofs, or its bona fide clips, and the share of them that is answered right."""

    source: str
    bonafide: bool
    truth: str
    utterances: int
    groups: int
    accuracy: Number


@dataclass(frozen=True, eq=False)
class Report:
    """Everything that a report's page and figures show.

    Attributes:
        name: Of the system.
        card: Its scorecard.
        held_back: How many utterances of the scored splits have labels that are held back.
        detection: By split, where spoof detection has scores.
        reliability: By task and split, where there are probabilities.
        errors: By task and split, where there are probabilities.
        hardest: By task and split.
    """

    name: str
    card: Scorecard
    held_back: int
    detection: Mapping[str, Detection]
    reliability: Mapping[str, Mapping[str, Reliability]]
    errors: Mapping[str, Mapping[str, Errors]]
    hardest: Mapping[str, Mapping[str, tuple[HardSource, ...]]]

    @property
    def splits(self) -> tuple[str, ...]:
        """The scored splits, in domain first."""
        return tuple(self.card.protocol)


def report_of(
    name: str,
    predictions: Predictions,
    protocol: Protocol,
    splits: Sequence[str] | None = None,
    allow_missing: bool = False,
    bootstrap: int = 1000,
    seed: int = 0,
    errors: int = 10,
) -> Report:
    """Score predictions, and gather what a report shows of them.

    Args:
        name: What the system is called.
        predictions: Checked; their ids are unique.
        protocol: What is true.
        splits: None for those that the track scores.
        allow_missing: Score utterances without a prediction as wrong.
        bootstrap: Resamples for intervals; 0 leaves intervals out.
        seed: Of the resamples.
        errors: How many of the most confident errors are named, a task and split.

    Raises:
        CfbenchError: Utterances are missing or surplus, or there is nothing to score.
    """
    card = score(predictions, protocol, splits, allow_missing, bootstrap, seed)
    scored = list(card.protocol)
    asked = protocol.only(scored)
    detection: dict[str, Detection] = {}
    reliability: dict[str, dict[str, Reliability]] = {}
    found: dict[str, dict[str, Errors]] = {}
    for data in aligned_splits(predictions, protocol, scored, allow_missing):
        curve = detection_of(data)
        if curve is not None:
            detection[data.name] = curve
        # The order of the arrays is that of the protocol's rows: of those that a task is asked of.
        rows = asked.split(data.name)
        for task_id in data.answered:
            part = data.of_task(task_id)
            given = part.answers[task_id]
            ids = rows["utt_id"].filter(rows[task_id].is_not_null()) if part is not data else None
            bins = reliability_of(given.decided)
            wrong = most_confident_errors(
                part, given, rows["utt_id"] if ids is None else ids, errors
            )
            if bins is not None and wrong is not None:
                reliability.setdefault(task_id, {})[data.name] = bins
                found.setdefault(task_id, {})[data.name] = wrong
    return Report(
        name=name,
        card=card,
        held_back=asked.held_back.filter(pl.col("split").is_in(scored)).height,
        detection=detection,
        reliability=reliability,
        errors=found,
        hardest={
            task_id: {split: hardest_sources(part) for split, part in task.splits.items()}
            for task_id, task in card.tasks.items()
        },
    )


def most_confident_errors(
    data: SplitData, given: GivenAnswers, utt_ids: pl.Series, most: int
) -> Errors | None:
    """The wrong answers that a system was surest of; equally sure ones by their ids.

    Args:
        data: The split.
        given: One task's answers to it.
        utt_ids: Of the split's utterances, in the order of `data`.
        most: How many to name.

    Returns:
        None where only labels were given: then nothing says how sure the system was.
    """
    decided = given.decided
    if decided.losses is None:
        return None
    answered = decided.codes < decided.n_classes
    wrong = np.flatnonzero(answered & (decided.codes != decided.truth))
    # 1[right] - confidence is kept of each answer, in fixed point.
    confidence = -_plain(decided.losses.surplus[wrong])
    order = np.lexsort((wrong, -confidence))[:most]
    named = []
    words = given.task.class_names
    of_truth = np.exp(-_plain(decided.losses.log_loss[wrong[order]]))
    for at, truth_probability in zip(order, of_truth, strict=True):
        row = int(wrong[at])
        named.append(
            ConfidentError(
                utt_id=utt_ids[row],
                source=data.source_names[data.sources[row]],
                truth=words[decided.truth[row]],
                answer=words[decided.codes[row]],
                probability=float(confidence[at]),
                of_truth=float(truth_probability),
            )
        )
    return Errors(
        wrong=wrong.size,
        # What lies below by no more than fixed point rounds off is as good as there.
        sure=int((confidence >= _SURE - 1e-9).sum()),
        utterances=int(answered.sum()),
        most_confident=tuple(named),
    )


def _plain(fixed: np.ndarray) -> np.ndarray:
    """Values in fixed point as ordinary numbers, each by itself."""
    return fixed_point_sums(fixed, np.arange(fixed.size), fixed.size)


def hardest_sources(scored: SplitScore, most: int = HARDEST) -> tuple[HardSource, ...]:
    """The sources that are answered right least often, spoofs and bona fide clips apart.

    Those whose every utterance is answered right are not hard, and not among them.

    Args:
        scored: A task on a split.
        most: How many to name.
    """
    rows = []
    for row in scored.sources:
        bonafide = row.utterances - row.spoofed
        for is_bonafide, count, number, truth in (
            (False, row.spoofed, row.spoof_accuracy, row.truth or ""),
            (True, bonafide, row.bonafide_accuracy, "bona fide"),
        ):
            if number.value is not None and number.value < 1:
                rows.append(HardSource(row.source, is_bonafide, truth, count, row.groups, number))
    return tuple(sorted(rows, key=_hardness)[:most])


def _hardness(row: HardSource) -> tuple[float, str, bool]:
    assert row.accuracy.value is not None  # noqa: S101 - only those are named
    return row.accuracy.value, row.source, row.bonafide
