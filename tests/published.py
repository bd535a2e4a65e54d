"""A small dataset, published as CodecFake+ is: the real names and forms, made-up clips."""

import hashlib
import random
from collections.abc import Collection, Mapping
from pathlib import Path

import tapes

REPO = "CodecFake/CodecFake_Plus_Dataset"
PARTS = tuple(f"Codecfake_plus_CoRS.part{number}" for number in range(4))
COSG = "CodecFake_plus_CoSG.tar.xz"
LABELS = ("CoRS_labels.txt", "CoSG_labels.txt")
# Nobody has published digests of the large files.
UNKNOWN = frozenset(PARTS)


def clips(count: int = 60, size: int = 9000) -> dict[str, dict[str, bytes]]:
    """The clips of both archives, by their paths in the folder into which they are unpacked."""
    chance = random.Random(7)
    cors = {
        f"CoRS/Codecfake_plus_CoRS/p227_{number:03d}_bigcodec.wav": chance.randbytes(size)
        for number in range(count)
    }
    cosg = {f"CoSG/CoSG/CLAMTTS_{number}.wav": chance.randbytes(3000) for number in range(1, 6)}
    return {"CoRS": cors, "CoSG": cosg}


def files(of: Mapping[str, Mapping[str, bytes]] | None = None) -> dict[str, bytes]:
    """What is in the repository."""
    of = clips() if of is None else of
    packed = {
        name: tapes.xz(tapes.tape({path.partition("/")[2]: data for path, data in inside.items()}))
        for name, inside in of.items()
    }
    size = -(-len(packed["CoRS"]) // len(PARTS))
    return {
        "README.md": b"# CodecFake+\n",
        "CoRS_labels.txt": b"p227 p227_000_bigcodec.wav spoof\n" * 40,
        "CoSG_labels.txt": b"CLAMTTS CLAMTTS_1 Mvq None Freq Spoof\n" * 40,
        COSG: packed["CoSG"],
        **{
            name: packed["CoRS"][number * size : (number + 1) * size]
            for number, name in enumerate(PARTS)
        },
    }


def write_release(
    path: Path,
    there: Mapping[str, bytes],
    commit: str = "0" * 40,
    unknown: Collection[str] = UNKNOWN,
    unpacked: int = 1_000_000,
    name: str = "codecfake-plus",
) -> Path:
    """The file that describes it."""
    lines = [f'name = "{name}"', 'title = "CodecFake+"', f'repo = "{REPO}"']
    lines += [f'revision = "{commit}"']
    for subset, plain, archives in (
        ("labels", LABELS, ()),
        ("cosg", LABELS[1:], ("CoSG",)),
        ("cors", LABELS[:1], ("CoRS",)),
    ):
        lines += ["[[subsets]]", f'name = "{subset}"', f'title = "{subset}"']
        lines += [f"files = {list(plain)}", f"archives = {list(archives)}"]
    for file in (*LABELS, COSG, *PARTS):
        lines += ["[[files]]", f'path = "{file}"', f"bytes = {len(there[file])}"]
        if file not in unknown:
            lines += [f'sha256 = "{hashlib.sha256(there[file]).hexdigest()}"']
    for archive, parts in (("CoSG", (COSG,)), ("CoRS", PARTS)):
        lines += ["[[archives]]", f'name = "{archive}"', f"parts = {list(parts)}"]
        lines += ['format = "tar.xz"', "clips = 60", f"unpacked = {unpacked}", "most_files = 100"]
        lines += ["most_file = 100_000", "most_unpacked = 5_000_000"]
    path.write_text("\n".join(lines) + "\n")
    return path


def write_files(folder: Path, there: Mapping[str, bytes]) -> Path:
    """The repository's files in a folder of this machine."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in there.items():
        (folder / name).write_bytes(content)
    return folder


def unpacked(folder: Path) -> dict[str, bytes]:
    """The files of a folder but for archives and what is kept about them."""
    return {
        name: content
        for name, content in tapes.tree(folder).items()
        if not name.startswith((".cfbench/", "archives/"))
    }


def expected(of: Mapping[str, Mapping[str, bytes]], there: Mapping[str, bytes]) -> dict[str, bytes]:
    """What `unpacked` must be."""
    return {name: there[name] for name in LABELS} | dict(of["CoRS"]) | dict(of["CoSG"])
