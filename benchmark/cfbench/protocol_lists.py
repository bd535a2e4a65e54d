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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cfbench.codes import dense_codes, first_rows, renumber
from cfbench.errors import CfbenchError, Problem, clip, did_you_mean, name_some, plural
from cfbench.tasks import TRACING_IDS, Track, load_tasks, load_taxonomy
from cfbench.text_files import find_undecodable_line

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
        A frame of the protocol's columns, and `line`, the row's line.

    Raises:
        CfbenchError: A row is malformed, or names an unknown codec, generator, label or class;
            every such problem of the list is reported.
    """
    rows, widths = _read_fields(path)
    generated = not _looks_like_speaker(rows["field_0"][0])
    section = track.generated if generated else track.resynthesised
    if section is None:
        kind = "generated" if generated else "re-synthesised"
        raise CfbenchError(
            f"{path}: a list of {kind} speech, of which the track {track.name} has none"
        )
    problems = _Problems(path)
    rows = _with_label_and_claims(rows, widths)
    rows = _generated(rows, track) if generated else _resynthesised(rows, track, problems)
    rows = _with_truth(rows, track, generated, problems)
    problems.raise_if_any()
    return rows.with_columns(subset_of(track)).select(
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

    def add(
        self, rows: pl.DataFrame, what: str, shown: pl.Expr | None = None, hint: str = ""
    ) -> None:
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


def _read_fields(path: Path) -> tuple[pl.DataFrame, list[int]]:
    """The rows as String columns `field_0`, ... (null where a row is shorter) and `line`.

    Returns:
        The rows, and which numbers of fields they have: one, or 4 and 5.
    """
    if not path.is_file():
        raise CfbenchError(f"{path}: a pipe or a device", "save it to a file first")
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
    except pl.exceptions.PolarsError as error:
        if "utf-8" in str(error):
            line = find_undecodable_line(path)
            hint = "save the list as UTF-8"
            raise CfbenchError(f"{path}, line {line}: not UTF-8 text", hint) from None
        raise CfbenchError(
            f"{path}: a row has more than {len(_FIELDS)} fields",
            "is it a protocol list? its fields are separated by single spaces",
        ) from None
    rows = rows.with_row_index("line", offset=1)
    words = [str(word).casefold() for word in rows.row(0)[1:]] if rows.height else []
    labelled = any(load_tasks()["bin"].class_index(word) is not None for word in words)
    if set(words) & _HEADER_WORDS and not labelled:
        rows = rows[1:]
    full = [name for name in _FIELDS if not rows[name].null_count()]
    empty = [name for name in _FIELDS if rows[name].null_count() == rows.height]
    if rows.height and len(full) in _FORMS and len(full) + len(empty) == len(_FIELDS):
        return rows.select("line", *full), [len(full)]
    return _check_widths(rows, path)


def _check_widths(rows: pl.DataFrame, path: Path) -> tuple[pl.DataFrame, list[int]]:
    there = [pl.col(name).is_not_null() for name in _FIELDS]
    rows = rows.with_columns(
        filled=pl.sum_horizontal(there).cast(pl.Int64),
        width=pl.max_horizontal(
            pl.when(is_there).then(number).otherwise(0) for number, is_there in enumerate(there, 1)
        ).cast(pl.Int64),
    )
    rows = rows.filter(pl.col("width") > 0)
    if not rows.height:
        raise CfbenchError(f"{path}: the list has no rows")
    gaps = rows.filter(pl.col("filled") < pl.col("width"))
    if gaps.height:
        raise CfbenchError(
            f"{path}: {plural(gaps.height, 'row')} with an empty field: {_lines(gaps)}",
            "fields are separated by single spaces",
        )
    widths = sorted(rows["width"].unique().to_list())
    if not set(widths) <= set(_FORMS) or (len(widths) > 1 and widths != [4, 5]):
        usual = rows["width"].mode().sort()[0]
        strange = rows.filter(pl.col("width") != usual if usual in _FORMS else pl.lit(True))
        raise CfbenchError(
            f"{path}: {plural(strange.height, 'row')} with a number of fields that no list of "
            f"CodecFake+ has: {_lines(strange)}",
            "a list has 3, 4 or 5, 6 or 7 fields a row, separated by single spaces; is it cut off?",
        )
    return rows.select("line", *_FIELDS[: max(widths)]), widths


def _looks_like_speaker(word: str) -> bool:
    return word[:1] in "ps" and word[1:].isdigit()


def _with_label_and_claims(rows: pl.DataFrame, widths: Sequence[int]) -> pl.DataFrame:
    """Adds `label`, and `said_vq`, ... where the list itself names classes."""
    # In rows of four fields the label stands where those of five have a class.
    short = pl.col(_FIELDS[4]).is_null() if widths == [4, 5] else pl.lit(False)
    form, shorter = _FORMS[max(widths)], _FORMS[min(widths)]
    label = pl.col(_FIELDS[form.label])
    rows = rows.with_columns(
        label=pl.when(short).then(pl.col(_FIELDS[shorter.label])).otherwise(label)
        if len(widths) > 1
        else label
    )
    claims = {task_id: pl.col(_FIELDS[field]) for task_id, field in form.claims.items()}
    # "-" says nothing.
    return rows.with_columns(
        pl.when(short | (claim == "-")).then(None).otherwise(claim).alias(f"said_{task_id}")
        for task_id, claim in claims.items()
    )


def _resynthesised(rows: pl.DataFrame, track: Track, problems: _Problems) -> pl.DataFrame:
    """`p227_260_bigcodec` is utterance p227_260, spoken by p227, through bigcodec."""
    section = track.resynthesised
    # Speaker and number may have any width: p225_001, s5_001.
    parts = rows["field_1"].str.splitn("_", 3).struct.unnest()
    rows = rows.with_columns(
        parts["field_0"].alias("speaker"),
        parts["field_1"].alias("number"),
        parts["field_2"].alias("maker"),
    )
    # Few numbers occur, so they are looked at once each.
    numbers = rows["number"].unique()
    strange = numbers.filter(~numbers.str.contains(r"^\d+$").fill_null(False))
    misnamed = (pl.col("speaker") != pl.col("field_0")) | pl.col("number").is_null()
    if len(strange):
        misnamed |= pl.col("number").is_in(strange.drop_nulls().to_list())
    problems.add(
        rows.filter(misnamed),
        "the utterance is not called SPEAKER_NUMBER or SPEAKER_NUMBER_CODEC after its speaker",
        pl.col("field_1"),
    )
    speakers = rows["speaker"].unique().drop_nulls().to_list()
    named = {"dev": section.dev, "id": section.id} if section else {}
    otherwise = section.otherwise if section else ""
    split_of = {
        speaker: next((name for name, inside in named.items() if speaker in inside), otherwise)
        for speaker in speakers
    }
    return rows.with_columns(
        pl.col("field_1").alias("utt_id"),
        pl.concat_str("speaker", "number", separator="_").alias("group"),
        pl.col("speaker")
        .replace_strict(split_of, default=None, return_dtype=pl.Enum(list(track.splits)))
        .alias("split"),
    )


def _generated(rows: pl.DataFrame, track: Track) -> pl.DataFrame:
    """A clip's name is unique only together with its generator."""
    known = load_taxonomy().generator_by_spelling
    # An unknown generator is reported where the truth is looked up.
    ids = {word: known[word].id if word in known else word for word in rows["field_0"].unique()}
    generator = pl.col("field_0").replace_strict(ids, return_dtype=pl.String)
    split = track.generated.split if track.generated else ""
    return rows.with_columns(
        pl.concat_str(generator, pl.lit("/"), pl.col("field_1")).alias("utt_id"),
        generator.alias("group"),
        pl.col("field_0").alias("maker"),
        pl.lit(split, pl.Enum(list(track.splits))).alias("split"),
        pl.lit(None, pl.String).alias("speaker"),
    )


