"""Simulated data of the real shape and size: the Hub's CoRS list, and predictions for it."""

from pathlib import Path

import numpy as np
import polars as pl

from cfbench.tasks import TRACING_IDS, load_tasks, load_taxonomy

SPEAKERS = 110
SOURCE_UTTERANCES = 44_455
SEED = 20241123

TRACK = """\
name = "codecfake-plus-whole"
title = "CodecFake+ CoRS, all speakers in one split"
version = "1"
description = "For measuring cfbench at full size."
tasks = ["bin", "vq", "aux", "dec"]
scored = ["id"]

[splits.id]
title = "Everything"
group = "source utterance"

[resynthesised]
origin = "VCTK"
otherwise = "id"
"""


def write_full_size(folder: Path) -> None:
    """Write track.toml, CoRS_labels.txt (1,422,560 rows), predictions.csv and .parquet.

    Predictions are partly right, rounded to six decimals, in random order.
    """
    generator = np.random.default_rng(SEED)
    codecs = load_taxonomy().codecs
    per_speaker = np.bincount(
        generator.integers(0, SPEAKERS, SOURCE_UTTERANCES), minlength=SPEAKERS
    )
    utterances = [
        f"p{225 + speaker}_{number + 1:03d}"
        for speaker, count in enumerate(per_speaker)
        for number in range(count)
    ]
    names = ["", *(f"_{codec.id}" for codec in codecs)]
    ids = [utterance + name for utterance in utterances for name in names]
    labels = ["bonafide", *(["spoof"] * len(codecs))] * len(utterances)
    (folder / "track.toml").write_text(TRACK)
    pl.DataFrame({"s": [i.split("_", 1)[0] for i in ids], "u": ids, "l": labels}).write_csv(
        folder / "CoRS_labels.txt", separator=" ", include_header=False
    )
    frame = _predictions(ids, len(utterances), generator)
    frame.write_csv(folder / "predictions.csv")
    frame.write_parquet(folder / "predictions.parquet")


def _predictions(ids: list[str], n_sources: int, generator: np.random.Generator) -> pl.DataFrame:
    codecs = load_taxonomy().codecs
    columns: dict[str, np.ndarray] = {}
    is_real = np.tile([True] + [False] * len(codecs), n_sources)
    # A source utterance is hard or easy for all its copies: groups are worth resampling.
    ease = np.repeat(generator.normal(0, 0.5, n_sources), len(codecs) + 1)
    columns["bin_bonafide"] = 1 / (
        1 + np.exp(-(np.where(is_real, 1.2, -1.2) + ease + generator.normal(0, 1, len(ids))))
    )
    for task_id in TRACING_IDS:
        task = load_tasks()[task_id]
        made = [0] + [task.class_names.index(getattr(codec, task_id)) for codec in codecs]
        truth = np.tile(made, n_sources)
        logits = generator.normal(0, 1, (len(task.classes), len(ids)))
        logits[truth, np.arange(len(ids))] += 1.5 + ease
        odds = np.exp(logits)
        columns |= dict(zip(task.columns, odds / odds.sum(axis=0), strict=True))
    frame = pl.DataFrame({"utt_id": ids} | columns)
    rounded = frame.with_columns(pl.col(pl.Float64).round(6))
    return rounded[generator.permutation(len(ids))]
