"""Writes the made-up example: tasks/example/protocol.csv and predictions.csv.

    python tests/make_example.py [FOLDER]

The example is these two tables, tasks/tracks/example.toml, this script and tests/test_example.py.
"""

import csv
import math
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from cfbench.tasks import TRACING_IDS, load_tasks, load_taxonomy

FOLDER = Path(__file__).parents[1] / "tasks" / "example"
SEED = 2025

SPEAKERS = 4
SOURCE_UTTERANCES = 40
CODECS = (
    "DAC24",
    "vocos_encodec_6",
    "SpeechTokenizer_hubert_avg",
    "SemantiCodec_0.70kbps_16k",
    "FACodec_encodec-decoder-v2_16k",
    "bigcodec",
    "wavtokenizer_small_320_24k_4096",
    "spectralcodecs",
)
# Spoofed and bona fide clips of each generator.
GENERATORS = {
    "CLAMTTS": (14, 7),
    "MASKGCT": (20, 12),
    "NS3": (9, 9),
    "SIMPLESPEECH1": (9, 8),
    "SINGLECODEC": (8, 4),
    "TI1G1R": (6, 5),
    "USLM": (5, 5),
    "VALLE": (10, 8),
}
# How far the truth stands out of the noise, by split: plainly in domain, barely out of it.
CLARITY = {
    "id": {"bin": 3.0, "vq": 3.5, "aux": 3.4, "dec": 3.2},
    "ood": {"bin": 1.4, "vq": 1.6, "aux": 1.2, "dec": 1.3},
}
# Utterances of one group are hard or easy together.
SPREAD_OF_GROUPS = {"id": 0.5, "ood": 0.8}
DECIMALS = 4

Row = dict[str, str]


def make_protocol() -> list[Row]:
    """The rows of the protocol; the classes are those of the taxonomy."""
    codecs = load_taxonomy().codec_by_spelling
    generators = load_taxonomy().generator_by_spelling
    rows = []
    for number in range(SOURCE_UTTERANCES):
        speaker = f"ex{number % SPEAKERS + 1}"
        utterance = f"{speaker}_{number + 1:03d}"
        rows.append(_row(utterance, "id", "recorded", utterance, None, speaker))
        rows += [
            _row(f"{utterance}_{name}", "id", name, utterance, codecs[name].cell, speaker)
            for name in CODECS
        ]
    for name, (spoofed, bonafide) in GENERATORS.items():
        for clip in range(spoofed + bonafide):
            cell = generators[name].cell if clip < spoofed else None
            rows.append(_row(f"{name}/ex_{clip + 1:02d}", "ood", name, name, cell, ""))
    return rows


def make_predictions(protocol: Sequence[Row]) -> list[dict[str, str]]:
    """An answer to every row: probabilities that lean towards the truth."""
    generator = random.Random(SEED)
    ease = {
        row["group"]: _normal(generator) * SPREAD_OF_GROUPS[row["split"]]
        for row in {row["group"]: row for row in protocol}.values()
    }
    answers = []
    for row in protocol:
        answer = {"utt_id": row["utt_id"]}
        for task in load_tasks().values():
            clarity = max(0.0, CLARITY[row["split"]][task.id] + ease[row["group"]])
            truth = task.class_names.index(row[task.id])
            odds = [
                math.exp(_normal(generator) + (clarity if index == truth else 0.0))
                for index in range(len(task.classes))
            ]
            rounded = dict(zip(task.columns, _shares(odds), strict=True))
            # One column says it all of a task with two classes.
            answer |= {"bin_bonafide": rounded["bin_bonafide"]} if task.id == "bin" else rounded
        answers.append(answer)
    return answers


def write_example(folder: Path) -> None:
    """Write both tables into a folder."""
    protocol = make_protocol()
    _write(folder / "protocol.csv", protocol)
    _write(folder / "predictions.csv", make_predictions(protocol))


def _row(
    utt_id: str,
    split: str,
    source: str,
    group: str,
    cell: tuple[str, str, str] | None,
    speaker: str,
) -> Row:
    classes = dict(zip(TRACING_IDS, cell or ("real", "real", "real"), strict=True))
    return {
        "utt_id": utt_id,
        "split": split,
        "source": source,
        "group": group,
        "bin": "spoof" if cell else "bonafide",
        **classes,
        "speaker": speaker,
    }


def _normal(generator: random.Random) -> float:
    # Of Python's random numbers only random() promises the same stream in every version.
    return sum(generator.random() for _ in range(12)) - 6.0


def _shares(odds: Sequence[float]) -> Iterator[str]:
    total = sum(odds)
    return (f"{value / total:.{DECIMALS}f}" for value in odds)


def _write(path: Path, rows: Sequence[dict[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    write_example(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
