"""Archives: honest ones are unpacked, to the bit and after any interruption; hostile ones not."""

import gzip
import lzma
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import tapes
from cfbench.archives import decoding, unpacking
from cfbench.archives.journal import Journal, Line, lines_of
from cfbench.archives.names import Refused, safe_parts
from cfbench.archives.unpacking import Bounds, Unpacked, look, unpack
from cfbench.errors import CfbenchError
from hostile import FIRST, HOSTILE
from tapes import END, changed, member, tape, tree, xz

BOUNDS = Bounds(files=4000, file=20_000_000, total=60_000_000)
ENGINES = [False] + [True] * bool(shutil.which("xz"))
CLIPS = {
    f"CoRS/p227_{number:03d}_{codec}.wav": random.Random(f"{number} {codec}").randbytes(
        900 * number
    )
    for number in range(12)
    for codec in ("bigcodec", "DAC24", "mini")
}


def run(
    paths: list[Path],
    at: Path,
    form: str = "tar.xz",
    bounds: Bounds = BOUNDS,
    key: str = "key",
    program: bool = True,
) -> Unpacked:
    return unpack(paths, form, at / "out", at / "journal", key, bounds, program=program)


def refusal(data: bytes, at: Path, bounds: Bounds = BOUNDS, form: str = "tar") -> str:
    """What is said of an archive that is not unpacked, or only up to a point."""
    (at / "archive").write_bytes(data)
    before = {"archive": data}
    with pytest.raises(CfbenchError) as caught:
        run([at / "archive"], at, form, bounds)
    there = tree(at)
    written = {name: there.pop(name) for name in list(there) if name.startswith("out/")}
    assert there.keys() - {"journal"} == before.keys()
    assert not [name for name in written if "incoming" in name]
    assert {path.name for path in at.iterdir()} <= {"archive", "journal", "out"}
    assert not any(path.is_symlink() for path in at.rglob("*"))
    return str(caught.value)


@pytest.mark.parametrize("program", ENGINES)
@pytest.mark.parametrize("count", [1, 4])
def test_an_archive_in_parts(tmp_path: Path, count: int, program: bool) -> None:
    names = [f"x.part{number}" for number in range(count)]
    paths = tapes.write_parts(tmp_path / "in", xz(tape(CLIPS)), names)
    done = run(paths, tmp_path, program=program)
    assert tree(tmp_path / "out") == CLIPS
    size = sum(map(len, CLIPS.values()))
    assert (done.files, done.size, done.written, done.top) == (36, size, 36, "CoRS")
    assert look(tmp_path / "out", tmp_path / "journal", "key")[1]
    again = run(paths, tmp_path, program=program)
    assert (again.files, again.written) == (36, 0)
    assert tree(tmp_path / "in").keys() == set(names)


@pytest.mark.parametrize(
    ("form", "data"),
    [
        ("tar", tape(CLIPS)),
        ("tar.gz", gzip.compress(tape(CLIPS), 1)),
        ("tar.gz", gzip.compress(tape(CLIPS)[:9999], 1) + gzip.compress(tape(CLIPS)[9999:], 1)),
        ("tar.xz", xz(tape(CLIPS)[:9999]) + bytes(8) + xz(tape(CLIPS)[9999:])),
    ],
    ids=["tar", "gz", "two of gz", "two of xz"],
)
def test_forms(tmp_path: Path, form: str, data: bytes) -> None:
    assert run(tapes.write_parts(tmp_path, data, "abc"), tmp_path, form).files == 36
    assert tree(tmp_path / "out") == CLIPS


@pytest.mark.skipif(not shutil.which("xz"), reason="the program xz is not there")
@pytest.mark.parametrize("program", ENGINES)
def test_several_blocks(tmp_path: Path, program: bool) -> None:
    command = ["xz", "-c0", "-T2", "--block-size=65536"]
    data = subprocess.run(command, input=tape(CLIPS), stdout=subprocess.PIPE, check=True).stdout
    paths = tapes.write_parts(tmp_path / "in", data, "0123")
    assert run(paths, tmp_path, program=program).written == len(CLIPS)
    assert tree(tmp_path / "out") == CLIPS


