"""From the shipped folder of a track to clips on the disk: unpacked, made, checked, resumed."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import mini_data
import speech
import tiny_codecs
from cfbench.errors import CfbenchError
from cfbench.mini import fingerprints, levels, store
from cfbench.mini.pack import pack
from cfbench.mini.resynthesis import read_pcm, write_flac
from cfbench.mini.store import unpack
from cfbench.mini.team import Team
from mini_data import MAKERS, Mini


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Mini:
    return mini_data.make(tmp_path_factory.mktemp("mini"))


@pytest.fixture(scope="module")
def whole(mini: Mini, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All clips, unpacked without an interruption."""
    folder = tmp_path_factory.mktemp("whole")
    unpack(mini.track, to=folder, makers=MAKERS)
    return folder


@pytest.fixture
def own(mini: Mini, tmp_path: Path) -> Mini:
    """A copy of what is shipped, that a test may break."""
    shutil.copytree(mini.toml.parent, tmp_path / "own")
    return mini._replace(
        toml=tmp_path / "own" / mini.toml.name,
        root=tmp_path / "own" / mini.root.name,
        clips=tmp_path / "own" / mini.clips.name,
    )


@pytest.fixture
def there(whole: Path, tmp_path: Path) -> Path:
    """A copy of the unpacked clips, that a test may break; nothing of it looks changed."""
    folder = tmp_path / "there"
    shutil.copytree(whole, folder)
    return folder


def test_every_clip_is_what_was_packed(mini, whole):
    assert set(mini_data.contents(whole)) == set(mini.rows["utt_id"])
    for utt_id in mini.rows["utt_id"]:
        made = tiny_codecs.channel(read_pcm(mini.clips / f"{utt_id}.flac"), utt_id)
        found = read_pcm(whole / f"{utt_id}.flac")
        assert np.array_equal(made, found), utt_id


def test_it_says_what_is_there_and_under_which_licence(mini, tmp_path):
    done = unpack(mini.track, to=tmp_path / "out", makers=MAKERS)
    assert done.splits == {"train": 12, "dev": 6, "id": 12, "ood": 12}
    assert (done.exact, done.near, done.written, done.read) == (42, 0, 42, 0)
    assert done.licences == {"GPL-2.0": 24, "CC-BY-3.0": 18}
    text = (done.folder / "licences" / "GPL-2.0" / "LICENSE.txt").read_text()
    assert text == "The terms of GPL-2.0.\n"


def test_a_second_call_reads_and_writes_nothing(mini, there, monkeypatch):
    before = {path: path.stat().st_mtime_ns for path in there.rglob("*")}
    monkeypatch.setattr("cfbench.mini.resynthesis.read_pcm", None)
    monkeypatch.setattr("cfbench.mini.resynthesis.stamp", None)
    done = unpack(mini.track, to=there, makers=MAKERS)
    assert (done.exact, done.written, done.read) == (42, 0, 0)
    assert {path: path.stat().st_mtime_ns for path in there.rglob("*")} == before


@pytest.mark.parametrize("split", ["id", "train"])
def test_one_split_is_all_that_is_unpacked(mini, tmp_path, split):
    done = unpack(mini.track, [split], tmp_path, makers=MAKERS)
    assert done.splits == {split: 12}
    assert set(mini_data.contents(tmp_path)) == mini.ids(split)
    done = unpack(mini.track, to=tmp_path, makers=MAKERS)
    assert done.written == 30
    assert set(mini_data.contents(tmp_path)) == set(mini.rows["utt_id"])


def test_a_split_that_is_none_is_an_error(mini, tmp_path):
    with pytest.raises(CfbenchError, match="has no split 'tests'"):
        unpack(mini.track, ["tests"], tmp_path, makers=MAKERS)


