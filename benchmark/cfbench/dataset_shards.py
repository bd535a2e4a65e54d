"""A track's clips as Parquet shards with a card: what the Hub and `datasets` read.

A shard holds the files byte by byte, so nothing is lost, and `datasets` reads it without torchcodec
(`Audio(decode=False)`). The same clips give the same shards, to the byte.
"""

import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

import cfbench
from cfbench.dataset import class_codes, features_of, find_rows
from cfbench.errors import CfbenchError, plural
from cfbench.files import write_atomically, write_text
from cfbench.hub.repos import Published, create_results_repo, list_files, publish
from cfbench.tasks import Track

SHARD_BYTES = 500_000_000
"""How many bytes of clips a shard holds at most, unless one clip is longer."""

_COMMIT_BYTES = 20_000_000_000
_ROWS_A_GROUP = 100
_CARD = "README.md"
_OF_SPLIT = re.compile(r"data/(\w+)-\d{5}-of-\d{5}\.parquet")


@dataclass(frozen=True, eq=False)
class Shard:
    """One file of a split.

    Attributes:
        name: `data/id-00000-of-00002.parquet`.
        split: The split.
        rows: The utterances in it: the protocol's columns, `file` and `size`.
    """

    name: str
    split: str
    rows: pl.DataFrame

    @property
    def bytes(self) -> int:
        """Of its clips."""
        return int(self.rows["size"].sum())


@dataclass(frozen=True, eq=False)
class Packing:
    """What is packed.

    Attributes:
        track: Whose clips.
        shards: In order.
    """

    track: Track
    shards: tuple[Shard, ...]

    @property
    def bytes(self) -> int:
        """Of all clips."""
        return sum(shard.bytes for shard in self.shards)

    def splits(self) -> dict[str, tuple[int, int]]:
        """Utterances and bytes of each split, in order."""
        told: dict[str, tuple[int, int]] = {}
        for shard in self.shards:
            rows, size = told.get(shard.split, (0, 0))
            told[shard.split] = rows + shard.rows.height, size + shard.bytes
        return told


def plan_packing(
    track: Track,
    splits: Sequence[str],
    audio: Sequence[Path] | None = None,
    protocol: Path | None = None,
    manifest: Path | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> Packing:
    """Decide which clip goes into which shard; arguments as for `load_dataset`.

    Raises:
        CfbenchError: Clips are missing or broken.
    """
    shards: list[Shard] = []
    for split in splits:
        rows = find_rows(track, split, False, audio, protocol, manifest)
        sizes = [Path(file).stat().st_size for file in rows["file"]]
        rows = rows.with_columns(pl.Series("size", sizes, pl.Int64))
        cuts = [0]
        held = 0
        for number, size in enumerate(sizes):
            if held and held + size > shard_bytes:
                cuts.append(number)
                held = 0
            held += size
        for number, first in enumerate(cuts):
            last = cuts[number + 1] if number + 1 < len(cuts) else rows.height
            name = f"data/{split}-{number:05d}-of-{len(cuts):05d}.parquet"
            shards.append(Shard(name, split, rows[first:last]))
    return Packing(track, tuple(shards))


def pack(
    packing: Packing, folder: Path, told: Callable[[int], None] = lambda clips: None
) -> dict[str, Path]:
    """Write shards and card.

    Args:
        packing: What is packed.
        folder: Where.
        told: Called with the number of clips that were packed since the last call.

    Returns:
        The files, by path in the repository.

    Raises:
        CfbenchError: There is no room, or a file cannot be read or written.
    """
    try:
        (folder / "data").mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise CfbenchError(f"{folder}: cannot be made: {error.strerror}") from None
    # What is there already is written anew, and its place is used again only then.
    if free < packing.bytes:
        raise CfbenchError(
            f"{folder}: {packing.bytes / 1e9:,.1f} GB are needed, {free / 1e9:,.1f} GB are free",
            "--out names a folder on another disk",
        )
    files = {}
    for shard in packing.shards:
        path = folder / shard.name
        write_atomically(path, partial(_write, shard, packing.track, told))
        files[shard.name] = path
    write_text(folder / _CARD, card(packing))
    return {**files, _CARD: folder / _CARD}


def _write(shard: Shard, track: Track, told: Callable[[int], None], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = features_of(track).arrow_schema
    codes = [class_codes(track, task_id) for task_id in track.tasks]
    names = ("speaker", "source", "group")
    with pq.ParquetWriter(path, schema, write_page_index=True) as writer:
        for first in range(0, shard.rows.height, _ROWS_A_GROUP):
            rows = shard.rows[first : first + _ROWS_A_GROUP]
            audio = [
                {"bytes": _content(Path(file), size), "path": utt_id + Path(file).suffix.lower()}
                for utt_id, file, size in rows.select("utt_id", "file", "size").iter_rows()
            ]
            plain = rows.select("utt_id", *names, *codes).to_arrow()
            columns = {name: plain[name] for name in plain.column_names}
            columns["audio"] = pa.array(audio, schema.field("audio").type)
            table = pa.table({name: columns[name] for name in schema.names})
            writer.write_table(table.cast(schema))
            told(rows.height)


def _content(path: Path, size: int) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CfbenchError(f"{path}: cannot be read: {error.strerror}") from None
    if len(content) != size:
        raise CfbenchError(f"{path}: changed while it was packed", "pack it again")
    return content


def card(packing: Packing, also: Sequence[str] = ()) -> str:
    """The dataset's card: its data in YAML, and what a reader should know.

    Args:
        packing: What is packed.
        also: Further splits that the repository has.
    """
    track = packing.track
    splits = packing.splits()
    named = [split for split in track.splits if split in splits or split in also]
    data: dict[str, Any] = {
        **_licence(track.licence),
        "pretty_name": track.title,
        "task_categories": ["audio-classification"],
        "tags": ["audio", "speech", "anti-spoofing", "deepfake", "source-tracing"],
        "size_categories": [_size_category(sum(rows for rows, _ in splits.values()))],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": name, "path": f"data/{name}-*"} for name in named],
            }
        ],
        "dataset_info": {"features": _features(track)},
    }
    if not set(also) - set(splits):
        data["dataset_info"]["splits"] = [
            {"name": name, "num_bytes": splits[name][1], "num_examples": splits[name][0]}
            for name in named
        ]
        data["dataset_info"]["dataset_size"] = packing.bytes
    counts = "\n".join(
        f"| `{name}` | {track.splits[name].title} | {rows:,} | {size / 1e6:,.1f} MB |"
        for name, (rows, size) in splits.items()
    )
    told = [f"# {track.title}", track.description]
    if track.homepage:
        told.append(f"Packed by cfbench {cfbench.__version__} from {track.homepage}.")
    told += [
        f"| split | | clips | size |\n| --- | --- | --- | --- |\n{counts}",
        "A row is an utterance: `utt_id`, `audio` (the file as it is, not decoded), `speaker`, "
        f"`source`, `group`, and its class in each task: {', '.join(track.tasks)}.",
        "```python\nimport cfbench\nimport datasets\n\n"
        f'data = datasets.load_dataset("OWNER/REPO", split="{next(iter(splits), "id")}")\n'
        "speech = cfbench.read_audio(data[0])\n```",
    ]
    if track.licence:
        told.append(f"Licence: {track.licence}.")
    if track.reference:
        told.append(f"Cite: {track.reference.text}. {track.reference.url}")
    return f"---\n{_yaml(data)}---\n\n" + "\n\n".join(told) + "\n"