@pytest.mark.skipif(os.name == "nt", reason="programs are found in another way")
def test_another_program_of_that_name_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert decoding.program_for("tar.xz") is None
    (tmp_path / "xz").write_text("#!/bin/sh\necho BusyBox\n")
    (tmp_path / "xz").chmod(0o755)
    assert decoding.program_for("tar.xz") is None
    (tmp_path / "xz").write_text("#!/bin/sh\necho 'xz (XZ Utils) 5.4.1'\n")
    assert decoding.program_for("tar.xz") == str(tmp_path / "xz")
    assert decoding.program_for("tar.gz") is None
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    run(tapes.write_parts(tmp_path / "in", xz(tape(CLIPS)), "0"), tmp_path)
    assert tree(tmp_path / "out") == CLIPS


@pytest.mark.skipif(not shutil.which("tar"), reason="the program tar is not there")
@pytest.mark.parametrize("form", ["v7", "ustar", "gnu", "pax"])
def test_archives_of_gnu_tar(tmp_path: Path, form: str) -> None:
    source = tmp_path / "source"
    names = ["a/b.wav", "é/ü.wav", "empty.wav"]
    if form != "v7":
        names += ["d" * 90 + "/" + "e" * 90 + ".wav"]
    if form in ("gnu", "pax"):
        names += ["/".join(["f" * 60] * 5) + ".wav"]
    for name in names:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(name.encode() * 100 * (name != "empty.wav"))
    out = tmp_path / "archive"
    subprocess.run(["tar", "-cf", out, f"--format={form}", "-C", source, "."], check=True)
    assert run([out], tmp_path, "tar").files == len(names)
    assert tree(tmp_path / "out") == tree(source)


_PART = st.text(
    st.characters(min_codepoint=33, max_codepoint=0x24F).filter(
        lambda char: char.isprintable() and char not in '\\/:<>"|?*'
    ),
    min_size=1,
    max_size=60,
).filter(lambda part: part.strip(".") and not part.startswith(".cfbench"))
_TREE = st.dictionaries(
    st.lists(_PART, min_size=1, max_size=4).map("/".join), st.binary(max_size=3000), max_size=12
)


def is_honest(files: dict[str, bytes]) -> bool:
    """Whether no two names are one on some file system."""
    paths = [part for name in files for part in _above(name)]
    folded = {path.casefold() for path in paths}
    folders = {folder.casefold() for name in files for folder in _above(name)[1:]}
    return len(folded) == len(set(paths)) and not folders & {name.casefold() for name in files}


def _above(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:depth]) for depth in range(len(parts), 0, -1)]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    _TREE.filter(is_honest),
    st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    st.integers(1, 5),
    st.randoms(use_true_random=False),
)
@example({"a/b": b"1", "c": b""}, tarfile.PAX_FORMAT, 3, random.Random(0))
def test_any_tree_comes_out_as_it_went_in(
    tmp_path_factory: pytest.TempPathFactory,
    files: dict[str, bytes],
    form: int,
    count: int,
    chance: random.Random,
) -> None:
    at = tmp_path_factory.mktemp("any")
    try:
        data = xz(tape(files, form))
    except ValueError:
        return  # too long for ustar
    paths = tapes.write_parts(at / "in", data, [str(number) for number in range(count)])
    done = run(paths, at)
    assert tree(at / "out") == files
    assert (done.files, done.written) == (len(files), len(files))
    # Whatever becomes of what is there, the next call mends it.
    lines = (at / "journal").read_bytes()
    (at / "journal").write_bytes(lines[: chance.randint(0, len(lines))])
    for name in files:
        match chance.randint(0, 4):
            case 0:
                (at / "out" / name).unlink()
            case 1:
                (at / "out" / name).write_bytes(files[name][:-1] + b"?")
    run(paths, at)
    assert tree(at / "out") == files
    assert look(at / "out", at / "journal", "key") == (done_of(files), True)
    shutil.rmtree(at)


def done_of(files: dict[str, bytes]) -> Unpacked:
    done = Unpacked()
    for name, content in files.items():
        done.add(name, len(content))
    return done


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_member_is_refused_and_named(tmp_path: Path, name: str) -> None:
    data, why = HOSTILE[name]
    said = refusal(FIRST + data + END, tmp_path)
    assert said.startswith("archive: ")
    assert why in said
    assert "\x1b" not in said
    assert len(said.splitlines()) == 2
    # What came before it is sound, and stays.
    assert tree(tmp_path / "out")["CoRS/first.wav"] == b"first"