def test_the_clips_of_the_tests_need_no_torch(mini, whole, tmp_path):
    for name in ("torch", "soxr", "scipy", "safetensors"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('not installed')\n")
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from cfbench.mini.store import unpack\n"
        "from cfbench.tasks import find_track\n"
        "track = find_track(sys.argv[1])\n"
        "for _ in range(2):\n"
        "    print(unpack(track, ['id', 'ood'], Path(sys.argv[2])).exact)\n"
    )
    # With the real last step: it is what users have to install something for.
    pack(mini.rows, mini.clips, mini.licences, tmp_path / "mini")
    toml = tmp_path / mini.toml.name
    toml.write_text(mini.toml.read_text())
    done = subprocess.run(
        [sys.executable, "-c", script, toml, tmp_path / "out"],
        capture_output=True,
        text=True,
        check=False,
        env=speech.surroundings(PYTHONPATH=str(tmp_path)),
    )
    assert (done.stdout, done.stderr) == ("24\n24\n", "")
    assert set(mini_data.contents(tmp_path / "out")) == mini.ids("id", "ood")
    for utt_id in mini.ids("id"):
        was = levels.channel(read_pcm(mini.clips / f"{utt_id}.flac"), utt_id)
        assert np.array_equal(read_pcm(tmp_path / "out" / f"{utt_id}.flac"), was)


def test_what_makes_clips_and_is_not_installed_is_named(mini, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "find_spec", lambda name: name == "soundfile" or None)
    with pytest.raises(CfbenchError, match="needs torch, safetensors") as error:
        unpack(mini.track, ["train"], tmp_path, makers=MAKERS)
    assert "pip install 'cfbench[baseline]'" in str(error.value)
    assert not mini_data.contents(tmp_path)
    assert unpack(mini.track, ["id"], tmp_path, makers=MAKERS).exact == 12
    monkeypatch.setattr(store, "find_spec", lambda name: None)
    with pytest.raises(CfbenchError, match="needs soundfile") as error:
        unpack(mini.track, ["ood"], tmp_path, makers=MAKERS)
    assert "pip install 'cfbench[data]'" in str(error.value)


def flip(path: Path) -> None:
    """Change a byte in the middle, and let nothing show it."""
    before, content = path.stat(), bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


