"""What is measured: tasks, the taxonomy of codecs and generators, and tracks.

All three are read from shipped TOML and CSV files, checked when loaded, frozen, and looked up
by name. A track may also be a TOML file of the user's own, and bring tasks of its own.
"""

import csv
import io
from collections.abc import Iterable, Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal, Self, get_args

from pydantic import Field, model_validator

from cfbench import content
from cfbench.errors import CfbenchError, did_you_mean
from cfbench.records import NAME, Record, Reference, parsed, validated

TASK_IDS = ("bin", "vq", "aux", "dec")
"""The tasks that ship, in the order in which they are reported."""

TRACING_IDS = ("vq", "aux", "dec")
"""The three source-tracing tasks that ship; class 0 of each is bona fide speech."""

BASE_COLUMNS = ("utt_id", "split", "subset", "source", "group", "speaker")
"""What a protocol says of an utterance besides its classes."""

# Other columns of tables that have one a task.
_RESERVED = (*BASE_COLUMNS, "audio", "bonafide", "line", "row", "spoof", "utterances")

DecisionMetric = Literal[
    "macro_f1", "macro_f1_spoofed", "weighted_f1", "accuracy", "balanced_accuracy"
]
ScoreMetric = Literal["eer", "eer_paper", "auroc", "fpr95", "min_dcf", "act_dcf", "cllr"]

DECISION_METRICS: tuple[str, ...] = get_args(DecisionMetric)
"""Metrics of decisions: every task has them, `macro_f1_spoofed` where there is bona fide speech."""

SCORE_METRICS: tuple[str, ...] = get_args(ScoreMetric)
"""Metrics of scores: a detection task names those that it has."""


class TaskClass(Record):
    """One class of a task.

    Attributes:
        name: As in label columns and reports: "mvq".
        title: As in a table: "Multi-codebook VQ".
        meaning: A sentence.
        column: The predictions column that holds its probability: "vq_mvq".
        aliases: Other spellings that are read as this class, without regard to case.
    """

    name: str = Field(pattern=NAME)
    title: str
    meaning: str
    column: str
    aliases: tuple[str, ...] = Field(default=(), strict=False)


class Task(Record):
    """A question that is asked of an utterance, and its classes in order.

    Attributes:
        id: "bin", "vq", "aux", "dec", or that of a task of the user's.
        name: The stem of its file: "vector_quantization".
        kind: "detection": two classes and one score, of the second, positive one. "tracing": class
            0 is bona fide speech. "classification": no class is bona fide speech.
        headline: The metric that stands in tables where the predictions are scores.
        headline_for_labels: The same where they are labels only.
        metrics: Of a detection task the metrics of its scores.
        partial: Whether it is asked of some utterances only: those that have a class of it.
        label_column: The column of hard labels; the same word as `id`.
    """

    # Without an underscore: up to the first one, a column's name is that of its task.
    id: str = Field(pattern=r"^[a-z][a-z0-9]{0,31}$")
    name: str = Field(pattern=NAME)
    title: str
    version: str
    kind: Literal["detection", "tracing", "classification"]
    question: str
    headline: DecisionMetric | Literal["eer", "auroc", "fpr95"]
    headline_for_labels: DecisionMetric
    metrics: tuple[ScoreMetric, ...] = Field(default=(), strict=False)
    partial: bool = False
    label_column: str
    reference: Reference | None = None
    # Classes are numbered in a byte.
    classes: tuple[TaskClass, ...] = Field(min_length=2, max_length=100, strict=False)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for cls in self.classes:
            if cls.column != f"{self.id}_{cls.name}":
                raise ValueError(f"class {cls.name}: its column must be {self.id}_{cls.name}")
            if cls.name == "missing":
                raise ValueError("no class is called missing: utterances without an answer are")
        seen: dict[str, str] = {}
        for position, cls in enumerate(self.classes):
            if cls.name in self.class_names[:position]:
                raise ValueError(f"class {cls.name} stands there twice")
            for word in (cls.name, *cls.aliases):
                if seen.setdefault(word.casefold(), cls.name) != cls.name:
                    raise ValueError(f"'{word}' names both {seen[word.casefold()]} and {cls.name}")
        if self.label_column != self.id:
            raise ValueError(f"label_column must be {self.id}")
        if self.kind == "tracing" and self.classes[0].name != "real":
            raise ValueError("class 0 of a tracing task is bona fide speech, called real")
        if self.kind == "detection":
            if len(self.classes) != 2:
                raise ValueError("a detection task has two classes, the positive one last")
            if not self.metrics:
                raise ValueError(f"metrics: name some of {', '.join(SCORE_METRICS)}")
        elif self.metrics:
            raise ValueError("metrics: only a detection task has a score; leave the key out")
        for headline in (self.headline, self.headline_for_labels):
            if headline in SCORE_METRICS and headline not in self.metrics:
                raise ValueError(f"headline: {headline} is not among the metrics of this task")
            if headline == "macro_f1_spoofed" and self.kind != "tracing":
                raise ValueError(f"headline: only a tracing task has {headline}")
        return self

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes in order; a class's index is its position here."""
        return tuple(cls.name for cls in self.classes)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of a predictions file that hold probabilities, in class order."""
        return tuple(cls.column for cls in self.classes)

    @property
    def score_columns(self) -> tuple[str, ...]:
        """The columns that numbers must fill: of a detection task that of its positive class."""
        return self.columns[-1:] if self.kind == "detection" else self.columns

    @property
    def bonafide(self) -> int | None:
        """The class of bona fide speech beside several of fakes; None where there is none."""
        return 0 if self.kind == "tracing" else None

    @cached_property
    def aliases(self) -> Mapping[str, int]:
        """Every spelling of every class, case-folded, to the class's index."""
        return {
            word.casefold(): index
            for index, cls in enumerate(self.classes)
            for word in (cls.name, *cls.aliases)
        }

    def class_index(self, label: str) -> int | None:
        """The index of the class that `label` names in any spelling, or None."""
        return self.aliases.get(label.strip().casefold())


