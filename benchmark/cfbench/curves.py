"""Learning curves: in curves.jsonl, and where else a recipe wants them."""

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from cfbench.errors import CfbenchError
from cfbench.files import write_text


class Curves:
    """What was measured, a line a step and a line an evaluation.

    Args:
        accelerator: Made with `log_with` and `project_dir`; only its first process writes.
        folder: Where curves.jsonl is written.
        name: What a tracker calls the run.

    Attributes:
        lines: Each with "step" and "epoch" and what was measured then.
    """

    def __init__(self, accelerator: Accelerator, folder: Path, name: str) -> None:
        self.accelerator, self.folder, self.name = accelerator, folder, name
        self.lines: list[dict[str, float]] = []

    def start(self, first: int) -> None:
        """Start the trackers.

        Args:
            first: What they know of this step and later ones comes again and is replaced.
        """
        extra: dict[str, Any] = {"tensorboard": {"purge_step": first}}
        self.accelerator.init_trackers(self.name, init_kwargs=extra)
        for line in self.lines:
            if line["step"] >= first:
                self._track(line)

    def add(self, line: dict[str, float]) -> None:
        """Keep a line."""
        self.lines.append(line)
        self._track(line)

    def write(self) -> None:
        """See that all lines are on the disk."""
        text = "".join(json.dumps(line) + "\n" for line in self.lines)
        write_text(self.folder / "curves.jsonl", text)
        for tracker in self.accelerator.trackers:
            if tracker.name == "tensorboard":
                tracker.writer.flush()

    def finish(self) -> None:
        """Part from the trackers."""
        for tracker in self.accelerator.trackers:
            tracker.finish()
        self.accelerator.trackers = []

    def _track(self, line: Mapping[str, float]) -> None:
        numbers = {name: value for name, value in line.items() if name not in ("step", "epoch")}
        self.accelerator.log(numbers, step=int(line["step"]))


def require_tracker(name: str) -> None:
    """Make sure that a tracker is installed.

    Raises:
        CfbenchError: It is not.
    """
    if name != "none" and not importlib.util.find_spec(name):
        wanted = "'cfbench[curves]'" if name == "tensorboard" else name
        raise CfbenchError(
            f"training.curves: {name} is not installed",
            f"pip install {wanted}, or --set training.curves=none: curves.jsonl is always written",
        )