WAYS: dict[str, Callable[[Path], object]] = {
    "removed": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "text": lambda path: path.write_text("not audio"),
    "another clip": lambda path: write_flac(path, np.ones(999, np.int16)),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_broken_file_is_noticed_and_made_anew(mini, whole, there, way):
    for utt_id in ("id-00", "train-01", "train-01-1", "dev-00-3"):
        WAYS[way](there / f"{utt_id}.flac")
    done = unpack(mini.track, to=there, makers=MAKERS)
    assert done.written == 4
    assert mini_data.contents(there) == mini_data.contents(whole)


def test_a_change_that_does_not_show_is_found_by_reading(mini, whole, there):
    for utt_id in ("id-00", "train-01-1"):
        flip(there / f"{utt_id}.flac")
    assert unpack(mini.track, to=there, makers=MAKERS).written == 0
    done = unpack(mini.track, to=there, verify=True, makers=MAKERS)
    assert (done.written, done.read) == (2, 42)
    assert mini_data.contents(there) == mini_data.contents(whole)


@pytest.mark.parametrize("content", [None, b"", b"PAR1 and more"], ids=["gone", "empty", "broken"])
def test_without_its_manifest_every_file_is_read_and_none_made(mini, there, content, monkeypatch):
    manifest = there / ".manifest.parquet"
    manifest.unlink()
    if content is not None:
        manifest.write_bytes(content)
    # To the bit they must have come from the codecs that are shipped: broken ones are not asked.
    before = {path: path.stat().st_mtime_ns for path in there.glob("*.flac")}
    done = unpack(mini.track, to=there, makers=MAKERS)
    assert done.exact == 42
    assert {path: path.stat().st_mtime_ns for path in there.glob("*.flac")} == before


def test_clips_of_another_version_in_the_folder_are_replaced(mini, there, own):
    shutil.rmtree(own.root)
    mini_data.write_codecs(own.root)
    louder = (read_pcm(own.clips / "id-00.flac") // 2 * 2).astype(np.int16)
    write_flac(own.clips / "id-00.flac", louder)
    own.pack()
    done = unpack(own.track, to=there, makers=MAKERS)
    assert done.written >= 1
    assert np.array_equal(read_pcm(there / "id-00.flac"), tiny_codecs.channel(louder, "id-00"))


SCRIPT = """
import sys
from pathlib import Path
from cfbench.mini.store import Makers, unpack
from cfbench.tasks import find_track
unpack(find_track(sys.argv[1]), to=Path(sys.argv[2]), makers=Makers(*sys.argv[3:]))
print("done")
"""


def start(mini: Mini, out: Path) -> "subprocess.Popen[str]":
    """Unpack in a process of its own; its main part has no guard, as a user's script has none."""
    script = mini.toml.parent / "script.py"
    script.write_text(SCRIPT)
    return subprocess.Popen(
        [sys.executable, script, mini.toml, out, *asdict(MAKERS).values()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=speech.surroundings(PYTHONPATH=str(Path(__file__).parent)),
    )


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on_to_the_same_files(own, whole, tmp_path):
    mini_data.write_codecs(own.root, sleep=0.03)
    out, rng = tmp_path / "out", random.Random(5)
    counts = []
    for _ in range(3):
        process = start(own, out)
        wanted = len(counts) * 10 + rng.randrange(2, 12)
        deadline = time.monotonic() + 20
        while len(mini_data.contents(out)) < wanted and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        counts.append(len(mini_data.contents(out)))
        for path in out.glob("*.flac"):
            read_pcm(path)
    assert 0 < counts[0] <= counts[1] <= counts[2] < 42
    last = start(own, out)
    said, errors = last.communicate(timeout=60)
    assert (said, errors) == ("done\n", "")
    assert mini_data.contents(out) == mini_data.contents(whole)


def test_what_a_killed_call_was_writing_is_removed_later(mini, there):
    old, young = there / ".id-00.flac.abc", there / ".id-01.flac.def"
    for path in (old, young):
        path.write_bytes(b"half")
    long_ago = time.time() - 7200
    os.utime(old, (long_ago, long_ago))
    unpack(mini.track, to=there, makers=MAKERS)
    assert not old.exists()
    assert young.exists()


def test_an_interruption_keeps_what_is_done(own, tmp_path):
    mini_data.write_codecs(own.root, sleep=0.02)

    def advance(done: int) -> None:
        nonlocal count
        count += done
        if count == 34:
            raise KeyboardInterrupt

    count = 0
    with pytest.raises(KeyboardInterrupt):
        unpack(own.track, to=tmp_path, watch=store.Watch(advance=advance), makers=MAKERS)
    kept = pl.read_parquet(tmp_path / ".manifest.parquet").height
    assert kept == 34
    # What was under way when it was interrupted may have come to its end.
    assert unpack(own.track, to=tmp_path, makers=MAKERS).written <= 42 - kept
    assert set(mini_data.contents(tmp_path)) == set(own.rows["utt_id"])


def test_another_platform_is_within_tolerance_and_said_to_be(own, tmp_path):
    mini_data.write_codecs(own.root, rounding=0.003)
    done = unpack(own.track, to=tmp_path, makers=MAKERS)
    assert (done.exact, done.near) == (42 - len(own.made), len(own.made))
    assert 0 < done.difference < fingerprints.TOLERANCE
    again = unpack(own.track, to=tmp_path, verify=True, makers=MAKERS)
    assert (again.near, again.written, again.read) == (len(own.made), 0, 42)
    assert again.difference == done.difference


@pytest.mark.parametrize("before", [False, True])
def test_other_sounds_are_an_error_that_names_them_and_are_not_kept(own, tmp_path, before):
    if before:
        # Of another version, where a clip was something else.
        for utt_id in own.made:
            write_flac(tmp_path / f"{utt_id}.flac", np.ones(4800, np.int16))
    mini_data.write_codecs(own.root, hum=0.05)
    with pytest.raises(CfbenchError, match="12 clips of 12 came out") as error:
        unpack(own.track, to=tmp_path, makers=MAKERS)
    assert "dev-00-3 (" in str(error.value)
    assert set(mini_data.contents(tmp_path)) == set(own.rows["utt_id"]) - own.made
    mini_data.write_codecs(own.root)
    assert unpack(own.track, to=tmp_path, makers=MAKERS).exact == 42


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"broken": 1}, "ValueError: a codec that is broken"),
        ({"nan": 1}, "the codec's answer is no finite waveform"),
    ],
    ids=["raises", "not finite"],
)
def test_a_codec_that_fails_is_an_error(own, tmp_path, settings, told):
    mini_data.write_codecs(own.root, **settings)
    with pytest.raises(CfbenchError, match=told) as error:
        unpack(own.track, to=tmp_path, makers=MAKERS)
    assert "Traceback" not in str(error.value)


