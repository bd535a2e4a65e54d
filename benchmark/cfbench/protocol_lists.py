"""Reads the lists of CodecFake+: those of the authors' repository and those of the Hub.

The forms are told apart by their number of fields:

| fields | list | row |
| --- | --- | --- |
| 3 | the Hub's CoRS_labels.txt | speaker, utterance, label |
| 4 or 5 | the authors' evaluation lists | speaker or generator, utterance or clip, -, [-,] label |
| 6 | the Hub's CoSG_labels.txt | generator, clip, VQ, AUX, DEC, label |
| 7 | the authors' training lists | speaker, utterance, -, AUX, DEC, VQ, label |

What a codec or generator is comes from the taxonomy, never from the list; where a list says it
too, the two must agree. Everything that is not known is an error that names its lines.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from cfbench.errors import CfbenchError, Problem, did_you_mean, name_some, plural
from cfbench.tables import find_undecodable_line
from cfbench.tasks import TRACING_IDS, Maker, Track, load_tasks, load_taxonomy

_FIELDS = tuple(f"field_{number}" for number in range(7))
_HEADER_WORDS = {"speaker", "model", "generator", "file", "utterance", "clipid", "label"}


@dataclass(frozen=True)
class _Form:
    """Which field of a row says what."""

    label: int
    claims: Mapping[str, int]  # task id -> the field that names its class, or "-"


# By number of fields. The fourth of five is "-", or the VQ class (CoSG_SEEN.txt).
_FORMS = {
    3: _Form(2, {}),
    4: _Form(3, {}),
    5: _Form(4, {"vq": 3}),
    6: _Form(5, {"vq": 2, "aux": 3, "dec": 4}),
    7: _Form(6, {"aux": 3, "dec": 4, "vq": 5}),
}


def read_list(path: Path, track: Track) -> pl.DataFrame:
    """Read one list.

    Returns:
        A frame of the protocol's columns, labels as String, and `line`, the row's line.

    Raises:
        CfbenchError: A row is malformed, or names an unknown codec, generator, label or class;
            every such problem of the list is reported.
    """
    rows = _read_fields(path)
    gaps = rows.filter(pl.col("filled") < pl.col("width"))
    if gaps.height:
        raise CfbenchError(
            f"{path}: {plural(gaps.height, 'row')} with an empty field: {_lines(gaps)}",
            "fields are separated by single spaces",
        )
    widths = rows["width"].unique().to_list()
    generated = not _looks_like_speaker(rows["field_0"][0])
    if not set(widths) <= set(_FORMS) or (len(widths) > 1 and set(widths) != {4, 5}):
        usual = rows["width"].mode().sort()[0]
        strange = rows.filter(pl.col("width") != usual if usual in _FORMS else pl.lit(True))
        raise CfbenchError(
            f"{path}: {plural(strange.height, 'row')} with a number of fields that no list of "
            f"CodecFake+ has: {_lines(strange)}",
            "a list has 3, 4 or 5, 6 or 7 fields a row, separated by single spaces; is it cut off?",
        )
    section = track.generated if generated else track.resynthesised
    if section is None:
        kind = "generated" if generated else "re-synthesised"
        raise CfbenchError(
            f"{path}: a list of {kind} speech, of which the track {track.name} has none"
        )
    problems = _Problems(path)
    frame = _with_label(rows, problems)
    frame = _generated(frame, track, problems) if generated else _cors(frame, track, problems)
    frame = _with_classes(frame, problems)
    problems.raise_if_any()
    return frame.with_columns(subset_of(track)).select(
        "utt_id", "split", "subset", "source", "group", "bin", "vq", "aux", "dec", "speaker", "line"
    )


def subset_of(track: Track) -> pl.Expr:
    """The subset that a row's split and source put it in."""
    expression = pl.lit(None, pl.String)
    for name, split in track.splits.items():
        named = {source: subset.name for subset in split.subsets for source in subset.sources}
        if named:
            inside = pl.col("source").replace_strict(named, default=None, return_dtype=pl.String)
            expression = pl.when(pl.col("split") == name).then(inside).otherwise(expression)
    return expression.alias("subset")


