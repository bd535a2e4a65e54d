"""Utterances whose samples are the same: fakes that are no fakes, and tests seen in training."""

from typing import NamedTuple

import polars as pl


class Duplicates(NamedTuple):
    """Groups of utterances with the same samples; each group is named `a = b`.

    Attributes:
        labels: Such as hold a real utterance and a fake.
        splits: Such as lie in more than one split.
        within: All others.
        compared: How many utterances could be compared, and
        unknown: how many could not, because nobody has read their samples.
    """

    labels: list[str]
    splits: list[str]
    within: list[str]
    compared: int
    unknown: int


def content(frame: pl.DataFrame) -> pl.DataFrame:
    """Adds `content`: what is the same for files with the same samples; null where not known.

    Samples count where their digest is known, which finds a WAV and its FLAC; else the whole file.
    """
    return frame.with_columns(content=pl.coalesce("pcm_md5", "sha256"))


def find_duplicates(frame: pl.DataFrame) -> Duplicates:
    """Find them among the utterances of a manifest; a group may be in two of the lists."""
    known = content(frame).filter(pl.col("utt_id").is_not_null(), pl.col("problem").is_null())
    unknown = known["content"].null_count()
    known = known.filter(pl.col("content").is_not_null())
    # An utterance with two files is reported as that.
    several = known.filter(pl.col("content").is_duplicated()).unique(["utt_id", "content"])
    groups = (
        several.sort("utt_id")
        .group_by("content", maintain_order=True)
        .agg(
            pl.col("utt_id"),
            pl.col("bin").drop_nulls().n_unique().alias("labels"),
            pl.col("split").n_unique().alias("splits"),
        )
        .filter(pl.col("utt_id").list.len() > 1)
        .with_columns(pl.col("utt_id").list.join(" = ").alias("named"))
        .sort("named")
    )

    def named(which: pl.Expr) -> list[str]:
        return groups.filter(which)["named"].to_list()

    labels, splits = pl.col("labels") > 1, pl.col("splits") > 1
    return Duplicates(named(labels), named(splits), named(~labels & ~splits), known.height, unknown)
