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


def write_test_size(folder: Path) -> None:
    """Write test-track.toml, test-protocol.csv and test.csv: the real test protocol's shape.

    In domain 755 source utterances x (30 codecs + the original); out of domain 17 generators
    with the number of clips that each has in CodecFake+.
    """
    generator = np.random.default_rng(SEED)
    taxonomy = load_taxonomy()
    rows: list[tuple[str, str, str, str, str, str, str, str]] = []
    for number in range(755):
        name = f"p{227 + number % 2}_{number:03d}"
        rows.append((name, "id", "VCTK", name, "bonafide", "real", "real", "real"))
        rows += [
            (f"{name}_{codec.id}", "id", codec.id, name, "spoof", *codec.cell)
            for codec in taxonomy.codecs
            if codec.id != "Encodec_24b24k"
        ]
    for maker in taxonomy.generators:
        spoofs, bonafide = CLIPS[maker.id]
        name = maker.id
        rows += [(f"{name}/{i}", "ood", name, name, "spoof", *maker.cell) for i in range(spoofs)]
        rows += [
            (f"{name}/ref_{i}", "ood", name, name, "bonafide", "real", "real", "real")
            for i in range(bonafide)
        ]
    columns = ["utt_id", "split", "source", "group", "bin", "vq", "aux", "dec"]
    protocol = pl.DataFrame(rows, schema=columns, orient="row")
    protocol.write_csv(folder / "test-protocol.csv")
    (folder / "test-track.toml").write_text(TEST_TRACK)
    is_real = (protocol["bin"] == "bonafide").to_numpy()
    scores = np.where(is_real, 1.2, -1.2) + generator.normal(0, 1, len(rows))
    answers = {"utt_id": protocol["utt_id"], "bin_bonafide": 1 / (1 + np.exp(-scores))}
    for task_id in TRACING_IDS:
        task = load_tasks()[task_id]
        truth = [task.class_names.index(label) for label in protocol[task_id]]
        logits = generator.normal(0, 1, (len(task.classes), len(rows)))
        logits[truth, np.arange(len(rows))] += 1.5
        odds = np.exp(logits)
        answers |= dict(zip(task.columns, odds / odds.sum(axis=0), strict=True))
    pl.DataFrame(answers).write_csv(folder / "test.csv")


# Spoofed and bona fide clips of each generator in CoSG.
CLIPS = {
    "ELLAV": (8, 8),
    "VALLE": (57, 53),
    "GPST": (30, 10),
    "UNIAUDIO": (11, 11),
    "TACOLM": (8, 8),
    "SPEECHX": (8, 8),
    "RALLE": (5, 5),
    "VIOLA": (7, 7),
    "NS2": (23, 23),
    "CLAMTTS": (78, 41),
    "MASKGCT": (576, 576),
    "NS3": (32, 32),
    "USLM": (5, 5),
    "SIMPLESPEECH1": (32, 34),
    "SIMPLESPEECH2": (31, 31),
    "TI1G1R": (6, 6),
    "SINGLECODEC": (14, 8),
}

TEST_TRACK = """\
name = "codecfake-plus-shape"
title = "The shape of CodecFake+'s test protocol"
version = "1"
description = "For measuring cfbench."
tasks = ["bin", "vq", "aux", "dec"]
scored = ["id", "ood"]

[splits.id]
title = "In domain"
group = "source utterance"

[splits.ood]
title = "Out of domain"
group = "generator"

[[splits.ood.subsets]]
name = "unseen-codec"
title = "Generators whose codec CoRS does not hold"
sources = ["MASKGCT", "NS2", "SINGLECODEC"]
"""
