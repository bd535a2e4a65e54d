"""Codecs for tests of the embedded track's plumbing, found by name in other processes too.

A codec's TOML file says how coarse its steps are, and how it should misbehave.
"""

import os
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


class Steps:
    """Rounds to steps, then smooths."""

    def __init__(self, settings: dict[str, float]) -> None:
        self.settings = settings

    def resynthesise(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        time.sleep(self.settings.get("sleep", 0))
        if self.settings.get("broken"):
            raise ValueError("a codec that is broken")
        if self.settings.get("nan"):
            return np.full_like(samples, np.nan)
        steps = self.settings["steps"]
        coarse = np.round(samples * steps) / steps
        out = np.convolve(coarse, [0.25, 0.5, 0.25], mode="same")
        # Another platform rounds otherwise, and another codec hears otherwise.
        out = out * (1 + self.settings.get("rounding", 0)) + self.settings.get("hum", 0) * np.sin(
            np.arange(len(out))
        )
        return out.astype(np.float32)


def load(path: Path) -> Steps:
    return Steps(tomllib.loads(path.read_text()))


def die(path: Path) -> Steps:
    print("out of something", file=sys.stderr, flush=True)
    os._exit(3)


class Net:
    """A small torch module: sums whose order matters."""

    def __init__(self, seed: int) -> None:
        import torch

        torch.manual_seed(seed)
        self.torch = torch
        self.net = torch.nn.Sequential(
            torch.nn.Conv1d(1, 8, 16, 8, 4),
            torch.nn.Tanh(),
            torch.nn.ConvTranspose1d(8, 1, 16, 8, 4),
        )

    def resynthesise(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        with self.torch.inference_mode():
            whole = len(samples) // 8 * 8
            out = self.net(self.torch.from_numpy(samples[None, None, :whole]))[0, 0]
            return (out / out.abs().max() / 2).numpy()


def load_net(path: Path) -> Net:
    return Net(int(tomllib.loads(path.read_text())["seed"]))


def hear(pcm: NDArray[np.int16], key: str) -> NDArray[np.float32]:
    """The file as it is."""
    return pcm.astype(np.float32) / np.float32(32768)


def finish(samples: NDArray[np.float32], key: str) -> NDArray[np.int16]:
    """To 16 bits, with a noise of the clip's own."""
    rng = np.random.default_rng(sum(key.encode()))
    noisy = np.asarray(samples, np.float64) + 3e-4 * rng.standard_normal(len(samples))
    return np.clip(np.rint(noisy * 32768), -32768, 32767).astype(np.int16)


def channel(pcm: NDArray[np.int16], key: str) -> NDArray[np.int16]:
    """Quieter by what follows from the name."""
    return (pcm.astype(np.int32) * (200 - sum(key.encode()) % 100) // 256).astype(np.int16)
