"""What is measured: tasks, the taxonomy of codecs and generators, and tracks.

All three are read from shipped TOML and CSV files, checked when loaded, frozen, and looked up
by name. A track may also be a TOML file of the user's own.
"""

import csv
import io
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cfbench import content
from cfbench.errors import CfbenchError, clip, did_you_mean

TASK_IDS = ("bin", "vq", "aux", "dec")
"""The tasks in the order in which they are reported."""

TRACING_IDS = ("vq", "aux", "dec")
"""The three source-tracing tasks; class 0 of each is bona fide speech."""

_Name = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


_R = TypeVar("_R", bound=_Record)


class Reference(_Record):
    """Where a definition comes from."""

    text: str = Field(min_length=1)
    url: str = Field(pattern=r"^https://")


class TaskClass(_Record):
    """One class of a task.

    Attributes:
        name: As in label columns and reports: "mvq".
        title: As in a table: "Multi-codebook VQ".
        meaning: A sentence.
        column: The predictions column that holds its probability: "vq_mvq".
        aliases: Other spellings that are read as this class, without regard to case.
    """

    name: str = _Name
    title: str
    meaning: str
    column: str
    aliases: tuple[str, ...] = Field(default=(), strict=False)


class Task(_Record):
    """A question that is asked of an utterance, and its classes in order.

    Attributes:
        id: "bin", "vq", "aux" or "dec".
        name: The stem of its file: "vector_quantization".
        headline: The metric that stands in tables where the predictions are scores.
        headline_for_labels: The same where they are labels only.
        label_column: The column of hard labels; the same word as `id`.
    """

    id: Literal["bin", "vq", "aux", "dec"]
    name: str
    title: str
    version: str
    question: str
    headline: str
    headline_for_labels: str
    label_column: str
    reference: Reference
    classes: tuple[TaskClass, ...] = Field(min_length=2, strict=False)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for cls in self.classes:
            if cls.column != f"{self.id}_{cls.name}":
                raise ValueError(f"class {cls.name}: its column must be {self.id}_{cls.name}")
        seen: dict[str, str] = {}
        for cls in self.classes:
            for word in (cls.name, *cls.aliases):
                if seen.setdefault(word.casefold(), cls.name) != cls.name:
                    raise ValueError(f"'{word}' names both {seen[word.casefold()]} and {cls.name}")
        if self.label_column != self.id:
            raise ValueError(f"label_column must be {self.id}")
        if self.id in TRACING_IDS and self.classes[0].name != "real":
            raise ValueError("class 0 of a tracing task is bona fide speech, called real")
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
        """The columns that numbers must fill: of spoof detection that of bona fide alone."""
        return self.columns[-1:] if self.id == "bin" else self.columns

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


class Maker(_Record):
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


class Taxonomy(_Record):
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


class Subset(_Record):
    """A named part of a split, given by its sources."""

    name: str = _Name
    title: str
    sources: tuple[str, ...] = Field(min_length=1, strict=False)


class Split(_Record):
    """One split of a track.

    Attributes:
        group: What is resampled for intervals: "source utterance", "generator".
    """

    title: str
    description: str = ""
    group: str
    subsets: tuple[Subset, ...] = Field(default=(), strict=False)


class Resynthesised(_Record):
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


class Generated(_Record):
    """How a track reads lists of generated speech: the split that their rows are in."""

    split: str


class ProtocolList(_Record):
    """A list that is part of a track's protocol.

    Attributes:
        files: Names under which it is known; in a folder the first that is there is read.
        contains: Lists whose rows this one holds too; they add nothing and must agree.
    """

    files: tuple[str, ...] = Field(min_length=1, strict=False)
    contains: tuple[str, ...] = Field(default=(), strict=False)


class PublishedSplit(_Record):
    """The digest by which a published protocol is recognised."""

    name: str
    split: str
    rows: int
    digest: str = Field(pattern=r"^[0-9a-f]{64}$")


