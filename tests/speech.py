"""A small made-up track with audio: speech-like sound, and the same through made-up codecs.

The sounds are pulses through moving resonances, with pauses and noise. The "codecs" leave different
traces (a low-pass, coarse steps, a comb), one for each value of each task, so that a model can
learn them; they say nothing of real codecs.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from scipy.signal import butter, lfilter, sosfilt

from cfbench.recipes import Recipe, find_recipe
from cfbench.steps import Data
from cfbench.tasks import find_track

RATE = 16_000

CODECS = {
    "rvq": ("mvq", "none", "time"),
    "single": ("svq", "sem", "freq"),
    "scalar": ("sq", "disent", "time"),
}
"""Made-up codec ids, and the three classes of each."""

TRACK = """\
name = "made-up"
title = "Made up"
version = "1"
description = "Speech-like sounds and made-up codecs."
tasks = ["bin", "vq", "aux", "dec"]
scored = ["id", "ood"]
protocol = "protocol.csv"

[splits.train]
title = "Training"
group = "source utterance"

[splits.dev]
title = "Development"
group = "source utterance"

[splits.id]
title = "In domain"
group = "source utterance"

[splits.ood]
title = "Out of domain"
group = "source utterance"
"""


class Corpus(NamedTuple):
    """Where the track is: its TOML file, and the folder of its clips."""

    track: Path
    audio: Path


def utterance(seed: int, seconds: float) -> np.ndarray:
    """A speech-like sound, float32 in [-1, 1]."""
    rng = np.random.default_rng(seed)
    count = int(seconds * RATE)
    pitch = rng.uniform(90, 220) * (1 + 0.1 * np.sin(np.linspace(0, 9, count)))
    pulses = np.diff(np.floor(np.cumsum(pitch) / RATE), prepend=0)
    sound = pulses + 0.02 * rng.standard_normal(count)
    for low, high in ((250, 900), (900, 2400), (2400, 3800)):
        middle, width = rng.uniform(low, high), rng.uniform(60, 200)
        radius = np.exp(-np.pi * width / RATE)
        sound = lfilter([1], [1, -2 * radius * np.cos(2 * np.pi * middle / RATE), radius**2], sound)
    syllables = np.clip(np.sin(np.linspace(0, rng.uniform(10, 20) * seconds, count)), 0.02, 1)
    sound = sound * syllables
    return (0.6 * sound / np.abs(sound).max()).astype(np.float32)


def through(codec: str, sound: np.ndarray) -> np.ndarray:
    """The sound with the codec's traces."""
    vq, aux, dec = CODECS[codec]
    if vq == "mvq":
        sound = sosfilt(butter(6, 5000, fs=RATE, output="sos"), sound)
    elif vq == "svq":
        sound = np.round(sound * 40) / 40
    else:
        sound = np.tanh(3 * sound) / 3
    if aux == "sem":
        sound = sound + 0.3 * np.roll(sound, 37)
    elif aux == "disent":
        sound = lfilter([1, -0.7], [1], sound)
    if dec == "freq":
        sound = sound + 0.01 * np.sin(np.arange(sound.size) * 2 * np.pi * 7000 / RATE)
    return (0.6 * sound / np.abs(sound).max()).astype(np.float32)


def make_corpus(folder: Path, sizes: Sequence[tuple[str, int]], seconds: float = 0.6) -> Corpus:
    """Write a track.

    Args:
        folder: Where.
        sizes: The splits, and how many source utterances each has.
        seconds: About how long a clip is.
    """
    audio = folder / "audio"
    audio.mkdir(parents=True)
    rows = ["utt_id,split,source,group,bin,vq,aux,dec"]
    seed = 0
    for split, count in sizes:
        for index in range(count):
            seed += 1
            group = f"{split}_{index:03d}"
            sound = utterance(seed, seconds * (0.8 + 0.4 * (index % 3) / 2))
            soundfile.write(audio / f"{group}.flac", sound, RATE)
            rows.append(f"{group},{split},speaker,{group},bonafide,real,real,real")
            for codec, classes in CODECS.items():
                soundfile.write(audio / f"{group}_{codec}.wav", through(codec, sound), RATE)
                labels = ",".join(classes)
                rows.append(f"{group}_{codec},{split},{codec},{group},spoof,{labels}")
    (folder / "protocol.csv").write_text("\n".join(rows) + "\n")
    (folder / "made-up.toml").write_text(TRACK)
    return Corpus(folder / "made-up.toml", audio)


TINY = """\
name = "tiny"
title = "A model for tests"
track = "{track}"

[model]
kind = "wav2vec2-aasist"
tasks = ["bin", "vq", "aux", "dec"]
dropouts = [0.0, 0.0, 0.0, 0.0]

[model.front_end.config]
hidden_size = 32
num_hidden_layers = 1
num_attention_heads = 2
intermediate_size = 64
conv_dim = [16, 16, 16, 16, 16, 16, 16]
conv_bias = true
feat_extract_norm = "layer"
do_stable_layer_norm = true
num_conv_pos_embeddings = 16
num_conv_pos_embedding_groups = 4
hidden_dropout = 0.0
activation_dropout = 0.0
attention_dropout = 0.0
layerdrop = 0.0

[data]
samples = 9600
balance = "vq"

[training]
epochs = 2
batch_size = 4
learning_rate = 1e-3
checkpoint_every = 3

[prediction]
batch_size = 4
"""


def write_recipe(folder: Path, corpus: Corpus, text: str = TINY) -> Path:
    """Write the recipe of a tiny model for a corpus."""
    path = folder / "tiny.toml"
    path.write_text(text.format(track=corpus.track))
    return path


SMALL = ("data.samples=4000",)
"""A shorter window, for tests that look at weights and not at what was learned."""


def tiny(corpus: Corpus, *changes: str) -> Recipe:
    """The tiny model's recipe with changes, as `--set` takes them."""
    path = corpus.track.parent / "tiny.toml"
    if not path.exists():
        write_recipe(corpus.track.parent, corpus)
    return find_recipe(str(path), changes)


def data(corpus: Corpus) -> Data:
    """Where the lists and clips of a corpus are."""
    return Data(find_track(str(corpus.track)), [corpus.audio])


def forget_processes() -> None:
    """Clear what accelerate keeps for the life of a process, which a test must not pass on."""
    from accelerate.state import AcceleratorState, PartialState

    AcceleratorState._reset_state(reset_partial_state=True)
    PartialState._reset_state()


def surroundings(**more: str) -> dict[str, str]:
    """The environment of a subprocess: one thread that sleeps while it waits, no network."""
    calm = {"OMP_WAIT_POLICY": "passive", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return {**os.environ, **calm, **more}


def start(*arguments: object, **more: str) -> "subprocess.Popen[str]":
    """Start `cfbench ARGUMENTS...` in a process, and in a group, of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "cfbench", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=surroundings(**more),
        start_new_session=True,
    )


def launch(processes: int, *arguments: object) -> "subprocess.CompletedProcess[str]":
    """Run `cfbench ARGUMENTS...` in several processes that torchrun launches."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(processes)]
    return subprocess.run(
        [*launcher, "--master_port", str(port), "-m", "cfbench", *map(str, arguments)],
        capture_output=True,
        text=True,
        env=surroundings(),
        timeout=300,
        check=False,
    )