def test_a_process_that_dies_is_an_error(mini, tmp_path):
    makers = replace(MAKERS, codec="tiny_codecs:die")
    with pytest.raises(CfbenchError, match="makes clips ended with 3: out of something"):
        unpack(mini.track, to=tmp_path, makers=makers)


@pytest.mark.slow
def test_a_network_makes_the_same_bytes_however_many_processes_do(own, tmp_path):
    makers = replace(MAKERS, codec="tiny_codecs:load_net")
    for seed, name in enumerate(mini_data.STEPS):
        (own.root / "codecs" / f"{name}.toml").write_text(f"seed = {seed}\n")
    for row in own.rows.filter(pl.col("utt_id").is_in(list(own.made))).iter_rows(named=True):
        net = tiny_codecs.load_net(own.root / "codecs" / f"{row['source']}.toml")
        source = read_pcm(own.clips / f"{row['group']}.flac").astype(np.float32) / np.float32(32768)
        made = tiny_codecs.finish(net.resynthesise(source), row["utt_id"])
        write_flac(own.clips / f"{row['utt_id']}.flac", made)
    own.pack()
    done = unpack(own.track, to=tmp_path / "two", workers=2, makers=makers)
    assert done.exact + done.near == 42
    unpack(own.track, to=tmp_path / "one", workers=1, makers=makers)
    assert mini_data.contents(tmp_path / "two") == mini_data.contents(tmp_path / "one")


def rewrite(path: Path, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    change(pl.read_parquet(path)).write_parquet(path)


def swap(frame: pl.DataFrame) -> pl.DataFrame:
    files = frame["flac"].to_list()
    return frame.with_columns(flac=pl.Series([*files[1:], files[0]]))


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "no digests": (lambda root: (root / "clips" / "digests.parquet").unlink(), "digests.parquet"),
    "digests cut short": (
        lambda root: WAYS["cut short"](root / "clips" / "digests.parquet"),
        "digests.parquet: cannot be read",
    ),
    "digest lost": (
        lambda root: rewrite(root / "clips" / "digests.parquet", lambda f: f.slice(1)),
        "1 clip has no digest: dev-00",
    ),
    "digest twice": (
        lambda root: rewrite(
            root / "clips" / "digests.parquet", lambda f: pl.concat([f, f.head(1)])
        ),
        "1 clip is there twice: dev-00",
    ),
    "column lost": (
        lambda root: rewrite(root / "clips" / "digests.parquet", lambda f: f.drop("samples")),
        "has not the columns utt_id, samples",
    ),
    "table gone": (
        lambda root: (root / "clips" / "GPL-2.0" / "test.parquet").unlink(),
        "clips are in no table: id-00",
    ),
    "sources gone": (
        lambda root: (root / "clips" / "GPL-2.0" / "sources.parquet").unlink(),
        "4 clips are in no table: train-00",
    ),
    "table cut short": (
        lambda root: WAYS["cut short"](root / "clips" / "GPL-2.0" / "test.parquet"),
        "test.parquet: cannot be read",
    ),
    "clips exchanged": (
        lambda root: rewrite(root / "clips" / "GPL-2.0" / "test.parquet", swap),
        "12 clips are not what their digests say: id-00",
    ),
    "clip empty": (
        lambda root: rewrite(
            root / "clips" / "GPL-2.0" / "test.parquet",
            lambda f: f.with_columns(
                flac=pl.when(pl.col("utt_id") == "id-00").then(None).otherwise("flac")
            ),
        ),
        "1 clip is not what its digest says: id-00",
    ),
    "clip cut short": (
        lambda root: rewrite(
            root / "clips" / "GPL-2.0" / "sources.parquet",
            lambda f: f.with_columns(
                flac=pl.when(pl.col("utt_id") == "train-00")
                .then(pl.col("flac").bin.slice(0, 999))
                .otherwise("flac")
            ),
        ),
        "1 clip is not what its digest says: train-00",
    ),
    "clip twice": (
        lambda root: shutil.copy(
            root / "clips" / "GPL-2.0" / "test.parquet",
            root / "clips" / "CC-BY-3.0" / "sources.parquet",
        ),
        "12 clips are there twice",
    ),
    "no codec": (
        lambda root: (root / "codecs" / "rvq.toml").unlink(),
        "rvq.toml: no such codec",
    ),
    "no licence": (
        lambda root: (root / "clips" / "GPL-2.0" / "LICENSE.txt").unlink(),
        "LICENSE.txt: cannot be read",
    ),
    "protocol cut short": (
        lambda root: WAYS["cut short"](root / "protocol.csv"),
        "protocol.csv",
    ),
    "no clips": (lambda root: shutil.rmtree(root / "clips"), "holds no clips of made-up-mini"),
}


