"""Makes the embedded track: which clip goes through which codec, under which name.

Makers run it once for a version; `mini.pack` writes what it makes into the files that ship.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cfbench import files
from cfbench.audio import RATE
from cfbench.codecs.config import read_config
from cfbench.content import EMBEDDED_TRACK
from cfbench.errors import CfbenchError
from cfbench.mini import levels, store
from cfbench.mini.pack import pack
from cfbench.mini.resynthesis import write_flac
from cfbench.mini.speech import packages, voices
from cfbench.protocol import shipped_protocol
from cfbench.tasks import find_track

EACH: Mapping[str, int] = {"train": 8, "dev": 9, "id": 8, "ood": 6}
"""How many codecs a source clip goes through, by split."""
PROMPT = RATE
"""Samples that generated speech continues."""
UNSEEN = "x"
"""What the names of codecs begin with that only the out-of-domain test holds."""
UNSHIPPED = "start-"
"""What the names of codecs begin with that others start from."""
GENERATED = "gen-"
"""What the names of generators begin with; the rest is the codec whose codes they continue."""


def plan(
    clips: pl.DataFrame, seen: Sequence[str], unseen: Sequence[str], secret: str
) -> pl.DataFrame:
    """Which clips the track holds.

    Each codec makes as many clips of a split as any other, give or take one, of as many voices. The
    sources of the test voices are shared out between in domain and out of domain, and labels of
    every other one are held back. Names of test clips say nothing: they are drawn with a secret.

    Args:
        clips: clips.parquet of the corpus, without its samples: clip, voice, speaker, part.
        seen: The codecs of train, dev and id.
        unseen: The codecs and generators of ood.
        secret: What names and draws of the tests depend on.

    Returns:
        The columns of `pack.ROWS`, and `clip`, the source clip in the corpus.
    """
    licence_of = {package.package: package.licence for package in packages()}
    licences = {voice.voice: licence_of[voice.package] for voice in voices()}
    rows: list[dict[str, Any]] = []
    for split, held_back, sources in _shared_out(clips, secret):
        makers = unseen if split == "ood" else seen
        chosen = _chosen(len(sources), makers, EACH[split], f"{secret}/{split}")
        for source, codecs in zip(sources, chosen, strict=True):
            common = {
                "split": split, "speaker": source["speaker"], "clip": source["clip"],
                "held_back": held_back[source["clip"]], "licence": licences[source["voice"]],
                "group": source["clip"],
            }  # fmt: skip
            rows.append({**common, "source": "recorded", "utt_id": source["clip"]})
            rows += [
                {**common, "source": codec, "utt_id": f"{source['clip']}__{codec}"}
                for codec in codecs
            ]
    table = pl.DataFrame(rows)
    return _renamed(table, secret)


def _shared_out(
    clips: pl.DataFrame, secret: str
) -> Iterator[tuple[str, dict[str, bool], list[dict[str, Any]]]]:
    """Splits, which of their sources are held back, and the sources in the order of a draw."""
    by_split: dict[str, list[dict[str, Any]]] = {"train": [], "dev": [], "id": [], "ood": []}
    held_back: dict[str, bool] = {}
    for (voice,), of_voice in clips.sort("clip").group_by("voice", maintain_order=True):
        items = of_voice.select("clip", "voice", "speaker", "part").to_dicts()
        if items[0]["part"] != "test":
            by_split[items[0]["part"]] += items
            held_back |= dict.fromkeys((item["clip"] for item in items), False)
            continue
        order = levels.random_of(f"{secret}/{voice}").permutation(len(items))
        for place, index in enumerate(order):
            by_split["id" if place % 2 else "ood"].append(items[index])
            held_back[items[index]["clip"]] = place // 2 % 2 == 1
    for split, sources in by_split.items():
        order = levels.random_of(f"{secret}/{split}/sources").permutation(len(sources))
        yield split, held_back, [sources[i] for i in order]


def _chosen(count: int, makers: Sequence[str], each: int, key: str) -> list[list[str]]:
    """`each` different makers for each of `count` sources, all as often as each other."""
    rng = levels.random_of(key)
    pile: list[str] = []
    chosen = []
    for _ in range(count):
        picked: list[str] = []
        while len(picked) < each:
            if not set(pile) - set(picked):
                pile += [makers[i] for i in rng.permutation(len(makers))]
            at = next(i for i, name in enumerate(pile) if name not in picked)
            picked.append(pile.pop(at))
        chosen.append(sorted(picked))
    return chosen


def _renamed(table: pl.DataFrame, secret: str) -> pl.DataFrame:
    """Test clips under numbers in an order that is drawn."""
    new: dict[str, str] = {}
    for split in ("id", "ood"):
        names = table.filter(pl.col("split") == split)["utt_id"].sort().to_list()
        order = levels.random_of(f"{secret}/{split}/names").permutation(len(names))
        new |= {name: f"{split}_{order[i] + 1:04d}" for i, name in enumerate(names)}
    name = pl.col("utt_id").replace(new)
    return table.with_columns(utt_id=name, group=pl.col("group").replace(new))


def with_labels(table: pl.DataFrame, cells: Mapping[str, tuple[str, str, str]]) -> pl.DataFrame:
    """The columns bin, vq, aux and dec, by source.

    Args:
        table: With the column `source`.
        cells: vq, aux and dec of each codec and generator.
    """
    made = [cells.get(source, ("real", "real", "real")) for source in table["source"]]
    return table.with_columns(
        pl.Series("bin", ["spoof" if cell[0] != "real" else "bonafide" for cell in made]),
        *(
            pl.Series(task, [cell[i] for cell in made])
            for i, task in enumerate(("vq", "aux", "dec"))
        ),
    )


def render(
    table: pl.DataFrame,
    clips: pl.DataFrame,
    codecs: Path,
    out: Path,
    workers: int | None = None,
    progress: Callable[[float], None] = lambda share: None,
) -> None:
    """Write every clip of the plan as FLAC, before its channel.

    Args:
        table: Of `plan`.
        clips: clips.parquet.
        codecs: Folder of the codecs' weights, and of the generators' (gen-NAME.safetensors).
        out: Where UTTERANCE.flac goes; what is there is made again.
        workers: Processes.
        progress: Is told the share that is done.
    """
    out.mkdir(parents=True, exist_ok=True)
    pcm = dict(clips.select("clip", "pcm").iter_rows())
    jobs = []
    for (source,), rows in table.sort("source", "utt_id").group_by("source", maintain_order=True):
        # A generator is slow: its clips are shared out.
        items = [(row["utt_id"], pcm[row["clip"]]) for row in rows.iter_rows(named=True)]
        jobs += [(str(source), items[i : i + 40]) for i in range(0, len(items), 40)]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        running = [pool.submit(_render, source, items, codecs, out) for source, items in jobs]
        for done, future in enumerate(running, 1):
            future.result()
            progress(done / len(running))


def _render(source: str, items: Sequence[tuple[str, bytes]], codecs: Path, out: Path) -> None:
    speak = _speaker(source, codecs)
    for utt_id, data in items:
        heard = np.frombuffer(data, "<i2")
        if speak is None:
            pcm = levels.cover(heard, utt_id)
        else:
            pcm = levels.finish(speak(levels.as_samples(heard), utt_id), utt_id)
        write_flac(out / f"{utt_id}.flac", pcm)


Speak = Callable[[NDArray[np.float32], str], NDArray[np.float32]]


def _speaker(source: str, codecs: Path) -> Speak | None:
    import torch

    from cfbench.codecs import load_codec
    from cfbench.codecs.language import generate, load_code_model

    torch.set_num_threads(1)
    if source == "recorded":
        return None
    if not source.startswith(GENERATED):
        codec = load_codec(codecs / f"{source}.toml")
        return lambda heard, _: codec.resynthesise(heard)
    codec = load_codec(codecs / f"{source.removeprefix(GENERATED)}.toml")
    model = load_code_model(codecs / f"{source}.safetensors", codec)
    return lambda heard, key: generate(codec, model, heard[:PROMPT], len(heard), key)


def one_sentence(codecs: Path) -> dict[str, NDArray[np.int16]]:
    """A bona fide clip of the in-domain test, and what each codec makes of it, before the channel.

    Args:
        codecs: Folder of the codecs' weights.
    """
    track = find_track(EMBEDDED_TRACK)
    protocol = shipped_protocol(track)
    assert protocol is not None  # noqa: S101 - the track has one
    bona_fide = protocol.frame.filter((pl.col("split") == "id") & (pl.col("bin") == "bonafide"))
    utt_id = bona_fide["utt_id"].sort()[0]
    pcm = store.shipped_clips(track, [utt_id])[utt_id]
    heard = levels.hear(pcm, utt_id)
    made = {"recorded": pcm}
    for path in sorted(codecs.glob("*.safetensors")):
        speak = _speaker(path.stem, codecs)
        if speak is not None:
            made[path.stem] = levels.finish(speak(heard, utt_id), utt_id)
    return made


def assemble(
    corpus: Path,
    codecs: Path,
    secret: str,
    clips: Path,
    out: Path,
    workers: int | None = None,
    progress: Callable[[float], None] = lambda share: None,
) -> Path:
    """Make the track: plan, render, pack.

    Args:
        corpus: Folder of clips.parquet.
        codecs: Folder of the trained codecs and generators.
        secret: See `plan`.
        clips: Where all clips and labels.csv, which tells all labels, are kept. It does not ship.
        out: The track's folder, in which clips/LICENCE/ holds the licences' texts.
        workers: Processes.
        progress: Is told the share that is rendered.

    Returns:
        labels.csv.
    """
    known = {config.name: config for config in map(read_config, sorted(codecs.glob("*.toml")))}
    shipped = {name: config for name, config in known.items() if not name.startswith(UNSHIPPED)}
    seen = [name for name in shipped if not name.startswith(UNSEEN)]
    cells = {name: config.cell for name, config in shipped.items()}
    generators = sorted(path.stem for path in codecs.glob(f"{GENERATED}*.safetensors"))
    cells |= {name: cells[name.removeprefix(GENERATED)] for name in generators}
    unseen = [name for name in shipped if name.startswith(UNSEEN)] + generators
    sources = pl.read_parquet(corpus / "clips.parquet")
    table = plan(sources.drop("pcm"), seen, unseen, secret)
    check_plan(table)
    table = with_labels(table, cells)
    render(table, sources, codecs, clips, workers, progress)
    files.write_atomically(clips / "labels.csv", table.sort("utt_id").write_csv)
    pack(table, clips, out / "clips", out)
    (out / "codecs").mkdir(exist_ok=True)
    for name in (*shipped, *generators):
        for suffix in (".safetensors", ".md"):
            path = codecs / f"{name}{suffix}"
            if path.is_file():
                files.write_bytes(out / "codecs" / path.name, path.read_bytes())
    if (codecs / "measures.csv").is_file():
        kept = pl.read_csv(codecs / "measures.csv").filter(pl.col("name").is_in(list(shipped)))
        files.write_atomically(out / "codecs" / "measures.csv", kept.write_csv)
    files.write_atomically(
        out / "digests.csv", digests(corpus, codecs, known, generators).write_csv
    )
    return clips / "labels.csv"


def digests(
    corpus: Path, codecs: Path, names: Iterable[str], generators: Iterable[str]
) -> pl.DataFrame:
    """What a rebuild must come to: SHA-256 of the corpus' samples and of all weights.

    Args:
        corpus: Folder of the two tables; what counts is their samples, in order.
        codecs: Folder of the weights.
        names: Of codecs, and of what they start from.
        generators: Of generators.

    Returns:
        what, sha256.
    """
    rows = []
    for table in ("recordings", "clips"):
        digest = hashlib.sha256()
        for samples in pl.read_parquet(corpus / f"{table}.parquet", columns=["pcm"])["pcm"]:
            digest.update(samples)
        rows.append((table, digest.hexdigest()))
    for name in (*sorted(names), *sorted(generators)):
        content = (codecs / f"{name}.safetensors").read_bytes()
        rows.append((f"{name}.safetensors", hashlib.sha256(content).hexdigest()))
    return pl.DataFrame(rows, schema=["what", "sha256"], orient="row")


def check_plan(table: pl.DataFrame) -> None:
    """Refuse a plan in which test voices were trained on, or sources are in two splits.

    Raises:
        CfbenchError: Naming them.
    """
    for column, pairs in (("speaker", (("train", "dev"), ("id", "ood"))), ("group", None)):
        by_split = table.group_by("split").agg(pl.col(column).unique())
        sets = {row["split"]: set(row[column]) for row in by_split.iter_rows(named=True)}
        for a in sets:
            for b in sets:
                apart = a < b and (pairs is None or (a in pairs[0]) != (b in pairs[0]))
                if apart and (both := sets[a] & sets[b]):
                    raise CfbenchError(f"{column} in {a} and in {b}: {', '.join(sorted(both)[:5])}")
