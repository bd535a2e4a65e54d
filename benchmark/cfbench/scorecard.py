"""The result of scoring: a versioned, self-describing record.

`Scorecard.to_json` is canonical: the same result has the same bytes. The JSON schema is
`json_schema()`, published as docs/scorecard.schema.json.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from cfbench.errors import CfbenchError, clip
from cfbench.metrics.catalogue import METRICS, OF_ANY_DETECTION
from cfbench.tasks import SCORE_METRICS, TASK_IDS, Task, load_tasks

SCHEMA_VERSION: Literal["1"] = "1"


_Value = TypeVar("_Value")


_PLACES = {key: place for place, key in enumerate((*TASK_IDS, *METRICS))}


def _in_order(values: dict[str, _Value]) -> dict[str, _Value]:
    """Tasks and metrics in the order in which they are reported; JSON has them sorted.

    Tasks of a track's own come after the four, by id.
    """
    return {
        key: values[key] for key in sorted(values, key=lambda k: (_PLACES.get(k, len(_PLACES)), k))
    }


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Interval(_Part):
    """A 95 % percentile bootstrap interval; `replicates` of the resamples were defined."""

    low: float
    high: float
    replicates: int


class Number(_Part):
    """A value, or null with the reason why there is none.

    `interval` resamples groups and is the one to quote. `utterance_interval` resamples
    utterances as if they were independent, and is given to show what that would claim.
    """

    value: float | None
    reason: str | None = None
    interval: Interval | None = None
    interval_reason: str | None = None
    utterance_interval: Interval | None = None


Numbers = Annotated[dict[str, Number], AfterValidator(_in_order)]
"""Numbers by the key of their metric."""


class Metric(_Part):
    """What a metric is; `direction` says which way is better."""

    title: str
    direction: Literal["higher", "lower"]
    low: float
    high: float | None
    definition: str
    source: str


class ClassScore(_Part):
    """One class: `support` utterances are of it, `predicted` were said to be."""

    name: str
    support: int
    predicted: int
    precision: Number
    recall: Number
    f1: Number


class View(_Part):
    """Scores of a task on some utterances.

    Attributes:
        utterances: How many.
        groups: How many groups they form; these are resampled.
        support: Utterances of each class.
        metrics: By the keys of `Scorecard.metrics`.
        classes: A score a class.
        confusion: Rows are true classes in order; columns are answers in the order of `answers`.
        answers: The classes, then "missing" where utterances without a prediction were allowed.
        lost: For each class that some resamples held no utterance of, the share of these.
        notes: What a reader of the intervals should know.
    """

    utterances: int
    groups: int
    support: dict[str, int]
    metrics: Numbers
    classes: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]
    answers: tuple[str, ...]
    lost: dict[str, float]
    notes: tuple[str, ...]


class SourceScore(_Part):
    """A source's utterances: `truth` is the class of its spoofs, null if it has none."""

    source: str
    subset: str | None
    utterances: int
    spoofed: int
    groups: int
    truth: str | None
    accuracy: Number
    spoof_accuracy: Number
    bonafide_accuracy: Number
    eer: Number | None = None


class WithoutLargest(_Part):
    """A split without the source that has the most utterances."""

    source: str
    view: View


class SplitScore(_Part):
    """A task on one split, whole and broken down.

    Attributes:
        overall: All utterances.
        subsets: The named parts of the split.
        without_largest_source: Out of domain only.
        equal_sources: Metrics with every source weighing the same.
        sources: One row a source.
        worst_source: The source whose spoofs are recognised least.
        trivial: Metrics of predictors that know nothing of the audio.
    """

    overall: View
    subsets: dict[str, View]
    without_largest_source: WithoutLargest | None
    equal_sources: Numbers
    sources: tuple[SourceScore, ...]
    worst_source: str | None
    trivial: dict[str, dict[str, float | None]]


class Drop(_Part):
    """How much worse the headline metric is out of domain; positive means worse."""

    metric: str
    from_split: str
    to_split: str
    number: Number


