"""A small made-up track of the form of codecfake-mini: packed clips, codecs, two protocols."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

import speech
import tiny_codecs
from cfbench.mini import store
from cfbench.mini.pack import pack
from cfbench.mini.resynthesis import write_flac
from cfbench.tasks import Track, find_track

CODECS = {"rvq": ("mvq", "none", "time"), "scalar": ("sq", "sem", "freq")}
STEPS = {"rvq": 12, "scalar": 25}
LICENCES = {"train": "GPL-2.0", "dev": "CC-BY-3.0", "id": "GPL-2.0", "ood": "CC-BY-3.0"}
SIZES = {"train": 4, "dev": 2, "id": 4, "ood": 4}
MAKERS = store.Makers(
    "tiny_codecs:load", "tiny_codecs:hear", "tiny_codecs:finish", "tiny_codecs:channel"
)

TRACK = """\
name = "made-up-mini"
title = "Made up, with its own clips"
version = "1"
description = "Speech-like sounds and made-up codecs."
tasks = ["bin", "vq", "aux", "dec"]
scored = ["id", "ood"]
protocol = "mini/protocol.csv"
held_back = "mini/held-back.csv"
clips = "mini"
baselines = ["classical.toml", "neural.toml"]

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


class Mini(NamedTuple):
    """Where a made-up track is: its TOML file; what was packed, and from what."""

    toml: Path
    root: Path
    rows: pl.DataFrame
    clips: Path
    licences: Path

    @property
    def track(self) -> Track:
        """The track, as it is on the disk now."""
        find_track.cache_clear()
        return find_track(str(self.toml))

    def pack(self, out: Path | None = None, rows: pl.DataFrame | None = None) -> None:
        """Pack the clips, again or into another folder."""
        rows = self.rows if rows is None else rows
        pack(rows, self.clips, self.licences, out or self.root, channel=tiny_codecs.channel)

    def ids(self, *splits: str) -> set[str]:
        return set(self.rows.filter(pl.col("split").is_in(splits))["utt_id"])

    @property
    def made(self) -> set[str]:
        """The clips that are not shipped."""
        spoof = self.rows.filter(pl.col("bin") == "spoof")
        return set(spoof.filter(pl.col("split").is_in(["train", "dev"]))["utt_id"])


CLASSICAL = """\
extends = "log-mel-logistic"
name = "classical"
title = "Classical"
track = "made-up-mini.toml"
[data]
train = []
dev = []
samples = 4000
"""

NEURAL = """\
name = "neural"
title = "Neural"
track = "made-up-mini.toml"
[model]
kind = "wav2vec2-aasist"
tasks = ["bin", "vq", "aux", "dec"]
checkpoint = "{checkpoint}"
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
[data]
samples = 4000
balance = "vq"
[training]
epochs = 1
batch_size = 4
learning_rate = 1e-3
"""


def write_recipes(mini: "Mini", checkpoint: Path | str) -> None:
    """Write the recipes that the track names; the neural one has a published model."""
    (mini.toml.parent / "classical.toml").write_text(CLASSICAL)
    (mini.toml.parent / "neural.toml").write_text(NEURAL.format(checkpoint=checkpoint))


def write_codecs(root: Path, **more: object) -> None:
    """Write the codecs' files, with settings that make them misbehave."""
    (root / "codecs").mkdir(parents=True, exist_ok=True)
    for name, steps in STEPS.items():
        said = "".join(f"{key} = {value}\n" for key, value in more.items())
        (root / "codecs" / f"{name}.toml").write_text(f"steps = {steps}\n{said}")


def make(folder: Path, sizes: dict[str, int] = SIZES, seconds: float = 0.3) -> Mini:
    """Make clips and pack them; half of the groups of each test split are held back."""
    clips, licences, root = folder / "made", folder / "licences", folder / "mini"
    clips.mkdir(parents=True)
    for licence in set(LICENCES.values()):
        (licences / licence).mkdir(parents=True)
        (licences / licence / "LICENSE.txt").write_text(f"The terms of {licence}.\n")
        (licences / licence / "ATTRIBUTION.md").write_text("Spoken by nobody.\n")
    write_codecs(root)
    rows, seed = [], 0
    for split, count in sizes.items():
        for index in range(count):
            seed += 1
            held = split in ("id", "ood") and index % 2 == 1
            group = f"{split}-{index:02d}"
            sound = tiny_codecs.finish(speech.utterance(seed, seconds + 0.013 * index), group)
            write_flac(clips / f"{group}.flac", sound)
            said = (f"s{seed % 3}", held, LICENCES[split])
            rows.append((group, split, "recorded", group, "bonafide", *["real"] * 3, *said))
            for number, (codec, labels) in enumerate(CODECS.items(), start=1):
                # Its name does not say by what it was made.
                utt_id = f"{group}-{number + 2 * (seed % 2)}"
                made = tiny_codecs.load(root / "codecs" / f"{codec}.toml").resynthesise(
                    sound.astype(np.float32) / np.float32(32768)
                )
                write_flac(clips / f"{utt_id}.flac", tiny_codecs.finish(made, utt_id))
                rows.append((utt_id, split, codec, group, "spoof", *labels, *said))
    columns = ("utt_id", "split", "source", "group", "bin", "vq", "aux", "dec", "speaker")
    frame = pl.DataFrame(rows, schema=[*columns, "held_back", "licence"], orient="row")
    (folder / "made-up-mini.toml").write_text(TRACK)
    mini = Mini(folder / "made-up-mini.toml", root, frame, clips, licences)
    mini.pack()
    return mini


def contents(folder: Path) -> dict[str, bytes]:
    """The clips in a folder."""
    return {path.stem: path.read_bytes() for path in sorted(folder.glob("*.flac"))}
