"""From clips and what is true of them to the files that a track ships. For its makers.

`mini.store` reads what is written here, and describes it.
"""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cfbench.audio import RATE
from cfbench.errors import CfbenchError, Problem, name_some, plural
from cfbench.files import write_atomically, write_bytes
from cfbench.mini import levels
from cfbench.mini.fingerprints import describe
from cfbench.mini.resynthesis import Channel, read_pcm
from cfbench.mini.store import CLIPS, DIGESTS, PORTION, SAFE_ID

PUBLIC = ("utt_id", "split", "source", "group", "bin", "vq", "aux", "dec", "speaker")
"""The columns of protocol.csv."""

ROWS = (*PUBLIC, "held_back", "licence")
"""What is to be known of a clip: beside the protocol's columns whether its labels are held back
(a boolean), and the licence of the recording."""

TEXTS = ("LICENSE.txt", "ATTRIBUTION.md")


def pack(
    rows: pl.DataFrame,
    clips: Path,
    licences: Path,
    out: Path,
    tests: Sequence[str] = ("id", "ood"),
    channel: Channel = levels.channel,
) -> None:
    """Write protocol.csv, held-back.csv and clips/; the same bytes for the same input.

    Args:
        rows: A row a clip, with the columns `ROWS`; a spoofed clip's group is the utt_id of the
            clip that it was made from, its source the codec's name.
        clips: The folder of the clips before their channel, `UTTERANCE.flac` or `.wav`, mono,
            16 kHz, 16 bits.
        licences: The folder with `LICENCE/LICENSE.txt` and `LICENCE/ATTRIBUTION.md`.
        out: The track's folder.
        tests: The splits whose clips are shipped; of the others only bona fide ones are, and the
            rest is made from these.
        channel: What all clips go through when they are unpacked; digests are of what comes out.

    Raises:
        CfbenchError: All that is wrong with the rows, or a clip that cannot be read.
    """
    problems = _problems(rows, licences, tests)
    if problems:
        raise CfbenchError.of(problems)
    rows = rows.select(ROWS).sort("utt_id")
    shipped = pl.col("split").is_in(list(tests)) | (pl.col("bin") == "bonafide")
    known = rows.with_columns(shipped=shipped)
    digests = []
    for (licence,), of_licence in known.group_by("licence", maintain_order=True):
        folder = out / "clips" / str(licence)
        folder.mkdir(parents=True, exist_ok=True)
        for name in TEXTS:
            write_bytes(folder / name, (licences / str(licence) / name).read_bytes())
        files: dict[str, list[tuple[str, bytes]]] = {"test.parquet": [], "sources.parquet": []}
        for row in of_licence.iter_rows(named=True):
            pcm = read_pcm(_find(clips, row["utt_id"]))
            said = describe(channel(pcm, row["utt_id"]))
            fingerprint = None if row["shipped"] else said.fingerprint
            digests.append((row["utt_id"], said.samples, said.sha256, fingerprint))
            if row["shipped"]:
                table = "test.parquet" if row["split"] in tests else "sources.parquet"
                files[table].append((row["utt_id"], _flac(pcm)))
        for table, content in files.items():
            (folder / table).unlink(missing_ok=True)
            if content:
                frame = pl.DataFrame(content, schema=CLIPS, orient="row")
                _write_parquet(frame, folder / table, "uncompressed")
    frame = pl.DataFrame(digests, schema=DIGESTS, orient="row").sort("utt_id")
    _write_parquet(frame, out / "clips" / "digests.parquet", "zstd")
    held = pl.col("held_back")
    write_bytes(out / "protocol.csv", rows.filter(~held).select(PUBLIC).write_csv().encode("utf-8"))
    write_bytes(
        out / "held-back.csv",
        rows.filter(held).select("utt_id", "split").write_csv().encode("utf-8"),
    )


def _problems(rows: pl.DataFrame, licences: Path, tests: Sequence[str]) -> list[Problem]:
    lacking = [name for name in ROWS if name not in rows.columns]
    if lacking:
        return [Problem(f"the rows lack {', '.join(lacking)}", f"they need {', '.join(ROWS)}")]
    problems: list[Problem] = []

    def find(bad: pl.DataFrame, told: str, hint: str = "") -> None:
        if bad.height:
            ids = name_some(bad["utt_id"].head(5).to_list(), bad.height)
            problems.append(Problem(f"{plural(bad.height, 'clip')} {told}: {ids}", hint))

    rows = rows.sort("utt_id")
    held, tested = pl.col("held_back"), pl.col("split").is_in(list(tests))
    spoof = pl.col("bin") == "spoof"
    safe = pl.col("utt_id").map_elements(
        lambda text: SAFE_ID.fullmatch(text) is not None, return_dtype=pl.Boolean
    )
    find(rows.filter(~safe), "whose utt_id cannot be the name of a file")
    # Some file systems do not tell a from A.
    folded = pl.col("utt_id").str.to_lowercase()
    find(rows.filter(folded.is_duplicated()), "whose utt_id another one has, but for case")
    find(rows.filter(held & ~tested), "held back in a split that is trained on")
    find(
        rows.filter(
            held & spoof & folded.str.contains(pl.col("source").str.to_lowercase(), literal=True)
        ),
        "held back, whose utt_id names the codec",
        "rename the clips of the tests: their labels are secret",
    )
    bona_fide = rows.filter(~spoof).select(group="utt_id", split="split", licence="licence")
    made = rows.filter(spoof & ~tested)
    find(
        made.join(bona_fide, on=["group", "split", "licence"], how="anti"),
        "whose group is no bona fide clip of its split and licence",
        "a spoofed clip of train and dev is made again from the clip that its group names",
    )
    for licence in rows["licence"].unique().sort():
        for name in TEXTS:
            if not (licences / licence / name).is_file():
                problems.append(Problem(f"{licences / licence / name}: no such file"))
    return problems


def _find(clips: Path, utt_id: str) -> Path:
    found = [clips / f"{utt_id}{suffix}" for suffix in (".flac", ".wav")]
    for path in found:
        if path.is_file():
            return path
    raise CfbenchError(f"{clips}: no clip of {utt_id}", "UTTERANCE.flac or UTTERANCE.wav")


def _flac(pcm: NDArray[np.int16]) -> bytes:
    import soundfile

    stream = io.BytesIO()
    soundfile.write(stream, pcm, RATE, subtype="PCM_16", format="FLAC", compression_level=1.0)
    return stream.getvalue()


def _write_parquet(frame: pl.DataFrame, path: Path, compression: str) -> None:
    write_atomically(
        path,
        lambda place: frame.write_parquet(
            place,
            compression="zstd" if compression == "zstd" else "uncompressed",
            statistics=False,
            row_group_size=PORTION,
        ),
    )