class ThresholdTransfer(_Part):
    """Error rates on one split at the threshold of another split's EER."""

    threshold: float
    from_split: str
    to_split: str
    miss: Number
    false_alarm: Number


class TaskScore(_Part):
    """A task: `given` says what the predictions hold of it, `headline` which metric leads."""

    title: str
    version: str
    given: Literal["labels", "probabilities", "logits", "derived"]
    headline: str
    splits: dict[str, SplitScore]
    drop: Drop | None
    threshold_transfer: ThresholdTransfer | None


class JointScore(_Part):
    """The three tracing tasks together, over spoofed utterances."""

    utterances: int
    groups: int
    metrics: Numbers


class ScoredSplit(_Part):
    """The protocol of one split; `published` names its version if the digest is known."""

    utterances: int
    groups: int
    group_unit: str
    digest: str
    published: str | None
    missing: int


class ScoredTrack(_Part):
    """Which track was scored."""

    name: str
    title: str
    version: str


class ScoredPredictions(_Part):
    """Which predictions were scored.

    Attributes:
        digest: Of the answers that were scored; does not depend on file format or order.
        utterances: How many were scored.
        left_aside: How many more are of splits that were not scored.
        held_back: How many more are of utterances whose labels are held back.
    """

    digest: str
    utterances: int
    left_aside: int
    held_back: int = 0


class Settings(_Part):
    """How it was scored."""

    bootstrap: int
    seed: int
    level: float
    allow_missing: bool


class Scorecard(_Part):
    """The result of scoring one predictions file on one protocol."""

    schema_version: Literal["1"] = SCHEMA_VERSION
    cfbench_version: str
    track: ScoredTrack
    protocol: dict[str, ScoredSplit]
    predictions: ScoredPredictions
    settings: Settings
    metrics: Annotated[dict[str, Metric], AfterValidator(_in_order)]
    tasks: Annotated[dict[str, TaskScore], AfterValidator(_in_order)]
    joint: dict[str, JointScore]
    notes: tuple[str, ...]

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, no NaN, a newline at the end."""
        data = self.model_dump(mode="json")
        return (
            json.dumps(data, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        )


def read_scorecard(path: str | Path) -> Scorecard:
    """Read a scorecard that `cfbench score --json` wrote.

    Raises:
        CfbenchError: It cannot be read, or is no scorecard of this schema.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise CfbenchError(f"{path}: cannot be opened: {error.strerror}") from None
    return parse_scorecard(content, str(path))


def parse_scorecard(content: bytes, where: str) -> Scorecard:
    """A scorecard from the bytes of its file; `where` is what messages call it.

    Raises:
        CfbenchError: It is no scorecard of this schema.
    """
    try:
        return Scorecard.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(str(part) for part in first["loc"])
        raise CfbenchError(
            f"{where}: no scorecard of schema {SCHEMA_VERSION}: {clip(at) + ': ' if at else ''}"
            f"{first['msg']}",
            "cfbench score --json writes one",
        ) from None


def json_schema() -> str:
    """The JSON schema of a scorecard, as published in the documentation."""
    return json.dumps(Scorecard.model_json_schema(), sort_keys=True, indent=1) + "\n"


def catalogue(tasks: Sequence[Task] = ()) -> dict[str, Metric]:
    """The descriptions of metrics, by key.

    Args:
        tasks: Those of a scorecard. The metrics of the four tasks are always there, what only
            others ask for where one of these does; and where one of these is another detection
            task, definitions speak of its classes too.
    """
    asked = {metric for task in (*load_tasks().values(), *tasks) for metric in task.metrics}
    general = any(task.kind == "detection" and task.id not in TASK_IDS for task in tasks)
    told = OF_ANY_DETECTION if general else {}
    return {
        key: Metric(**info._replace(definition=told.get(key, info.definition))._asdict())
        for key, info in METRICS.items()
        if key not in SCORE_METRICS or key in asked
    }