class Maker(Record):
    """A codec or a generator, and the three classes of the speech that it makes."""

    id: str = Field(min_length=1)
    title: str = Field(min_length=1)
    vq: str
    aux: str
    dec: str
    aliases: tuple[str, ...] = Field(default=(), strict=False)
    reference: str = Field(min_length=1)
    url: str = Field(pattern=r"^https://")

    @property
    def cell(self) -> tuple[str, str, str]:
        """Its place in the taxonomy: (vq, aux, dec)."""
        return self.vq, self.aux, self.dec


class Taxonomy(Record):
    """The codecs of CoRS and the generators of CoSG, by id."""

    codecs: tuple[Maker, ...] = Field(strict=False)
    generators: tuple[Maker, ...] = Field(strict=False)

    @model_validator(mode="after")
    def _unique(self) -> Self:
        # Looking a name up twice is an error that should show when the tables are loaded.
        _by_spelling(self.codecs)
        _by_spelling(self.generators)
        return self

    @cached_property
    def codec_by_spelling(self) -> Mapping[str, Maker]:
        """Every codec by its id and by each alias, as they stand in utterance ids."""
        return _by_spelling(self.codecs)

    @cached_property
    def generator_by_spelling(self) -> Mapping[str, Maker]:
        """Every generator by its id and by each alias."""
        return _by_spelling(self.generators)

    @property
    def known_cells(self) -> frozenset[tuple[str, str, str]]:
        """The combinations (vq, aux, dec) that some known codec or generator has."""
        return frozenset(maker.cell for maker in (*self.codecs, *self.generators))


class Subset(Record):
    """A named part of a split, given by its sources."""

    name: str = Field(pattern=NAME)
    title: str
    sources: tuple[str, ...] = Field(min_length=1, strict=False)


class Split(Record):
    """One split of a track.

    Attributes:
        group: What is resampled for intervals: "source utterance", "generator".
    """

    title: str
    description: str = ""
    group: str
    subsets: tuple[Subset, ...] = Field(default=(), strict=False)


class Resynthesised(Record):
    """How a track reads lists of re-synthesised speech, which name a speaker but no split.

    Attributes:
        origin: The source of the bona fide utterances: "VCTK".
        dev: Speakers of the development split.
        id: Speakers of the in-domain test split.
        otherwise: The split of every other speaker.
    """

    origin: str
    dev: tuple[str, ...] = Field(default=(), strict=False)
    id: tuple[str, ...] = Field(default=(), strict=False)
    otherwise: str


class Generated(Record):
    """How a track reads lists of generated speech: the split that their rows are in."""

    split: str


class ProtocolList(Record):
    """A list that is part of a track's protocol.

    Attributes:
        files: Names under which it is known; in a folder the first that is there is read.
        contains: Lists whose rows this one holds too; they add nothing and must agree.
    """

    files: tuple[str, ...] = Field(min_length=1, strict=False)
    contains: tuple[str, ...] = Field(default=(), strict=False)


class PublishedSplit(Record):
    """The digest by which a published protocol is recognised."""

    name: str
    split: str
    rows: int
    digest: str = Field(pattern=r"^[0-9a-f]{64}$")


