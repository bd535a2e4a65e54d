"""Entries on the made-up example that ships with cfbench, made the way a user makes them."""

import datetime
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

import cfbench
from cfbench import content
from cfbench.entry import Made, make_entry
from cfbench.review import verifier
from cfbench.submission import System, make_system

TRACK = "example"


def example_predictions() -> pl.DataFrame:
    with content.as_path("tasks/example/predictions.csv") as path:
        return pl.read_csv(path)


def example_truth() -> pl.DataFrame:
    return cfbench.read_protocol(track=TRACK).frame


def confused(share: float, seed: int = 0) -> pl.DataFrame:
    """The example's answers, a share of them those of another utterance."""
    frame = example_predictions()
    order = pl.Series(range(frame.height))
    drawn = order.sample(int(share * frame.height), seed=seed).sort()
    moved = drawn.sample(len(drawn), seed=seed + 1, shuffle=True)
    source = order.to_frame("to").with_columns(pl.col("to").alias("from"))
    swap = pl.DataFrame({"to": drawn, "from": moved})
    rows = source.update(swap, on="to").sort("to")["from"]
    return frame.select("utt_id").hstack(frame.drop("utt_id")[rows.to_list()])


def system(name: str = "Made-up system", **fields: Any) -> System:
    given: dict[str, Any] = {
        "name": name,
        "team": "The testers",
        "description": "Numbers that were made up.",
        "contact": "nobody@example.org",
        "licence": "CC0-1.0",
        "training_data": ["nothing"],
        "only_track_data": True,
        "date": datetime.date(2026, 3, 31),
    }
    return make_system(given | fields)


def scored(predictions: pl.DataFrame, folder: Path, suffix: str = ".csv") -> tuple[Path, Path]:
    """A file of predictions and its scorecard, in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    path, card = folder / f"p{suffix}", folder / "scorecard.json"
    if suffix == ".parquet":
        predictions.write_parquet(path)
    else:
        predictions.write_csv(path)
    card.write_text(cfbench.score(path, track=TRACK).to_json(), encoding="utf-8")
    return path, card


def make(
    board: Path,
    folder: Path,
    name: str = "Made-up system",
    predictions: pl.DataFrame | None = None,
    **fields: Any,
) -> Made:
    """An entry in `board`; `folder` holds what it is made of."""
    frame = example_predictions() if predictions is None else predictions
    path, card = scored(frame, folder)
    return make_entry(card, system(name, **fields), str(path), board, verifier())


def copier(made: Made) -> Callable[[Path], Path]:
    """A function that copies an entry into a folder, so that a test can spoil it."""

    def copy(folder: Path) -> Path:
        target = folder / made.folder.name
        shutil.copytree(made.folder, target)
        return target

    return copy