class _Problems:
    """Collects what is wrong with a list, so that all of it is reported at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: list[Problem] = []

    def add(self, rows: pl.DataFrame, what: str, shown: pl.Expr | None = None, hint: str = "") -> None:
        """Report rows (nothing where there are none); `shown` is what is named beside the line."""
        if rows.height:
            self.found.append(Problem(f"{self.path}: {what}: {_lines(rows, shown)}", hint))

    def raise_if_any(self) -> None:
        if self.found:
            raise CfbenchError.of(self.found)


def _lines(rows: pl.DataFrame, shown: pl.Expr | None = None) -> str:
    some = rows.head(5)
    lines = [f"line {line}" for line in some["line"]]
    if shown is not None:
        words = some.select(shown.alias("shown"))["shown"]
        lines = [f"{line} ({word})" for line, word in zip(lines, words, strict=True)]
    return name_some(lines, rows.height)


def _read_fields(path: Path) -> pl.DataFrame:
    """The rows as seven String columns (null where a row is shorter), `width` and `line`."""
    with path.open("rb") as file:
        first = file.readline(4096)
    if not first:
        raise CfbenchError(f"{path}: the list is empty")
    if b"\0" in first:
        raise CfbenchError(f"{path}: a binary file, not a protocol list")
    try:
        rows = pl.read_csv(
            path,
            has_header=False,
            schema=dict.fromkeys(_FIELDS, pl.String()),
            separator="\t" if b"\t" in first else " ",
            quote_char=None,
            missing_columns="insert",
            glob=False,
        )
    except pl.exceptions.ComputeError as error:
        if "utf-8" in str(error):
            line = find_undecodable_line(path)
            raise CfbenchError(f"{path}, line {line}: not UTF-8 text") from None
        raise CfbenchError(
            f"{path}: a row has more than {len(_FIELDS)} fields", "is it a protocol list?"
        ) from None
    rows = rows.with_row_index("line", offset=1).with_columns(
        pl.col("line").cast(pl.Int64),
        filled=pl.sum_horizontal(pl.col(name).is_not_null() for name in _FIELDS).cast(pl.Int64),
        width=pl.max_horizontal(
            pl.when(pl.col(name).is_not_null()).then(number).otherwise(0)
            for number, name in enumerate(_FIELDS, start=1)
        ).cast(pl.Int64),
    )
    rows = rows.filter(pl.col("width") > 0)
    words = {str(word).casefold() for word in rows.row(0)[1:8]} if rows.height else set()
    if len(words & _HEADER_WORDS) > 1:
        rows = rows[1:]
    if not rows.height:
        raise CfbenchError(f"{path}: the list has no rows")
    return rows


def _looks_like_speaker(word: str) -> bool:
    return word[:1] in "ps" and word[1:].isdigit()


def _with_label(rows: pl.DataFrame, problems: _Problems) -> pl.DataFrame:
    """Adds `bin` and the classes that the list itself claims (`said_vq`, ...)."""
    task = load_tasks()["bin"]
    width = pl.col("width")
    label = pl.coalesce(
        pl.when(width == fields).then(pl.col(_FIELDS[form.label]))
        for fields, form in _FORMS.items()
    )
    rows = rows.with_columns(label.alias("label"))
    named = _class_names(rows["label"], task.class_index, task.class_names)
    rows = rows.with_columns(
        pl.col("label").replace_strict(named, default=None, return_dtype=pl.String).alias("bin")
    )
    problems.add(
        rows.filter(pl.col("bin").is_null()),
        "unknown label",
        pl.col("label"),
        f"labels are {' and '.join(task.class_names)}",
    )
    said = [
        pl.coalesce(
            *(
                pl.when(width == fields).then(pl.col(_FIELDS[form.claims[task_id]]))
                for fields, form in _FORMS.items()
                if task_id in form.claims
            )
        ).alias(f"said_{task_id}")
        for task_id in TRACING_IDS
    ]
    return rows.with_columns(*said)


def _cors(rows: pl.DataFrame, track: Track, problems: _Problems) -> pl.DataFrame:
    """Re-synthesised speech: `p227_260_bigcodec` is p227_260, spoken by p227, through bigcodec."""
    assert track.resynthesised is not None  # noqa: S101 - read_list has looked
    section = track.resynthesised
    # Speaker and number may have any width: p225_001, s5_001.
    parts = pl.col("field_1").str.splitn("_", 3).struct
    rows = rows.with_columns(
        parts.field("field_0").alias("speaker"),
        parts.field("field_1").alias("number"),
        parts.field("field_2").alias("codec"),
    )
    codecs = _makers(rows["codec"], load_taxonomy().codec_by_spelling)
    problems.add(
        rows.filter(
            (pl.col("speaker") != pl.col("field_0")) | ~pl.col("number").str.contains(r"^\d+$").fill_null(False)
        ),
        "the utterance is not called SPEAKER_NUMBER or SPEAKER_NUMBER_CODEC after its speaker",
        pl.col("field_1"),
    )
    problems.add(
        rows.filter(pl.col("codec").is_null() & (pl.col("bin") == "spoof")),
        "labelled spoof, but the utterance names no codec",
        pl.col("field_1"),
    )
    problems.add(
        rows.filter(pl.col("codec").is_not_null() & (pl.col("bin") == "bonafide")),
        "labelled bonafide, but the utterance names a codec",
        pl.col("field_1"),
    )
    _report_unknown(rows, "codec", codecs, list(load_taxonomy().codec_by_spelling), problems)
    split = pl.lit(section.otherwise)
    for name, speakers in (("dev", section.dev), ("id", section.id)):
        split = pl.when(pl.col("speaker").is_in(list(speakers))).then(pl.lit(name)).otherwise(split)
    return rows.with_columns(
        pl.col("field_1").alias("utt_id"),
        pl.concat_str("speaker", "number", separator="_").alias("group"),
        pl.col("codec").alias("maker"),
        pl.col("codec")
        .replace_strict(
            {word: maker.id for word, maker in codecs.items()}, default=None, return_dtype=pl.String
        )
        .fill_null(section.origin)
        .alias("source"),
        split.alias("split"),
    )


def _generated(rows: pl.DataFrame, track: Track, problems: _Problems) -> pl.DataFrame:
    """Generated speech: a clip's name is unique only together with its generator."""
    assert track.generated is not None  # noqa: S101 - read_list has looked
    generators = _makers(rows["field_0"], load_taxonomy().generator_by_spelling)
    _report_unknown(
        rows, "field_0", generators, list(load_taxonomy().generator_by_spelling), problems
    )
    source = pl.col("field_0").replace_strict(
        {word: maker.id for word, maker in generators.items()}, default=None, return_dtype=pl.String
    )
    return rows.with_columns(
        source.alias("source"),
        source.alias("group"),
        pl.concat_str(source, pl.lit("/"), pl.col("field_1")).alias("utt_id"),
        pl.when(pl.col("bin") == "spoof").then(pl.col("field_0")).alias("maker"),
        pl.lit(track.generated.split).alias("split"),
        pl.lit(None, pl.String).alias("speaker"),
    )


