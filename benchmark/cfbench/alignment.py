"""Which prediction belongs to which utterance; nothing is dropped, nothing is guessed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from cfbench.errors import Problem, did_you_mean, name_some, plural
from cfbench.predictions import Predictions
from cfbench.protocol import Protocol


@dataclass(frozen=True, eq=False)
class Alignment:
    """Predictions in the order of a protocol.

    Attributes:
        rows: int32, (utterances of the scored splits,): the prediction's row, or -1.
        missing: How many utterances have no prediction.
        left_aside: How many predictions are of splits that were not asked for.
        held_back: How many are of utterances whose labels are held back, in any split.
        problems: Missing and surplus utterances, and tasks that the track does not ask.
    """

    rows: np.ndarray
    missing: int
    left_aside: int
    held_back: int
    problems: tuple[Problem, ...]


def align(
    predictions: Predictions,
    protocol: Protocol,
    splits: Sequence[str],
    allow_missing: bool = False,
) -> Alignment:
    """Find the prediction of every utterance of some splits.

    Args:
        predictions: With unique ids.
        protocol: All that is known of the track; predictions of its other splits are left aside.
        splits: What is to be scored.
        allow_missing: Utterances without a prediction are no problem.
    """
    utterances = protocol.frame.select("utt_id", "split")
    ids = predictions.frame.select("utt_id").with_row_index("row")
    if ids["utt_id"].null_count() or (ids["utt_id"].str.len_bytes() == 0).any():
        # Empty ids are a problem of the file, and reported as such.
        ids = ids.filter(pl.col("utt_id").str.strip_chars() != "")
    joined = utterances.lazy().join(ids.lazy(), on="utt_id", how="left", maintain_order="left")
    found = joined.select("split", "row").collect()
    matched = found["row"].len() - found["row"].null_count()
    asked = found
    if set(splits) != set(protocol.splits):
        asked = found.filter(pl.col("split").is_in(list(splits)))
    problems: list[Problem] = []
    track = protocol.track
    for task_id in predictions.kinds:
        if task_id not in track.tasks:
            problems.append(
                Problem(
                    f"{predictions.table.name}: the predictions answer {task_id}, which "
                    f"{track.name} does not ask",
                    f"leave it out: --tasks {','.join(track.tasks)}",
                )
            )
    missing = asked["row"].null_count()
    if missing and not allow_missing:
        lacking = joined.filter(pl.col("row").is_null() & pl.col("split").is_in(list(splits)))
        problems.append(_missing_problem(asked, lacking.collect(), predictions, splits))
    held_back = 0
    if matched < ids.height:
        surplus = ids.join(utterances, on="utt_id", how="anti", maintain_order="left")
        strange = surplus.join(protocol.held_back, on="utt_id", how="anti", maintain_order="left")
        held_back = surplus.height - strange.height
        if strange.height:
            problems.append(_surplus_problem(strange, utterances, predictions))
    rows = asked["row"].cast(pl.Int32).fill_null(-1).to_numpy()
    left_aside = matched - (asked.height - missing)
    return Alignment(rows, missing, left_aside, held_back, tuple(problems))


def _missing_problem(
    asked: pl.DataFrame, lacking: pl.DataFrame, predictions: Predictions, splits: Sequence[str]
) -> Problem:
    missing = lacking.height
    hint = "--allow-missing scores them as wrong"
    whole = [
        name
        for name in splits
        if lacking.filter(pl.col("split") == name).height
        == asked.filter(pl.col("split") == name).height
    ]
    if whole and len(whole) < len(splits):
        rest = next(name for name in splits if name not in whole)
        hint = f"nothing of split {whole[0]} is predicted: --split {rest} scores {rest} only"
    elif lacking.height == asked.height:
        given = predictions.frame["utt_id"].drop_nulls().head(1).to_list()
        hint = f"no id of the protocol is predicted: yours look like {name_some(given)}"
    return Problem(
        f"{predictions.table.name}: {plural(missing, 'utterance is|utterances are')} missing: "
        + name_some(lacking["utt_id"].head(5).to_list(), missing),
        hint,
    )


def _surplus_problem(
    surplus: pl.DataFrame, utterances: pl.DataFrame, predictions: Predictions
) -> Problem:
    some = surplus.head(5)
    places = predictions.table.where(some["row"].to_list())
    named = [f"{word} ({place})" for word, place in zip(some["utt_id"], places, strict=True)]
    first = some["utt_id"][0]
    # Comparing with the whole of a large protocol would take minutes.
    near = did_you_mean(first, utterances["utt_id"].head(5000).to_list()) if first else ""
    return Problem(
        f"{predictions.table.name}: {plural(surplus.height, 'utt_id is|utt_ids are')} not in the "
        f"protocol: {name_some(named, surplus.height)}{near}",
        "remove them, or score against the protocol that they belong to",
    )
