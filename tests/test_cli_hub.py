"""Models on the Hub, over real HTTP: converted from there, predicted with from there."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import torch

import authors_checkpoints as authors
import speech
from hub_server import Hub

pytest.importorskip("huggingface_hub")


def cfbench(
    hub: Hub, home: Path, *arguments: object, offline: bool = False
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **hub.environment(home), "OMP_WAIT_POLICY": "passive"}
    if offline:
        environment["HF_HUB_OFFLINE"] = "1"
    return subprocess.run(
        [sys.executable, "-m", "cfbench", *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment,
        cwd=home,
        check=False,
    )


@pytest.mark.slow
def test_an_authors_checkpoint_from_the_hub_to_predictions(
    tmp_path: Path, run_cli: Callable
) -> None:
    geometry = authors.Geometry()
    torch.save(authors.checkpoint(geometry, ["bin", "aux"]), tmp_path / "D_AUX.pth")
    (tmp_path / "config.json").write_text(json.dumps(geometry.settings()))
    corpus = speech.make_corpus(tmp_path / "corpus", [("id", 2), ("ood", 1)])
    predict = ("predict", "--track", corpus.track, "--audio", corpus.audio)
    with Hub() as hub:
        hub.add("lab/authors", {"models/D_AUX.pth": (tmp_path / "D_AUX.pth").read_bytes()})
        convert = ("convert-checkpoint", "lab/authors/models/D_AUX.pth")
        done = cfbench(hub, tmp_path, *convert, "converted", "--config", "config.json")
        assert done.returncode == 0, done.stderr
        assert "converted: bin, aux" in done.stderr

        missing = cfbench(hub, tmp_path, "convert-checkpoint", "lab/authors/models/D_AUX2.pth", "x")
        assert missing.returncode == 2
        assert "models/D_AUX.pth" in missing.stderr
        assert "Traceback" not in missing.stderr
        assert not (tmp_path / "x").exists()

        hub.add_folder("lab/converted", tmp_path / "converted")
        done = cfbench(hub, tmp_path, *predict, "--model", "lab/converted", "--out", "hub.parquet")
        assert done.returncode == 0, done.stderr
        local = (tmp_path / "converted", "--out", tmp_path / "local.parquet")
        assert run_cli(*predict, "--model", *local).code == 0
        frame = pl.read_parquet(tmp_path / "hub.parquet")
        assert frame.height == 12
        assert frame.equals(pl.read_parquet(tmp_path / "local.parquet"))

        # What was downloaded once is there without a network.
        done = cfbench(
            hub, tmp_path, *predict, "--model", "lab/converted", "--out", "off.csv", offline=True
        )
        assert done.returncode == 0, done.stderr