def test_too_much(tmp_path: Path) -> None:
    many = b"".join(member(f"{number}", b"x") for number in range(4)) + END
    assert "more than 3 files" in refusal(many, tmp_path, Bounds(3, 9, 10**6))
    shutil.rmtree(tmp_path / "out")
    folders = b"".join(member(f"{number}", kind=tarfile.DIRTYPE) for number in range(4)) + END
    assert "more than 3 folders" in refusal(folders, tmp_path, Bounds(3, 9, 10**6))
    shutil.rmtree(tmp_path / "out")
    assert "more than the 2,000 bytes allowed" in refusal(many, tmp_path, Bounds(9, 9, 2000))


@pytest.mark.parametrize("program", ENGINES)
def test_a_bomb_is_refused_before_it_goes_off(tmp_path: Path, program: bool) -> None:
    size = 300_000_000
    header = changed(member("x"), 124, b"%011o\0" % size)
    packer = lzma.LZMACompressor(preset=0)
    data = packer.compress(header)
    for _ in range(size // 1_000_000):
        data += packer.compress(bytes(1_000_000))
    paths = tapes.write_parts(tmp_path / "in", data + packer.flush(), ["a"])
    with pytest.raises(CfbenchError, match="it unpacks to more than the 60,000,000 bytes allowed"):
        run(paths, tmp_path, bounds=Bounds(9, size, 60_000_000), program=program)
    assert not tree(tmp_path / "out")
    with pytest.raises(CfbenchError, match="more than the 20,000,000 allowed"):
        run(paths, tmp_path, program=program)


def test_a_link_that_is_in_the_way_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "first.wav").write_bytes(b"mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "archive").write_bytes(FIRST + END)
    (tmp_path / "out" / "CoRS").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CfbenchError, match="in the way of a folder"):
        run([tmp_path / "archive"], tmp_path, "tar")
    (tmp_path / "out" / "CoRS").unlink()
    (tmp_path / "out" / "CoRS").mkdir()
    (tmp_path / "out" / "CoRS" / "first.wav").symlink_to(tmp_path / "elsewhere" / "first.wav")
    (tmp_path / "out" / ".cfbench-incoming").symlink_to(tmp_path / "elsewhere" / "new")
    run([tmp_path / "archive"], tmp_path, "tar")
    assert not (tmp_path / "out" / "CoRS" / "first.wav").is_symlink()
    assert tree(tmp_path / "out") == {"CoRS/first.wav": b"first"}
    assert tree(tmp_path / "elsewhere") == {"first.wav": b"mine"}
    (tmp_path / "out" / "CoRS" / "first.wav").unlink()
    (tmp_path / "out" / "CoRS" / "first.wav").mkdir()
    with pytest.raises(CfbenchError, match="in the way of a file"):
        run([tmp_path / "archive"], tmp_path, "tar")


