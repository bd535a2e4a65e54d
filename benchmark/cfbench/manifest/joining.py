"""Which file is which utterance's, whatever folders an archive has put them in."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cfbench.manifest.table import FILES, truth_columns
from cfbench.protocol import Protocol
from cfbench.tasks import Track, load_taxonomy


@dataclass(frozen=True, eq=False)
class Join:
    """A manifest's rows with what the protocol says of them.

    Attributes:
        frame: The columns of `table.SCHEMA` and of the track's own tasks, sorted by root and path.
        lacking: `utt_id` and `split` of utterances without a file.
        doubled: Rows of utterances that have more than one.
        spelled: Files that were found though their name spells codec or generator otherwise.
        renamed: Files that were found by a table of names.
        elsewhere: Files of utterances that are there under the protocol's name too.
    """

    frame: pl.DataFrame
    lacking: pl.DataFrame
    doubled: pl.DataFrame
    spelled: pl.DataFrame
    renamed: pl.DataFrame
    elsewhere: pl.DataFrame


def match(files: pl.DataFrame, ids: pl.Series, track: Track) -> NDArray[np.int64]:
    """The utterance of each file, of a list of utterances, by its path.

    Folders above those that an utterance's own name has do not matter. Looked for are, in this
    order: the path's end as it is, the generator's folder in another case or spelling, and a clip
    in no folder of its generator whose name begins with it (`CLAMTTS_1`).

    Args:
        files: With the column `path`.
        ids: Unique utt_ids.
        track: Whose they are.

    Returns:
        (files,): the row of its utterance in `ids`; -1 where there is none.
    """
    index = pl.DataFrame({"utt_id": ids}).with_row_index("at")
    # Splitting is several times quicker than a regular expression.
    parts = files["path"].str.split("/")
    clips = _without_suffix(parts.list.last())
    at = np.full(files.height, -1, np.int64)

    def look(rows: NDArray[np.int64], candidates: pl.Series) -> None:
        asked = pl.DataFrame({"row": rows, "utt_id": candidates})
        found = asked.join(index, on="utt_id", how="inner")
        at[found["row"].to_numpy()] = found["at"].to_numpy()

    depths = ids.str.count_matches("/", literal=True)
    for depth in depths.unique().sort(descending=True):
        if not depth:
            rows = np.flatnonzero(at < 0)
            look(rows, clips.gather(rows))
            continue
        heads = ids.filter(depths == depth).str.split("/").list.first().unique()
        begin = parts.list.get(-(depth + 1), null_on_oob=True)
        rows = np.flatnonzero((at < 0) & begin.is_in(heads.implode()).fill_null(False).to_numpy())
        above = parts.gather(rows).list.tail(depth + 1).list.head(depth).list.join("/")
        look(rows, above + "/" + clips.gather(rows))
        if depth == 1 and track.generated is not None:
            rows = np.flatnonzero(at < 0)
            folders = parts.list.get(-2, null_on_oob=True).gather(rows)
            look(rows, _by_generator(folders, clips.gather(rows)))
    return at


def _without_suffix(names: pl.Series) -> pl.Series:
    for suffix in (".wav", ".flac"):
        if names.str.ends_with(suffix).all():
            return names.str.strip_suffix(suffix)
    return names.str.replace(r"\.[^./]*$", "")


def _by_generator(folders: pl.Series, clips: pl.Series) -> pl.Series:
    """The ids of clips whose folder, or else whose name, spells a generator in some way."""
    known = load_taxonomy().generator_by_spelling
    names = {word.casefold(): maker.id for word, maker in known.items()}
    frame = pl.DataFrame({"folder": folders, "clip": clips})

    def id_of(word: pl.Expr) -> pl.Expr:
        generator = word.str.to_lowercase().replace_strict(
            names, default=None, return_dtype=pl.String
        )
        return pl.concat_str(generator, pl.lit("/"), pl.col("clip"))

    # A folder of the generator says more than the clip's name.
    named = pl.col("clip").str.extract(r"^(.+)_\d+$")
    return frame.select(pl.coalesce(id_of(pl.col("folder")), id_of(named)).alias("utt_id"))[
        "utt_id"
    ]


def utterances(protocol: Protocol) -> pl.DataFrame:
    """`utt_id` and `split` of all utterances that a protocol names, those held back too."""
    frame = protocol.frame.select("utt_id", pl.col("split").cast(pl.String))
    return pl.concat([frame, protocol.held_back]) if protocol.held_back.height else frame


def _truth(protocol: Protocol) -> pl.DataFrame:
    names = truth_columns(protocol.track)
    frame = protocol.frame.select("utt_id", *(pl.col(name).cast(pl.String) for name in names))
    if not protocol.held_back.height:
        return frame
    return pl.concat([frame, protocol.held_back], how="diagonal")


def join(files: pl.DataFrame, protocol: Protocol, names: pl.DataFrame | None = None) -> Join:
    """Lay a protocol beside the files of a manifest.

    Args:
        files: The columns of `table.FILES`.
        protocol: What is known of the utterances.
        names: Other names of utterances: `other` and `utt_id`, both unique; None for none.
    """
    truth = _truth(protocol)
    track = protocol.track
    at = match(files, truth["utt_id"], track)
    spelled = renamed = elsewhere = np.empty(0, np.int64)
    left = np.flatnonzero(at < 0)
    if left.size and track.resynthesised is not None:
        found = _by_codec(files[left], truth, np.bincount(at[at >= 0], minlength=truth.height) == 0)
        spelled, at[left] = left[found >= 0], found
        left = left[found < 0]
    if left.size and names is not None and names.height:
        other = match(files[left], names["other"], track)
        rows = pl.DataFrame({"utt_id": truth["utt_id"]}).with_row_index("at")
        home = names.join(rows, on="utt_id", how="left", maintain_order="left")["at"]
        mapped = np.where(other >= 0, home.cast(pl.Int64).fill_null(-1).to_numpy()[other], -1)
        there = np.isin(mapped, at[at >= 0]) & (mapped >= 0)
        elsewhere, renamed = left[there], left[(mapped >= 0) & ~there]
        at[renamed] = mapped[(mapped >= 0) & ~there]
    # Gathering by row is quicker than to join once more by name.
    gathered = truth[pl.Series(at).clip(0)] if truth.height else truth
    there_at_all = pl.Series(at >= 0)
    frame = pl.concat([files, gathered], how="horizontal")
    if not there_at_all.all():
        frame = frame.with_columns(
            pl.when(there_at_all).then(pl.col(name)) for name in truth.columns
        )
    frame = frame.select("utt_id", *FILES, *truth_columns(track))
    # Counting rows is quicker than comparing names.
    count = np.bincount(at[at >= 0], minlength=truth.height)
    lacking = truth.select("utt_id", "split").filter(pl.Series(count == 0))
    doubled = frame[np.flatnonzero(count[at] * (at >= 0) > 1)] if truth.height else frame.clear()
    return Join(frame, lacking, doubled, files[spelled], files[renamed], files[elsewhere])


def as_joined(frame: pl.DataFrame, protocol: Protocol) -> Join:
    """The rows of a manifest that a protocol was laid beside before."""
    lacking = utterances(protocol).join(frame, on="utt_id", how="anti").sort("utt_id")
    doubled = frame.filter(pl.col("utt_id").is_not_null(), pl.col("utt_id").is_duplicated())
    nothing = frame.clear()
    return Join(frame, lacking, doubled, nothing, nothing, nothing)


def _by_codec(
    files: pl.DataFrame, truth: pl.DataFrame, lacking: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Of `p225_001_mimicodec` the utterance that the protocol calls `p225_001_mini`."""
    ids = {word: maker.id for word, maker in load_taxonomy().codec_by_spelling.items()}
    clips = _without_suffix(files["path"].str.split("/").list.last())
    parts = clips.str.splitn("_", 3).struct.rename_fields(["speaker", "number", "codec"])
    codec = pl.col("codec").replace_strict(ids, default=None, return_dtype=pl.String)
    keys = parts.struct.unnest().select(
        key=pl.concat_str("speaker", pl.lit("_"), "number", pl.lit("_"), codec)
    )
    known = (
        truth.with_row_index("at")
        .filter(pl.Series(lacking) & (pl.col("bin") == "spoof"))
        .select("at", key=pl.concat_str("group", pl.lit("_"), "source"))
        .unique("key", keep="none")
    )
    joined = keys.join(known, on="key", how="left", maintain_order="left")
    return joined["at"].cast(pl.Int64).fill_null(-1).to_numpy().copy()