class Track(_Record):
    """A dataset with its splits and protocol.

    Attributes:
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

    name: str = _Name
    title: str
    version: str
    description: str
    tasks: tuple[Literal["bin", "vq", "aux", "dec"], ...] = Field(min_length=1, strict=False)
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
        return self

    def published_name(self, split: str, digest: str) -> str | None:
        """The published version of a split that has this digest, or None."""
        for version in self.published:
            if (version.split, version.digest) == (split, digest):
                return version.name
        return None


@cache
def load_tasks() -> Mapping[str, Task]:
    """The four tasks by id, in the order in which they are reported.

    Raises:
        CfbenchError: A task file breaks its schema.
    """
    paths = [f"tasks/{stem}.toml" for stem in content.names("tasks", ".toml")]
    loaded = [_validated(Task, _parsed(content.text(path), path), path) for path in paths]
    by_id: dict[str, Task] = {task.id: task for task in loaded}
    return {task_id: by_id[task_id] for task_id in TASK_IDS}


def find_task(name: str) -> Task:
    """A task by its id ("vq") or name ("vector_quantization").

    Raises:
        CfbenchError: No task is called so.
    """
    tasks = load_tasks()
    for task in tasks.values():
        if name.casefold() in (task.id, task.name):
            return task
    known = [word for task in tasks.values() for word in (task.id, task.name)]
    raise CfbenchError(
        f"there is no task '{name}'{did_you_mean(name, known)}",
        "cfbench tasks list names the four",
    )


def pick_tasks(names: Iterable[str]) -> list[Task]:
    """Tasks by id or name, in the order in which they are reported, each once.

    Raises:
        CfbenchError: No task is called so.
    """
    wanted = {find_task(name).id for name in names}
    return [task for task in load_tasks().values() if task.id in wanted]


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
        CfbenchError: There is no such track, or its file breaks the schema.
    """
    if name.endswith(".toml"):
        path = Path(name)
        if path.exists() and not path.is_file():
            raise CfbenchError(f"{path}: the track cannot be read: not a file", "give a TOML file")
        try:
            raw = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            hint = "a track file is TOML in UTF-8: see docs/protocols.md"
            raise CfbenchError(f"{path}: the track cannot be read: {error}", hint) from None
        where = str(path)
    elif name in track_names():
        where = f"tasks/tracks/{name}.toml"
        raw = content.text(where)
    else:
        raise CfbenchError(
            f"there is no track '{name}'{did_you_mean(name, track_names())}",
            "cfbench tracks list names those that ship; a track of your own is given as FILE.toml",
        )
    data = _parsed(raw, where)
    if name.endswith(".toml"):
        _make_absolute(data, path.parent.resolve())
    return _validated(Track, data, where)


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


def _parsed(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise CfbenchError(f"{where}: not TOML: {error}", "see docs/protocols.md") from None


def _read_makers(path: str) -> tuple[Maker, ...]:
    tasks = load_tasks()
    makers: list[Maker] = []
    for line, row in enumerate(csv.DictReader(io.StringIO(content.text(path))), start=2):
        fields: dict[str, Any] = dict(row)
        fields["aliases"] = tuple((row.get("aliases") or "").split())
        maker = _validated(Maker, fields, f"{path}, line {line}")
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


def _strings(data: object) -> Iterator[str]:
    if isinstance(data, str):
        yield data
    elif isinstance(data, Mapping):
        for key, value in data.items():
            yield from _strings(key)
            yield from _strings(value)
    elif isinstance(data, list | tuple):
        for value in data:
            yield from _strings(value)


def _validated(model: type[_R], data: Mapping[str, Any], where: str) -> _R:
    for word in _strings(data):
        if not word.replace("\n", " ").isprintable():
            hint = "text is printable, without control characters"
            raise CfbenchError(f"{where}: '{clip(word)}' cannot be printed", hint)
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(str(part) for part in first["loc"])
        raise CfbenchError(f"{where}: {at + ': ' if at else ''}{first['msg']}") from None
