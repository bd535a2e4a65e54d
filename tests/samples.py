"""Small made-up protocols in the forms that the real lists have, and predictions for them.

Codec and generator ids are real, utterances are not. The classes stand here by hand, so that the
shipped taxonomy is tested against a second source.
"""

from pathlib import Path
from typing import NamedTuple

import polars as pl

CODECS = {
    "snac_24khz": ("mvq", "none", "time"),
    "languagecodec": ("mvq", "none", "freq"),
    "llm_codec": ("mvq", "sem", "time"),
    "ticodec_1g1r": ("svq", "disent", "time"),
    "spectralcodecs": ("sq", "none", "freq"),
}
GENERATORS = {
    "VALLE": ("mvq", "none", "time"),
    "CLAMTTS": ("mvq", "none", "freq"),
    "USLM": ("mvq", "sem", "time"),
    "SINGLECODEC": ("svq", "disent", "freq"),
}
UNSEEN = ("SINGLECODEC",)
SOURCE_UTTERANCES = ("p227_901", "p227_902", "p228_901")
CLASSES = {
    "bin": ("spoof", "bonafide"),
    "vq": ("real", "mvq", "svq", "sq"),
    "aux": ("real", "none", "sem", "disent"),
    "dec": ("real", "time", "freq"),
}
TRACING = ("vq", "aux", "dec")
_REAL = ("real", "real", "real")
_HUB_CLASSES = {"mvq": "Mvq", "svq": "Svq", "sq": "Scq", "real": "Real", "none": "None"} | {
    "sem": "Sem",
    "disent": "Disent",
    "time": "Time",
    "freq": "Freq",
}


class Utterance(NamedTuple):
    """One row of a protocol, as a reader should return it."""

    utt_id: str
    split: str
    subset: str | None
    source: str
    group: str
    bin: str
    vq: str
    aux: str
    dec: str
    speaker: str | None


def _cors_utterances() -> list[Utterance]:
    rows = []
    for origin in SOURCE_UTTERANCES:
        speaker = origin.partition("_")[0]
        real = Utterance(origin, "id", None, "VCTK", origin, "bonafide", *_REAL, speaker)
        rows.append(real)
        for codec, cell in CODECS.items():
            name = f"{origin}_{codec}"
            rows.append(Utterance(name, "id", None, codec, origin, "spoof", *cell, speaker))
    return rows


def _cosg_utterances() -> list[Utterance]:
    rows = []
    for generator, cell in GENERATORS.items():
        subset = "unseen-codec" if generator in UNSEEN else "seen-codec"
        for clip in ("0_prompt", "1_prompt"):
            # The same clip names in every generator, as 16 are in CLAMTTS and VALLE.
            named = (f"{generator}/{clip}", "ood", subset, generator, generator)
            rows.append(Utterance(*named, "bonafide", *_REAL, None))
        for clip in ("0_ours", "1_ours"):
            named = (f"{generator}/{clip}", "ood", subset, generator, generator)
            rows.append(Utterance(*named, "spoof", *cell, None))
    return rows


CORS = _cors_utterances()
COSG = _cosg_utterances()
EVERYTHING = [*CORS, *COSG]


def cors_list() -> str:
    """In the form of CoRS_ALL.txt: five columns, one label misspelt, no newline at the end."""
    lines = [f"{row.speaker} {row.utt_id} - - {row.bin}" for row in CORS]
    lines[-1] = lines[-1].replace("spoof", "spoofs")
    return "\n".join(lines)


def cosg_list() -> str:
    """In the form of CoSG_ALL.txt: four columns in some rows and five in others."""
    lines = []
    for number, row in enumerate(COSG):
        clip = row.utt_id.partition("/")[2]
        lines.append(f"{row.source} {clip} {'- ' * (1 + number % 2)}{row.bin}")
    return "\n".join(lines)