def test_rights_are_those_of_new_files(tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(member("x", b"x", mode=0o6777) + END)
    run([tmp_path / "archive"], tmp_path, "tar")
    (tmp_path / "new").write_bytes(b"")
    assert (tmp_path / "out" / "x").stat().st_mode == (tmp_path / "new").stat().st_mode


@pytest.mark.parametrize("name", ["con", "AUX.wav", "a?.wav", "a:b", "a.", "a ", "lpt1.x.wav"])
def test_names_that_windows_does_not_have(name: str) -> None:
    assert safe_parts(f"x/{name}", windows=False) == ("x", name)
    with pytest.raises(Refused, match="on Windows"):
        safe_parts(f"x/{name}", windows=True)


@given(st.text(max_size=40))
def test_a_name_is_below_the_folder_or_refused(name: str) -> None:
    try:
        parts = safe_parts(name)
    except Refused:
        return
    path = os.path.normpath("/".join(("/top/folder", *parts)))
    assert path == "/top/folder" or path.startswith("/top/folder/")
    assert not {"", ".", ".."} & set(parts)


@pytest.mark.parametrize("program", ENGINES)
@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda data: data[:-1], "it is cut short"),
        (lambda data: data[: len(data) // 2], "it is cut short"),
        (lambda data: data[:20], "it is cut short"),
        (lambda data: b"", "it is cut short|0 does not begin as xz"),
        (lambda data: data[:9000] + b"????" + data[9004:], "it is damaged"),
        (lambda data: data[:-9] + b"?" + data[-8:], "it is damaged"),
        (lambda data: data + b"and more" * 9, "it is damaged"),
        (lambda data: data[-len(data) // 2 :] + data[: len(data) // 2], "0 does not begin as xz"),
    ],
    ids=["end", "half", "start", "empty", "middle", "check", "more", "order"],
)
def test_a_damaged_archive(tmp_path: Path, spoil, why: str, program: bool) -> None:
    good = xz(tape(CLIPS))
    paths = tapes.write_parts(tmp_path / "in", spoil(good), "01")
    with pytest.raises(CfbenchError, match=f"^0 to 1: .*({why})"):
        run(paths, tmp_path, program=program)
    there = tree(tmp_path / "out")
    assert there.items() <= CLIPS.items()
    assert not look(tmp_path / "out", tmp_path / "journal", "key")[1]
    # The right one goes on from there.
    paths = tapes.write_parts(tmp_path / "in", good, "01")
    done = run(paths, tmp_path, program=program)
    assert done.written == len(CLIPS) - len(there)
    assert tree(tmp_path / "out") == CLIPS


@pytest.mark.parametrize("form", ["tar", "tar.gz"])
def test_other_forms_cut_short_or_damaged(tmp_path: Path, form: str) -> None:
    data = tape(CLIPS)
    data = gzip.compress(data, 1) if form == "tar.gz" else data.rstrip(b"\0")
    assert "it is cut short" in refusal(data[:-5], tmp_path, form=form)
    assert "cut short" in refusal(data[: len(data) // 2], tmp_path, form=form)
    if form == "tar.gz":
        assert "it is damaged (archive" in refusal(
            data[:-7] + b"?" + data[-6:], tmp_path, form=form
        )
        assert "does not begin as gzip does" in refusal(b"x" + data, tmp_path, form=form)


def test_an_archive_without_its_end(tmp_path: Path) -> None:
    assert "it is cut short" in refusal(FIRST, tmp_path)


def test_missing_parts_are_all_named(tmp_path: Path) -> None:
    paths = tapes.write_parts(tmp_path, xz(tape(CLIPS)), "0123")
    paths[1].unlink()
    paths[3].unlink()
    with pytest.raises(CfbenchError) as caught:
        run(paths, tmp_path)
    assert [problem.message for problem in caught.value.problems] == [
        f"{tmp_path / '1'}: no such file",
        f"{tmp_path / '3'}: no such file",
    ]


@pytest.mark.parametrize("program", ENGINES)
def test_two_parts_changed_over(tmp_path: Path, program: bool) -> None:
    paths = tapes.write_parts(tmp_path / "in", xz(tape(CLIPS)), "0123")
    with pytest.raises(
        CfbenchError, match=r"damaged.*\n.*see that the parts are in order, or get it again"
    ):
        run([paths[0], paths[2], paths[1], paths[3]], tmp_path, program=program)
    assert tree(tmp_path / "out").items() <= CLIPS.items()


@pytest.mark.parametrize("program", ENGINES)
def test_a_header_that_asks_for_much_memory(tmp_path: Path, program: bool) -> None:
    data = bytearray(xz(FIRST + END))
    data[data.index(b"\x21\x01") + 2] = 38  # a dictionary of 2 GiB
    end = 12 + (data[12] + 1) * 4 - 4
    data[end : end + 4] = zlib.crc32(data[12:end]).to_bytes(4, "little")
    paths = tapes.write_parts(tmp_path / "in", bytes(data), "0")
    with pytest.raises(CfbenchError, match=r"takes more than [\d,]+ MiB of memory"):
        run(paths, tmp_path, program=program)


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = tapes.write_parts(tmp_path / "in", xz(tape(CLIPS)), "0")
    count = 0
    replace = Path.replace

    def full(path: Path, to: Path) -> Path:
        nonlocal count
        count += 1
        if count > 5:
            raise OSError(28, "No space left on device", str(to))
        return replace(path, to)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(unpacking.DiskFull, match="No space left on device"):
            run(paths, tmp_path)
    assert len(tree(tmp_path / "out")) == 5
    assert run(paths, tmp_path).written == len(CLIPS) - 5
    assert tree(tmp_path / "out") == CLIPS


def test_what_was_touched_is_seen_without_the_archive(tmp_path: Path) -> None:
    paths = tapes.write_parts(tmp_path / "in", xz(tape(CLIPS)), "0")
    run(paths, tmp_path)
    places = tmp_path / "out", tmp_path / "journal"
    assert look(*places, "another archive") == (Unpacked(), False)
    path = tmp_path / "out" / "CoRS" / "p227_005_mini.wav"
    path.write_bytes(bytes(path.stat().st_size))
    found, complete = look(*places, "key")
    assert (found.files, complete) == (35, False)
    assert run(paths, tmp_path).written == 1
    assert look(*places, "key")[1]
    path.unlink()
    assert not look(*places, "key")[1]


def test_a_journal_of_another_archive_is_not_believed(tmp_path: Path) -> None:
    other = {name: content[::-1] for name, content in CLIPS.items()}
    run(tapes.write_parts(tmp_path / "in", xz(tape(other)), "0"), tmp_path, key="other")
    different = sum(other[name] != CLIPS[name] for name in CLIPS)
    done = run(tapes.write_parts(tmp_path / "in", xz(tape(CLIPS)), "0"), tmp_path)
    assert done.written == different
    assert tree(tmp_path / "out") == CLIPS


@given(st.binary(max_size=200), st.integers(0, 400))
def test_any_journal_is_read(
    tmp_path_factory: pytest.TempPathFactory, garbage: bytes, cut: int
) -> None:
    at = tmp_path_factory.mktemp("journal") / "journal"
    journal = Journal(at, "key")
    for number in range(5):
        journal.add(Line(number, number, number, str(number)))
    journal.finish(5)
    journal.close()
    whole = at.read_bytes()
    assert [line and line.path for line in lines_of(at, "key")] == ["0", "1", "2", "3", "4", None]
    at.write_bytes(whole[:cut] + garbage)
    known = [line for line in lines_of(at, "key") if line]
    again = Journal(at, "key")
    for number in range(5):
        line = Line(number, number, number, str(number))
        if again.expects(number, number, str(number)) is None:
            again.add(line)
        else:
            assert line in known
    again.finish(5)
    again.close()
    assert at.read_bytes() == whole


_DRIVER = """
import sys, time
from pathlib import Path
from cfbench.archives.unpacking import Bounds, unpack
out, journal, *parts = map(Path, sys.argv[1:])
bounds = Bounds(9999, 10**7, 10**9)
unpack(parts, "tar.xz", out, journal, "key", bounds, lambda done: time.sleep(0.02))
"""


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_in_the_same_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(4)
    clips = {
        f"CoRS/{number:04d}.wav": chance.randbytes(chance.randint(0, 20_000))
        for number in range(1200)
    }
    parts = tapes.write_parts(tmp_path / "in", xz(tape(clips)), "0123")
    out, journal = tmp_path / "out", tmp_path / "journal"
    command = [sys.executable, "-c", _DRIVER, str(out), str(journal), *map(str, parts)]
    killed = 0
    for _ in range(10):
        process = subprocess.Popen(command)
        there = len(list((out / "CoRS").glob("*.wav"))) if out.exists() else 0
        # Once at the start, in the middle of a file, of a line of the journal, or between them.
        wanted = there + chance.randint(0, 110)
        while process.poll() is None and (
            not out.exists() or sum(1 for _ in (out / "CoRS").glob("*.wav")) < wanted
        ):
            time.sleep(0.001)
        time.sleep(chance.random() * 0.01)
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        found = tree(out)
        found.pop(".cfbench-incoming", None)
        assert found.items() <= clips.items()
    assert killed == 10
    before = len(tree(out).keys() & clips.keys())
    done = run(parts, tmp_path)
    assert done.written == len(clips) - before > 0
    assert tree(out) == clips
    assert look(out, journal, "key") == (done_of(clips), True)