def _with_classes(rows: pl.DataFrame, problems: _Problems) -> pl.DataFrame:
    """Adds the classes by the taxonomy, and compares them with what the list says."""
    taxonomy = load_taxonomy()
    makers = {**taxonomy.codec_by_spelling, **taxonomy.generator_by_spelling}
    for task_id in TRACING_IDS:
        task = load_tasks()[task_id]
        made = {word: getattr(maker, task_id) for word, maker in makers.items()}
        truth = pl.col("maker").replace_strict(made, default=None, return_dtype=pl.String)
        rows = rows.with_columns(truth.fill_null("real").alias(task_id))
        said = f"said_{task_id}"
        # "-" says nothing; nor do "spoof" and "bonafide", which rows of four fields repeat.
        silent = pl.col(said).is_null() | (pl.col(said) == "-")
        named = _class_names(rows[said], task.class_index, task.class_names)
        heard = pl.col(said).replace_strict(named, default=None, return_dtype=pl.String)
        problems.add(
            rows.filter(~silent & heard.is_null()),
            f"unknown {task_id} class",
            pl.col(said),
            f"classes of {task_id}: {', '.join(task.class_names)}",
        )
        problems.add(
            rows.filter(~silent & heard.is_not_null() & (heard != pl.col(task_id))),
            f"the {task_id} class contradicts the taxonomy",
            pl.format("{} is {}, not {}", "source", task_id, said),
            f"cfbench tasks show {task_id} prints the taxonomy",
        )
    return rows


def _class_names(
    labels: pl.Series, index_of: Callable[[str], int | None], names: Sequence[str]
) -> dict[str, str]:
    found = {label: index_of(label) for label in labels.drop_nulls().unique()}
    return {label: names[index] for label, index in found.items() if index is not None}


def _makers(words: pl.Series, known: Mapping[str, Maker]) -> dict[str, Maker]:
    return {word: known[word] for word in words.drop_nulls().unique() if word in known}


def _report_unknown(
    rows: pl.DataFrame,
    column: str,
    found: Mapping[str, Maker],
    known: Sequence[str],
    problems: _Problems,
) -> None:
    kind = "codec" if column == "codec" else "generator"
    words = rows[column].drop_nulls().unique().sort()
    for word in words.filter(~words.is_in(list(found))):
        problems.add(
            rows.filter(pl.col(column) == word),
            f"unknown {kind} '{word}'{did_you_mean(word, known)}",
            pl.col("field_1"),
            f"the taxonomy of cfbench knows {len(set(known))} spellings of {kind}s: cfbench tasks show vq",
        )