@pytest.mark.parametrize("way", BROKEN)
def test_what_is_shipped_and_damaged_is_an_error(own, tmp_path, way):
    damage, told = BROKEN[way]
    damage(own.root)
    with pytest.raises(CfbenchError) as error:
        unpack(own.track, to=tmp_path / "out", makers=MAKERS)
    assert told in str(error.value)


def test_a_source_that_was_damaged_after_it_was_unpacked_is_told_from_a_codec_that_errs(own, there):
    made = sorted(own.made & own.ids("train"))
    for utt_id in made:
        (there / f"{utt_id}.flac").unlink()
    rewrite(own.root / "clips" / "GPL-2.0" / "sources.parquet", swap)
    with pytest.raises(CfbenchError, match="4 clips are not what their digests say: train-00"):
        unpack(own.track, to=there, makers=MAKERS)


@pytest.mark.parametrize("error", [CfbenchError("a table", "a hint"), MemoryError(), KeyError(1)])
def test_jobs_that_cannot_be_had_are_an_error_and_nobody_waits(error):
    def jobs():
        yield from ()
        raise error

    with pytest.raises(type(error)) as raised:
        Team(2).work(jobs(), 5, lambda answer: None)
    assert raised.value is error


def test_a_damaged_table_is_found_whatever_byte_it_is(own, tmp_path):
    path = own.root / "clips" / "GPL-2.0" / "test.parquet"
    sound, rng = path.read_bytes(), random.Random(3)
    good = 0
    for place in (rng.randrange(len(sound)) for _ in range(25)):
        broken = bytearray(sound)
        broken[place] ^= 1 << rng.randrange(8)
        path.write_bytes(bytes(broken))
        out = tmp_path / f"out-{place}"
        try:
            unpack(own.track, ["id"], out, makers=MAKERS)
        except CfbenchError:
            continue
        # What a reader does not look at may differ; the clips may not.
        good += 1
        for utt_id, flac in mini_data.contents(out).items():
            was = tiny_codecs.channel(read_pcm(own.clips / f"{utt_id}.flac"), utt_id)
            assert np.array_equal(read_pcm(out / f"{utt_id}.flac"), was)
            assert flac
    assert good < 25


@pytest.mark.parametrize("name", ["../../escaped", "a/b", ".hidden", "c:x"])
def test_no_utterance_leads_out_of_the_folder(own, tmp_path, name):
    protocol = own.root / "protocol.csv"
    protocol.write_text(protocol.read_text().replace("\nid-00,", f"\n{name},"))
    with pytest.raises(CfbenchError, match="cannot be the name of a file"):
        unpack(own.track, to=tmp_path / "out", makers=MAKERS)