def cosg_seen_list() -> str:
    """In the form of CoSG_SEEN.txt: the fourth column names the VQ class of the generator."""
    lines = []
    for row in COSG:
        if row.subset == "seen-codec":
            vq = GENERATORS[row.source][0].upper() if row.bin == "spoof" else "REAL"
            lines.append(f"{row.source} {row.utt_id.partition('/')[2]} - {vq} {row.bin}")
    return "\n".join(lines) + "\n"


def hub_cors_list(header: str = "") -> str:
    """In the form of the Hub's CoRS_labels.txt: three columns."""
    label = {"spoof": "Spoof", "bonafide": "bonafide"}
    return header + "".join(f"{row.speaker} {row.utt_id} {label[row.bin]}\n" for row in CORS)


def hub_cosg_list(header: str = "") -> str:
    """In the form of the Hub's CoSG_labels.txt: six columns, the classes in its spelling."""
    lines = []
    for row in COSG:
        clip = row.utt_id.partition("/")[2]
        said = " ".join(_HUB_CLASSES[word] for word in (row.vq, row.aux, row.dec))
        lines.append(f"{row.source} {clip} {said} {row.bin}\n")
    return header + "".join(lines)


def write_lists(folder: Path) -> Path:
    """Write CoRS_ALL.txt, CoSG_ALL.txt and CoSG_SEEN.txt; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "CoRS_ALL.txt").write_text(cors_list())
    (folder / "CoSG_ALL.txt").write_text(cosg_list())
    (folder / "CoSG_SEEN.txt").write_text(cosg_seen_list())
    return folder


def protocol_frame(rows: list[Utterance] | None = None) -> pl.DataFrame:
    """The same as cfbench's own protocol table."""
    return pl.DataFrame(
        EVERYTHING if rows is None else rows,
        schema=dict.fromkeys(Utterance._fields, pl.String()),
        orient="row",
    )


def label_frame(rows: list[Utterance] | None = None) -> pl.DataFrame:
    """Hard labels that are all right."""
    return protocol_frame(rows).select("utt_id", *CLASSES)


def probability_frame(rows: list[Utterance] | None = None, right: float = 0.7) -> pl.DataFrame:
    """Probabilities: `right` for the true class, the rest shared equally by the others."""
    truth = protocol_frame(rows)
    bonafide = pl.when(pl.col("bin") == "bonafide").then(right).otherwise(1 - right)
    columns = [bonafide.alias("bin_bonafide")]
    for task in TRACING:
        wrong = (1 - right) / (len(CLASSES[task]) - 1)
        for name in CLASSES[task]:
            value = pl.when(pl.col(task) == name).then(right).otherwise(wrong)
            columns.append(value.alias(f"{task}_{name}"))
    return truth.select("utt_id", *columns)


def write_frame(frame: pl.DataFrame, path: Path) -> Path:
    """Write a frame in the format, and with the compression, that the name says."""
    import gzip

    name = path.name.removesuffix(".gz").removesuffix(".zst")
    if name.endswith(".parquet"):
        frame.write_parquet(path)
    elif path.suffix == ".zst" and name.endswith(".jsonl"):
        frame.write_ndjson(path, compression="zstd")
    elif path.suffix == ".zst":
        separator = "\t" if name.endswith(".tsv") else ","
        frame.write_csv(path, separator=separator, compression="zstd")
    else:
        text = (
            frame.write_ndjson()
            if name.endswith(".jsonl")
            else frame.write_csv(separator="\t" if name.endswith(".tsv") else ",")
        )
        data = text.encode()
        path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
    return path


PARTLY_PUBLIC = """\
name = "partly"
title = "Partly public"
version = "1"
description = "Made up."
tasks = ["bin", "vq", "aux", "dec"]
scored = ["id", "ood"]
protocol = "protocol.csv"
held_back = "held-back.csv"

[splits.id]
title = "In domain"
group = "source utterance"

[splits.ood]
title = "Out of domain"
group = "generator"
"""
"""A track of the user's own that holds labels back."""