def _licence(licence: str) -> dict[str, str]:
    if re.fullmatch(r"[A-Za-z0-9.-]+", licence):
        return {"license": licence.lower()}
    return {"license": "other", "license_name": licence or "unknown"}


def _size_category(rows: int) -> str:
    edges = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
    names = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M")
    return names[sum(rows >= edge for edge in edges)]


def _features(track: Track) -> list[dict[str, Any]]:
    plain = [{"name": name, "dtype": "string"} for name in ("speaker", "source", "group")]
    classes = [
        {
            "name": task_id,
            "dtype": {
                "class_label": {
                    "names": {
                        str(number): name
                        for number, name in enumerate(track.known_tasks[task_id].class_names)
                    }
                }
            },
        }
        for task_id in track.tasks
    ]
    audio = {"name": "audio", "dtype": {"audio": {"decode": False}}}
    return [{"name": "utt_id", "dtype": "string"}, audio, *plain, *classes]


def _yaml(data: Mapping[str, Any], indent: str = "") -> str:
    """Plain data as YAML; a scalar is written as JSON, which YAML holds too."""
    lines = []
    for key, value in data.items():
        name = json.dumps(key) if key.isdecimal() else key
        if isinstance(value, Mapping):
            lines.append(f"{indent}{name}:\n{_yaml(value, indent + '  ')}")
        elif isinstance(value, list):
            lines.append(f"{indent}{name}:\n")
            for item in value:
                if isinstance(item, Mapping):
                    first, *rest = _yaml(item, indent + "  ").splitlines(keepends=True)
                    lines += [f"{indent}- {first.lstrip()}", *rest]
                else:
                    lines.append(f"{indent}- {json.dumps(item, ensure_ascii=False)}\n")
        else:
            lines.append(f"{indent}{name}: {json.dumps(value, ensure_ascii=False)}\n")
    return "".join(lines)


def send(
    repo: str,
    packing: Packing,
    files: Mapping[str, Path],
    private: bool = False,
    told: Callable[[int], None] = lambda shards: None,
) -> Published:
    """Upload what `pack` has written; what the repository has already is not sent again.

    Shards of an earlier push of the same splits are deleted; other splits stay. The card comes
    last, so that nobody reads half a dataset as a whole one.

    Args:
        repo: `owner/name`; made where it is not there.
        packing: What was packed.
        files: Where it is.
        private: Whether a repository that has to be made is private.
        told: Called with the number of shards that were sent since the last call.

    Raises:
        NotConnected: There is no network or no login; nothing was sent.
        CfbenchError: It cannot be done; says why.
    """
    create_results_repo(repo, {}, private)
    there = list_files(repo)
    mine = {shard.split for shard in packing.shards}
    of = {path: match[1] for path in there if (match := _OF_SPLIT.fullmatch(path))}
    stale = [path for path, split in of.items() if split in mine and path not in files]
    also = sorted(set(of.values()) - mine)
    for group in _groups(packing.shards):
        publish(
            repo,
            {shard.name: files[shard.name] for shard in group},
            message=f"Add {plural(len(group), 'shard')}: {group[0].name}",
            pull_request=False,
        )
        told(len(group))
    text = card(packing, also).replace('"OWNER/REPO"', json.dumps(repo))
    title = f"Describe {', '.join(sorted(mine))}"
    return publish(repo, {_CARD: text.encode()}, stale, title, pull_request=False)


def _groups(shards: Sequence[Shard]) -> list[list[Shard]]:
    """Shards that go into one commit."""
    groups: list[list[Shard]] = []
    size = 0
    for shard in shards:
        if not groups or size + shard.bytes > _COMMIT_BYTES:
            groups.append([])
            size = 0
        groups[-1].append(shard)
        size += shard.bytes
    return groups
