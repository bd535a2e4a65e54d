"""What a model is trained on: rows of a protocol with their audio files, and labels as numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cfbench.errors import CfbenchError, name_some, plural
from cfbench.recipes import Recipe
from cfbench.tasks import load_tasks


@dataclass(frozen=True)
class Material:
    """What a model is trained on.

    Attributes:
        train: Rows of a protocol: the pool from which epochs are drawn.
        dev: Rows of a protocol on which the best epoch is chosen.
        paths: The audio file of every utterance of both.
    """

    train: pl.DataFrame
    dev: pl.DataFrame
    paths: Mapping[str, Path]


@dataclass(frozen=True)
class Progress:
    """Where training stands.

    Attributes:
        step: Steps done, of `steps`.
        epoch: The epoch, from 0, of `epochs`.
        numbers: The step's loss ("train_loss"), or the epoch's values on the development set
            ("dev_loss", "dev_macro_f1"); empty between them.
        doing: What takes time between two steps: "evaluating 16 of 1,470 clips".
        resumed: Whether these steps were done by an earlier call.
        notes: At the beginning: what a reader should know of the training set.
        phase: Of what these are the steps.
    """

    step: int
    steps: int
    epoch: int
    epochs: int
    numbers: Mapping[str, float]
    doing: str = ""
    resumed: bool = False
    notes: Sequence[str] = ()
    phase: str = "training"


def class_weights(recipe: Recipe) -> dict[str, Sequence[float]]:
    """The weights of the classes that a recipe gives, by task, of its own tasks."""
    given = recipe.training.class_weights
    return {task_id: given[task_id] for task_id in recipe.model.tasks if task_id in given}


def class_indices(frame: pl.DataFrame, tasks: Sequence[str]) -> dict[str, NDArray[np.int64]]:
    """The labels of a protocol's rows as class indices.

    Args:
        frame: Rows of a protocol.
        tasks: Ids of the tasks.

    Returns:
        By task, (rows,).

    Raises:
        CfbenchError: A row has no label for one of the tasks.
    """
    for task_id in tasks:
        without = frame.filter(pl.col(task_id).is_null())["utt_id"]
        if len(without):
            raise CfbenchError(
                f"{plural(len(without), 'utterance has|utterances have')} no label for {task_id}: "
                + name_some(without.head(5).to_list(), len(without)),
                "leave the task out of the recipe, or complete the protocol",
            )
    return {
        task_id: np.array(
            [load_tasks()[task_id].class_names.index(label) for label in frame[task_id]], np.int64
        )
        for task_id in tasks
    }