def test_a_track_without_clips_is_an_error(mini, tmp_path):
    track = mini.track.model_copy(update={"clips": None})
    with pytest.raises(CfbenchError, match="are not shipped with cfbench"):
        unpack(track, to=tmp_path)


def test_a_folder_that_cannot_be_made_is_an_error(mini, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CfbenchError, match=r"cannot be made.*\n.*--to.*CFBENCH_CACHE"):
        unpack(mini.track, to=tmp_path / "file" / "out", makers=MAKERS)


def test_the_cache_is_where_the_platform_or_the_user_has_it(mini, tmp_path, monkeypatch):
    monkeypatch.setenv("CFBENCH_CACHE", str(tmp_path / "mine"))
    assert store.clips_folder(mini.track) == tmp_path / "mine" / "made-up-mini" / "1"
    assert unpack(mini.track, ["id"], makers=MAKERS).folder == store.clips_folder(mini.track)
    monkeypatch.delenv("CFBENCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr(sys, "platform", "linux")
    assert store.cache_folder() == tmp_path / "xdg" / "cfbench"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert store.cache_folder().parts[-3:] == ("Library", "Caches", "cfbench")
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert store.cache_folder() == tmp_path / "local" / "cfbench" / "Cache"
    with pytest.raises(CfbenchError, match="cannot be a folder's name"):
        store.clips_folder(mini.track.model_copy(update={"version": "../.."}))


def noisy(seed: int = 1, seconds: float = 1.0) -> np.ndarray:
    return tiny_codecs.finish(speech.utterance(seed, seconds), "x")


def test_a_fingerprint_has_a_byte_for_each_band_and_frame():
    pcm = noisy()
    said = np.frombuffer(fingerprints.fingerprint(pcm), np.uint8).reshape(-1, 16)
    assert said.shape == (3, 16)
    assert len(fingerprints.fingerprint(pcm[: 6400 * 2 + 1])) == 3 * 16
    # A sine of full scale: 0 dB, 160 half-dB steps above the floor, in the band it is in.
    sine = np.round(32767 * np.sin(2 * np.pi * 1000 * np.arange(6400) / 16000)).astype(np.int16)
    bands = np.frombuffer(fingerprints.fingerprint(sine), np.uint8)
    assert 150 <= bands.max() <= 163
    half = np.frombuffer(fingerprints.fingerprint((sine // 2).astype(np.int16)), np.uint8)
    assert bands.max() - half.max() == pytest.approx(12, abs=1)
    assert not any(fingerprints.fingerprint(np.zeros(6400, np.int16)))


def test_the_tolerance_tells_rounding_from_another_sound():
    pcm = noisy()
    expected = fingerprints.describe(pcm)
    assert fingerprints.compare(pcm, expected) == ("exact", 0.0)
    rng = np.random.default_rng(0)
    rounded = (pcm + rng.integers(-1, 2, len(pcm))).astype(np.int16)
    match, difference = fingerprints.compare(rounded, expected)
    assert match == "near"
    assert difference < 0.5 * fingerprints.TOLERANCE
    for other in (noisy(2), (0.7 * pcm).astype(np.int16), np.roll(pcm, 2000)):
        assert fingerprints.compare(other, expected)[0] == "off"
    assert fingerprints.compare(pcm[:-1], expected) == ("off", float("inf"))
    exact_only = replace(expected, fingerprint=None)
    assert fingerprints.compare(pcm, exact_only) == ("exact", 0.0)
    assert fingerprints.compare(rounded, exact_only) == ("off", float("inf"))


def test_clips_are_had_as_they_are_shipped(mini, whole):
    wanted = {*sorted(mini.ids("id"))[:2], "train-01"}
    found = store.shipped_clips(mini.track, wanted)
    assert set(found) == wanted
    for utt_id, pcm in found.items():
        assert np.array_equal(pcm, read_pcm(mini.clips / f"{utt_id}.flac"))
        assert not np.array_equal(pcm, read_pcm(whole / f"{utt_id}.flac"))
    made = min(mini.made)
    with pytest.raises(CfbenchError, match=f"1 clip is not shipped: {made}"):
        store.shipped_clips(mini.track, [made])