class Track(Record):
    """A dataset with its splits and protocol.

    Attributes:
        tasks: The ids of the tasks that it asks: of the four, and all of `own_tasks`.
        own_tasks: Tasks that it brings itself; a track file names their files as `task_files`.
        scored: The splits that `cfbench score` scores: in domain first.
        protocol: The protocol's table, for a track that ships its own: a path from `tasks/`, or
            from the folder of a track file of the user's.
        held_back: The table (utt_id, split) of utterances whose labels are not public: they may
            be answered, and are not scored. A path like `protocol`.
        clips: The folder of packed clips, for a track that ships them: see `mini.store`. A path
            like `protocol`.
        baselines: The recipes that `cfbench run-baseline` runs where none is named: names, or
            paths of recipe files, from the folder of a track file of the user's.
        published: Digests of the protocol's published versions, a split each.
    """

    name: str = Field(pattern=NAME)
    title: str
    version: str
    description: str
    tasks: tuple[str, ...] = Field(min_length=1, strict=False)
    own_tasks: tuple[Task, ...] = Field(default=(), strict=False)
    scored: tuple[str, ...] = Field(min_length=1, strict=False)
    homepage: str = ""
    licence: str = ""
    obtain: str = ""
    protocol: str | None = None
    held_back: str | None = None
    clips: str | None = None
    baselines: tuple[str, ...] = Field(default=(), strict=False)
    audio_folders: tuple[str, ...] = Field(default=("",), strict=False)
    reference: Reference | None = None
    splits: dict[str, Split]
    resynthesised: Resynthesised | None = None
    generated: Generated | None = None
    lists: tuple[ProtocolList, ...] = Field(default=(), strict=False)
    published: tuple[PublishedSplit, ...] = Field(default=(), strict=False)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        named = [*self.scored, *(version.split for version in self.published)]
        if self.resynthesised:
            named.append(self.resynthesised.otherwise)
            named += ["dev"] if self.resynthesised.dev else []
            named += ["id"] if self.resynthesised.id else []
        if self.generated:
            named.append(self.generated.split)
        for name in named:
            if name not in self.splits:
                raise ValueError(f"split '{name}' is not among [splits.*]")
        for name, split in self.splits.items():
            sources = [source for subset in split.subsets for source in subset.sources]
            if len(sources) != len(set(sources)):
                raise ValueError(f"split '{name}': a source is in more than one subset")
        for key in ("held_back", "clips"):
            if getattr(self, key) is not None and self.protocol is None:
                raise ValueError(f"{key}: only beside a protocol of the track's own")
        self._check_tasks()
        return self

    def _check_tasks(self) -> None:
        taken = {*_RESERVED, *load_tasks(), *(task.name for task in load_tasks().values())}
        for task in self.own_tasks:
            for word in dict.fromkeys((task.id, task.name)):
                if word in taken:
                    raise ValueError(
                        f"task_files: '{word}' cannot be the id or name of another task: it is "
                        "that of a task or a column already; call it otherwise"
                    )
            taken |= {task.id, task.name}
            if task.id not in self.tasks:
                raise ValueError(
                    f"task_files: the task {task.id} is not among tasks: name it there"
                )
        for position, task_id in enumerate(self.tasks):
            if task_id not in self.known_tasks:
                known = list(self.known_tasks)
                raise ValueError(
                    f"tasks.{position}: there is no task '{task_id}'"
                    f"{did_you_mean(task_id, known)}: there are {', '.join(known)}, and those "
                    "that task_files brings"
                )

    @cached_property
    def known_tasks(self) -> Mapping[str, Task]:
        """Every task that its predictions may answer, by id, in the order of reports.

        The four that ship, asked or not, then its own by id: an order that a scorecard, whose keys
        are sorted, does not lose.
        """
        own = sorted(self.own_tasks, key=lambda task: task.id)
        return {**load_tasks(), **{task.id: task for task in own}}

    @cached_property
    def asked(self) -> tuple[Task, ...]:
        """The tasks that it asks, in the order of reports."""
        return tuple(task for task in self.known_tasks.values() if task.id in self.tasks)

    def published_name(self, split: str, digest: str) -> str | None:
        """The published version of a split that has this digest, or None."""
        for version in self.published:
            if (version.split, version.digest) == (split, digest):
                return version.name
        return None


@cache
def load_tasks() -> Mapping[str, Task]:
    """The four tasks that ship, by id, in the order in which they are reported.

    Raises:
        CfbenchError: A task file breaks its schema.
    """
    paths = [f"tasks/{stem}.toml" for stem in content.names("tasks", ".toml")]
    loaded = [validated(Task, parsed(content.text(path), path), path) for path in paths]
    by_id: dict[str, Task] = {task.id: task for task in loaded}
    return {task_id: by_id[task_id] for task_id in TASK_IDS}