def _with_truth(
    rows: pl.DataFrame, track: Track, generated: bool, problems: _Problems
) -> pl.DataFrame:
    """Adds source and classes: by the taxonomy, after a look at what the list says of them.

    There are few different combinations of codec, label and claims, so each is looked at once.
    """
    keys = ["maker", "label", *(name for name in rows.columns if name.startswith("said_"))]
    kinds: NDArray[np.integer] = np.zeros(rows.height, dtype=np.int32)
    for key in keys:
        codes, names = dense_codes(rows[key])
        kinds, counts = renumber(kinds.astype(np.int64) * (len(names) + 1) + codes + 1)
    looked_up = []
    for kind, row in enumerate(rows[first_rows(kinds, counts.size)].iter_rows(named=True)):
        truth, found = _truth_of(row, track, generated)
        looked_up.append(truth)
        for what, hint in found:
            problems.add(rows.filter(pl.Series(kinds == kind)), what, pl.col("field_1"), hint)
    tasks = load_tasks()
    columns = {"source": pl.String()} | {t: pl.Enum(tasks[t].class_names) for t in tasks}
    table = pl.DataFrame(looked_up, schema=columns, orient="row")
    return rows.with_columns(table[name].gather(kinds) for name in columns)


_Truth = tuple[str | None, str | None, str | None, str | None, str | None]


