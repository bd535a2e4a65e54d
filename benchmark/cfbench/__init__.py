"""cfbench: benchmark and leaderboard toolkit for tracing codec-based deepfake speech."""

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from cfbench.api import read_predictions, read_protocol, score
    from cfbench.dataset import load_dataset, read_audio
    from cfbench.errors import CfbenchError
    from cfbench.scorecard import Scorecard

__all__ = [
    "CfbenchError",
    "Scorecard",
    "__version__",
    "load_dataset",
    "read_audio",
    "read_predictions",
    "read_protocol",
    "score",
]

_HOMES = {
    "CfbenchError": "cfbench.errors",
    "Scorecard": "cfbench.scorecard",
    "load_dataset": "cfbench.dataset",
    "read_audio": "cfbench.dataset",
    "read_predictions": "cfbench.api",
    "read_protocol": "cfbench.api",
    "score": "cfbench.api",
}


def __getattr__(name: str) -> object:
    # Imported when asked for: `cfbench --help` must not wait for polars.
    if name in _HOMES:
        import importlib

        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
