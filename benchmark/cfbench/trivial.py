"""The answers of predictors that know nothing of the audio, as a predictions file.

They are the lines that every scorecard and leaderboard has for comparison (`metrics.trivial`),
written out for each utterance, so that they can be submitted and verified like any system.
"""

import hashlib
from collections.abc import Sequence

import polars as pl

from cfbench.errors import CfbenchError, did_you_mean
from cfbench.metrics.trivial import TITLES
from cfbench.protocol import Protocol
from cfbench.tasks import Task


def trivial_answers(
    protocol: Protocol, predictor: str, splits: Sequence[str] | None = None
) -> pl.DataFrame:
    """What a trivial predictor says of every utterance that may be answered.

    Its classes are those of the utterances whose labels are public. Of an utterance whose labels
    are held back the detector knows no more than others: it calls it a fake.

    Args:
        protocol: Whose utterances.
        predictor: One of `metrics.trivial.TITLES`.
        splits: Which; None for those that the track scores.

    Returns:
        utt_id, a column of labels for each task, and of a detection task the column of its score
        (`bin_bonafide`), so that the equal error rate is defined. The detector, which is a perfect
        one of fakes, answers tracing tasks only.

    Raises:
        CfbenchError: There is no such predictor, or nothing that it could answer.
    """
    if predictor not in TITLES:
        hint = did_you_mean(predictor, list(TITLES))
        raise CfbenchError(
            f"no trivial predictor is called '{predictor}'{hint}", f"there are {', '.join(TITLES)}"
        )
    asked = protocol.only(splits or protocol.scored)
    split = pl.col("split").cast(pl.String)
    known = asked.frame.with_columns(split)
    tasks = protocol.track.asked
    words = [pl.col(task.id).cast(pl.String) for task in tasks]
    rows = pl.concat(
        [
            known.select("utt_id", "split", *words),
            asked.held_back.select(
                "utt_id", split, *(pl.lit(None, pl.String).alias(t.id) for t in tasks)
            ),
        ]
    ).sort("utt_id")
    columns = [_answers(rows, task, predictor) for task in tasks]
    answered = [one for one in columns if one is not None]
    if not answered:
        raise CfbenchError(
            f"{predictor}: answers tracing tasks, and {protocol.track.name} asks none",
            "write majority or uniform",
        )
    return pl.DataFrame([rows["utt_id"], *answered])


def _answers(rows: pl.DataFrame, task: Task, predictor: str) -> pl.Series | None:
    """What is said of one task: numbers of a detection task, labels of the others."""
    names = task.class_names
    detection = task.kind == "detection"
    if predictor == "uniform":
        drawn = [_draw(utt_id, task.id) for utt_id in rows["utt_id"]]
        if detection:
            return pl.Series(task.score_columns[0], drawn, pl.Float64)
        return pl.Series(task.label_column, [names[int(share * len(names))] for share in drawn])
    if task.bonafide is None and predictor == "detector":
        return None
    candidates = names[1:] if predictor == "detector" else names
    most = {
        name: _most_frequent(part[task.id], candidates) for (name,), part in rows.group_by("split")
    }
    said = [most[name] for name in rows["split"]]
    if detection:
        return pl.Series(task.score_columns[0], [float(word == names[1]) for word in said])
    if predictor == "detector":
        pairs = zip(said, rows[task.id], strict=True)
        said = [names[0] if truth == names[0] else fake for fake, truth in pairs]
    return pl.Series(task.label_column, said)


def _most_frequent(truth: pl.Series, candidates: Sequence[str]) -> str:
    """The most frequent class; of several the one that comes first."""
    counts = {name: int((truth == name).sum()) for name in candidates}
    return max(candidates, key=lambda name: counts[name])


def _draw(utt_id: str, task_id: str) -> float:
    """A number in [0, 1) that follows from the utterance's name alone."""
    digest = hashlib.sha256(f"{task_id}\0{utt_id}".encode()).digest()
    return int.from_bytes(digest[:7], "big") / 2**56