def _truth_of(
    key: Mapping[str, str | None], track: Track, generated: bool
) -> tuple[_Truth, list[tuple[str, str]]]:
    """Source, bin, vq, aux and dec of rows that are alike, and what is wrong with them."""
    tasks, taxonomy = load_tasks(), load_taxonomy()
    known = taxonomy.generator_by_spelling if generated else taxonomy.codec_by_spelling
    kind = "generator" if generated else "codec"
    found: list[tuple[str, str]] = []
    word, label = key["maker"], key["label"] or ""
    index = tasks["bin"].class_index(label)
    if index is None:
        names = tasks["bin"].class_names
        hint = f"labels are {' and '.join(names)}"
        found.append((f"unknown label '{clip(label)}'{did_you_mean(label, names)}", hint))
    spoofed = index == 0
    maker = None if word is None else known.get(word)
    if word is not None and maker is None:
        hint = "cfbench tasks show vq prints those that the taxonomy knows"
        found.append((f"unknown {kind} '{clip(word)}'{did_you_mean(word, list(known))}", hint))
    if not generated and index is not None and spoofed != (word is not None):
        told = "spoof, but the utterance names no codec"
        if not spoofed:
            told = "bonafide, but the utterance names a codec"
        found.append((f"labelled {told}", ""))
    classes = {t: getattr(maker, t) if spoofed and maker else "real" for t in TRACING_IDS}
    for task_id in TRACING_IDS:
        said = key.get(f"said_{task_id}")
        if said is None:
            continue
        task = tasks[task_id]
        heard = task.class_index(said)
        if heard is None:
            hint = f"classes of {task_id}: {', '.join(task.class_names)}"
            found.append(
                (
                    f"unknown {task_id} class '{clip(said)}'{did_you_mean(said, task.class_names)}",
                    hint,
                )
            )
        elif not found and task.class_names[heard] != classes[task_id]:
            who = f"{word} " if spoofed else "bona fide speech "
            found.append(
                (
                    f"{task_id} is given as {said}, but by the taxonomy {who}is {classes[task_id]}",
                    f"cfbench tasks show {task_id} prints the taxonomy",
                )
            )
    origin = track.resynthesised.origin if track.resynthesised else None
    source = origin if word is None else maker.id if maker else word
    truth = None if index is None else tasks["bin"].class_names[index]
    return (source, truth, classes["vq"], classes["aux"], classes["dec"]), found
