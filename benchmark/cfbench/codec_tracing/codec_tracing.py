"""The metrics of one task for Hugging Face's `evaluate`, computed as `cfbench score` does."""

# `evaluate` copies this file and reads its imports line by line: none may span several.
from collections.abc import Sequence
from typing import Any

import datasets
import evaluate
import polars as pl

from cfbench import api
from cfbench.errors import CfbenchError
from cfbench.tasks import Split, Task, Track, load_tasks

_DESCRIPTION = """\
The metrics of one task of cfbench: spoof detection (bin), or the vector quantisation (vq),
auxiliary objective (aux) or decoder (dec) of the codec behind a fake. The task is the name of the
configuration: evaluate.load(path, "vq").
"""

_INPUTS = """
Args:
    predictions: For each utterance a class, by name or by its place in the task's order; or a
        probability for each class, in that order. Of bin: the probability of bona fide, alone in
        its list.
    references: The true classes, by name or place.
    groups: What is resampled for the intervals, a name an utterance; None for the utterances.
    bootstrap: How many resamples; 0 for no intervals.
    seed: Of the resamples.
Returns:
    A number a metric, None where it is not defined; with intervals NAME_low and NAME_high too.
"""

_CITATION = """\
@inproceedings{chen2025codecsource,
  title={Codec-Based Deepfake Source Tracing via Neural Audio Codec Taxonomy},
  author={Chen, Xuanjun and others},
  booktitle={Interspeech},
  year={2025}
}
"""

_PLACE = datasets.Value("int64")
_NAME = datasets.Value("string")
_PROBABILITIES = datasets.Sequence(datasets.Value("float64"))
_SPLIT = "id"


class CodecTracing(evaluate.Metric):
    """One task, on utterances that are given in order."""

    def _info(self) -> evaluate.MetricInfo:
        if self.config_name not in load_tasks():
            raise CfbenchError(
                f"there is no task '{self.config_name}'",
                f'evaluate.load(path, "vq"): one of {", ".join(load_tasks())}',
            )
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=[
                datasets.Features({"predictions": said, "references": truth})
                for said in (_PROBABILITIES, _PLACE, _NAME)
                for truth in (_PLACE, _NAME)
            ],
            reference_urls=["https://arxiv.org/abs/2505.12994"],
        )

    def _compute(
        self,
        predictions: Sequence[Any],
        references: Sequence[Any],
        groups: Sequence[str] | None = None,
        bootstrap: int = 1000,
        seed: int = 0,
    ) -> dict[str, float | None]:
        task = load_tasks()[self.config_name]
        if groups is not None and len(groups) != len(references):
            raise CfbenchError(
                f"{len(groups):,} groups for {len(references):,} utterances",
                "give a group for each utterance",
            )
        ids = [f"row {number}" for number in range(len(references))]
        truth = pl.DataFrame(
            {
                "utt_id": ids,
                "split": _SPLIT,
                "source": "all",
                "group": ids if groups is None else [str(name) for name in groups],
                task.id: [_class_of(task, word) for word in references],
            }
        )
        said = pl.DataFrame({"utt_id": ids} | _columns(task, predictions))
        card = api.score(said, truth, track=_track(task), bootstrap=bootstrap, seed=seed)
        found: dict[str, float | None] = {}
        for name, number in card.tasks[task.id].splits[_SPLIT].overall.metrics.items():
            found[name] = number.value
            if number.interval is not None:
                found |= {f"{name}_low": number.interval.low, f"{name}_high": number.interval.high}
        return found


def _columns(task: Task, predictions: Sequence[Any]) -> dict[str, list[Any]]:
    """The columns of a predictions file."""
    if not isinstance(predictions[0], Sequence) or isinstance(predictions[0], str):
        return {task.label_column: [_class_of(task, word) for word in predictions]}
    names = task.score_columns
    for row, numbers in enumerate(predictions):
        if len(numbers) != len(names):
            raise CfbenchError(
                f"row {row}: {len(numbers)} numbers, but {task.id} has {len(names)}: "
                f"{', '.join(names)}",
                "give the probabilities in this order",
            )
    return {name: [numbers[at] for numbers in predictions] for at, name in enumerate(names)}


def _class_of(task: Task, word: str | int) -> str:
    index = word if isinstance(word, int) else task.class_index(word)
    if index is None or not 0 <= index < len(task.classes):
        raise CfbenchError(
            f"{task.id} has no class '{word}'", f"its classes: {', '.join(task.class_names)}"
        )
    return task.class_names[index]


def _track(task: Task) -> Track:
    return Track(
        name="evaluate",
        title=task.title,
        version="1",
        description="Utterances that were given to evaluate.",
        tasks=(task.id,),
        scored=(_SPLIT,),
        splits={_SPLIT: Split(title="All", group="group")},
    )