def find_task(name: str, among: Mapping[str, Task] | None = None) -> Task:
    """A task by its id ("vq") or name ("vector_quantization").

    Args:
        name: The id or name, without regard to case.
        among: The tasks that a track knows, by id; None for those that ship.

    Raises:
        CfbenchError: No task is called so.
    """
    tasks = load_tasks() if among is None else among
    for task in tasks.values():
        if name.casefold() in (task.id, task.name):
            return task
    known = [word for task in tasks.values() for word in (task.id, task.name)]
    raise CfbenchError(
        f"there is no task '{name}'{did_you_mean(name, known)}",
        "cfbench tasks list names the four; --track FILE.toml those of a track of your own"
        if set(tasks) == set(TASK_IDS)
        else f"there are {', '.join(tasks)}",
    )


def pick_tasks(names: Iterable[str], among: Mapping[str, Task] | None = None) -> list[Task]:
    """Tasks by id or name, in the order in which they are reported, each once.

    Args:
        names: Ids or names.
        among: As for `find_task`.

    Raises:
        CfbenchError: No task is called so.
    """
    tasks = load_tasks() if among is None else among
    wanted = {find_task(name, tasks).id for name in names}
    return [task for task in tasks.values() if task.id in wanted]


@cache
def load_taxonomy() -> Taxonomy:
    """The codecs and generators, checked against the classes of the three tracing tasks.

    Raises:
        CfbenchError: A row names no class, or an id twice.
    """
    return Taxonomy(
        codecs=_read_makers("tasks/codecs.csv"), generators=_read_makers("tasks/generators.csv")
    )


def track_names() -> list[str]:
    """The names of the tracks that ship with cfbench."""
    return content.names("tasks/tracks", ".toml")


@cache
def find_track(name: str) -> Track:
    """A shipped track by name, or one of the user's own by the path of its TOML file.

    Raises:
        CfbenchError: There is no such track, or its file or a task file of it breaks the schema.
    """
    if name.endswith(".toml"):
        path = Path(name)
        data = parsed(_own_text(path, "track"), str(path))
        _make_absolute(data, path.parent.resolve())
        data["own_tasks"] = _own_tasks(data, path)
        return validated(Track, data, str(path))
    if name not in track_names():
        raise CfbenchError(
            f"there is no track '{name}'{did_you_mean(name, track_names())}",
            "cfbench tracks list names those that ship; a track of your own is given as FILE.toml",
        )
    where = f"tasks/tracks/{name}.toml"
    return validated(Track, parsed(content.text(where), where), where)


def _own_text(path: Path, what: str) -> str:
    """The text of a track or task file of the user's."""
    hint = f"a {what} file is TOML in UTF-8: see docs/protocols.md"
    if path.exists() and not path.is_file():
        raise CfbenchError(f"{path}: the {what} cannot be read: not a file", hint)
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CfbenchError(f"{path}: the {what} cannot be read: {error}", hint) from None


def _own_tasks(data: dict[str, Any], track: Path) -> tuple[Task, ...]:
    """The tasks whose files a track file names; takes the names out of its fields."""
    if "own_tasks" in data:
        raise CfbenchError(
            f"{track}: own_tasks: is no key of a track file",
            'a task has a file of its own, which the track names: task_files = ["codec.toml"]',
        )
    files = data.pop("task_files", [])
    if not isinstance(files, list) or not all(isinstance(file, str) for file in files):
        raise CfbenchError(
            f"{track}: task_files: must be a list of files", 'for example ["codec.toml"]'
        )
    paths = [track.parent / file for file in files]
    return tuple(
        validated(Task, parsed(_own_text(path, "task"), str(path)), str(path)) for path in paths
    )


def _make_absolute(data: dict[str, Any], folder: Path) -> None:
    """Let the paths in a track file of the user's mean the same from everywhere."""
    for key in ("protocol", "held_back", "clips"):
        if isinstance(data.get(key), str):
            data[key] = str(folder / data[key])
    if isinstance(data.get("baselines"), list):
        data["baselines"] = [
            str(folder / word) if isinstance(word, str) and word.endswith(".toml") else word
            for word in data["baselines"]
        ]


def _read_makers(path: str) -> tuple[Maker, ...]:
    tasks = load_tasks()
    makers: list[Maker] = []
    for line, row in enumerate(csv.DictReader(io.StringIO(content.text(path))), start=2):
        fields: dict[str, Any] = dict(row)
        fields["aliases"] = tuple((row.get("aliases") or "").split())
        maker = validated(Maker, fields, f"{path}, line {line}")
        for task_id in TRACING_IDS:
            label = getattr(maker, task_id)
            if label not in tasks[task_id].class_names[1:]:
                raise CfbenchError(
                    f"{path}, line {line}: '{label}' is no spoofed class of {task_id}"
                )
        makers.append(maker)
    return tuple(makers)


def _by_spelling(makers: tuple[Maker, ...]) -> dict[str, Maker]:
    found: dict[str, Maker] = {}
    for maker in makers:
        for word in (maker.id, *maker.aliases):
            if word in found:
                raise CfbenchError(f"the taxonomy has '{word}' twice")
            found[word] = maker
    return found
