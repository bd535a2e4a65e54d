"""What training keeps on the disk: each file and folder whole, or as it was before."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from cfbench.errors import CfbenchError
from cfbench.files import write_atomically
from cfbench.material import Material
from cfbench.recipes import Recipe


def run_digest(recipe: Recipe, material: Material, start: str) -> str:
    """The same for runs that may continue each other.

    Args:
        recipe: What decides the weights is looked at: not how often checkpoints are written, and
            the number of epochs only where the learning rate depends on it.
        material: Utterances and their labels.
        start: Says where the model started from.
    """
    said = recipe.model_dump(mode="json")
    for key in ("name", "title", "description", "card", "track", "prediction"):
        del said[key]
    del said["model"]["checkpoint"], said["model"]["front_end"]["weights"]
    for key in ("checkpoint_every", "curves", "keep", "threads"):
        del said["training"][key]
    if recipe.training.schedule == "constant":
        del said["training"]["epochs"]
    if recipe.training.weights == "fp32":
        # As before there was a choice.
        del said["training"]["weights"]
    digest = hashlib.sha256(json.dumps([said, start], sort_keys=True).encode())
    columns = ["utt_id", "source", "group", "bin", "vq", "aux", "dec"]
    for frame in (material.train, material.dev):
        digest.update(frame.select(columns).sort("utt_id").write_csv().encode())
    return digest.hexdigest()


_KEYS = {"step", "model", "optimizer", "scheduler", "scaler", "random", "best", "curves"}


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write the state of a run.

    Raises:
        CfbenchError: It cannot be written; what was there before still is.
    """

    def write(place: Path) -> None:
        try:
            torch.save(state, place)
        except RuntimeError as error:
            # torch says so of a disk that is full.
            reason = str(error).splitlines()[0]
            raise CfbenchError(
                f"{path}: the checkpoint cannot be written: {reason}",
                "make room on the disk; then run again: training goes on from the one before",
            ) from None

    write_atomically(path, write)


def load_state(path: Path, digest: str) -> dict[str, Any] | None:
    """The state that `save_state` wrote; None where there is none.

    Raises:
        CfbenchError: It is damaged, or another run's: its "digest" differs.
    """
    if not path.is_file():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        said, complete = state["digest"], set(state) >= _KEYS
    except Exception:  # a broken pickle can raise anything
        said, complete = "", False
    if not complete:
        raise CfbenchError(
            f"{path}: no checkpoint of cfbench, or a damaged one",
            "remove it to start again from the beginning",
        ) from None
    if said != digest:
        raise CfbenchError(
            f"{path}: is of another recipe, other data or another front end",
            "name another folder, or remove this one",
        )
    return dict(state)


def random_state() -> dict[str, Any]:
    """Of torch's generators; nothing else that is random goes on from one step to the next."""
    cuda = torch.cuda.get_rng_state() if torch.cuda.is_available() else None
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def set_random_state(state: Mapping[str, Any]) -> None:
    """What `random_state` has said."""
    torch.set_rng_state(state["cpu"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


def replace_folder(folder: Path, write: Callable[[Path], object]) -> None:
    """Write a folder under a temporary name beside it, then rename it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        try:
            write(temporary)
        except (OSError, SafetensorError) as error:
            raise CfbenchError(
                f"{folder}: cannot be written: {error}", "make room on the disk; then run again"
            ) from None
        temporary.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def clean_up(folder: Path) -> None:
    """Remove what a run that was killed was writing: it may be as large as a model."""
    for pattern in (".last.pt.*", ".epoch-*.*", ".model.*", ".front-end-*.*"):
        for path in folder.glob(pattern):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
