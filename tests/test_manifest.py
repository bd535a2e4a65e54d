"""The manifest: every file is looked at once, and nothing is dropped in silence."""

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile

import samples
from cfbench.api import read_protocol
from cfbench.audio import SUFFIXES
from cfbench.errors import CfbenchError
from cfbench.manifest import crew, headers, indexing, making, table
from cfbench.manifest.duplicates import find_duplicates
from cfbench.manifest.headers import read_facts
from cfbench.manifest.joining import join
from cfbench.manifest.share import Share
from cfbench.manifest.walking import walk
from cfbench.tasks import find_track

RATE = 16_000


def sound(seed: int, count: int = 320) -> np.ndarray:
    return np.random.default_rng(seed).integers(-9000, 9000, count).astype(np.int16)


def write(path: Path, seed: int, count: int = 320, rate: int = RATE, **more: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, sound(seed, count), rate, **more)
    return path


def lay_out(folder: Path, cosg: str = "wav") -> Path:
    """The clips of `samples` as the authors' code expects them, below a folder of an archive's."""
    for seed, row in enumerate(samples.CORS):
        write(folder / "Codecfake_plus_CoRS" / "all_data_16k" / f"{row.utt_id}.wav", seed)
    for seed, row in enumerate(samples.COSG, start=500):
        write(folder / "SLMdemos_16k" / f"{row.utt_id}.{cosg}", seed)
    return folder


def index(run_cli, *arguments: object):
    done = run_cli("data", "index", *arguments, "--json")
    said = json.loads(done.out) if done.out else {}
    return done, said, {f["key"]: f for f in said.get("findings", [])}


def read(path: Path) -> pl.DataFrame:
    return table.read_manifest(path).frame


def of(frame: pl.DataFrame, end: str) -> dict:
    rows = frame.filter(pl.col("path").str.ends_with(end)).to_dicts()
    assert len(rows) == 1, end
    return rows[0]


# One file.


def test_suffixes_are_those_that_are_read():
    assert headers.SUFFIXES == SUFFIXES


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_U8", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_wav_is_what_soundfile_says(tmp_path, subtype, channels):
    path = tmp_path / "a.wav"
    speech = np.random.default_rng(0).uniform(-0.5, 0.5, (321, channels))
    soundfile.write(path, speech, 22_050, subtype=subtype)
    facts = read_facts(str(path), True)
    assert (facts.samples, facts.rate, facts.channels) == (321, 22_050, channels)
    assert (facts.format, facts.problem) == ("wav", None)
    content = path.read_bytes()
    assert facts.sha256 == hashlib.sha256(content).hexdigest()
    assert (facts.size, facts.mtime_ns) == (len(content), path.stat().st_mtime_ns)
    if subtype == "PCM_16":
        pcm = soundfile.read(path, dtype="int16")[0]
        assert facts.pcm_md5 == hashlib.md5(pcm.tobytes()).hexdigest()
    assert (facts.pcm_md5 is None) == (subtype not in ("PCM_16", "PCM_24"))


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
def test_a_wav_and_its_flac_have_the_same_samples(tmp_path, subtype):
    # Whole numbers: from fractions the two would be rounded in two ways.
    speech = np.random.default_rng(1).integers(-9000, 9000, 5000).astype(np.int32) << 16
    for name in ("a.wav", "a.flac"):
        soundfile.write(tmp_path / name, speech, RATE, subtype=subtype)
    wav, flac = (read_facts(str(tmp_path / name), True) for name in ("a.wav", "a.flac"))
    assert wav.pcm_md5 == flac.pcm_md5 is not None
    assert wav.sha256 != flac.sha256
    assert (flac.format, flac.samples, flac.rate, flac.channels) == ("flac", 5000, RATE, 1)
    assert read_facts(str(tmp_path / "a.flac"), False).pcm_md5 == flac.pcm_md5
    assert read_facts(str(tmp_path / "a.wav"), False).pcm_md5 is None


def test_chunks_before_and_behind_the_samples_are_no_samples(tmp_path):
    plain = write(tmp_path / "a.wav", 3).read_bytes()
    extra = b"LIST" + (5001).to_bytes(4, "little") + b"x" * 5002
    for name, content in {
        "before": plain[:12] + extra + plain[12:],
        "between": plain[:36] + extra + plain[36:],
        "behind": plain + extra,
    }.items():
        path = tmp_path / f"{name}.wav"
        path.write_bytes(content)
        facts = read_facts(str(path), True)
        assert (facts.samples, facts.problem) == (320, None), name
        assert facts.pcm_md5 == hashlib.md5(sound(3).tobytes()).hexdigest(), name


@pytest.mark.parametrize("suffix", ["ogg", "aiff", "mp3"])
def test_other_formats_are_asked_of_soundfile(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, np.sin(np.arange(8000) / 9) / 2, RATE)
    facts = read_facts(str(path), True)
    assert (facts.rate, facts.channels, facts.problem) == (RATE, 1, None)
    assert facts.samples == soundfile.info(path).frames
    path.write_bytes(path.read_bytes()[:-700])
    assert read_facts(str(path), True).problem is not None


def broken(folder: Path) -> dict[str, str]:
    """Files that are not what their names say, and what is to be said of them."""
    whole = write(folder / "whole.wav", 1).read_bytes()
    flac = write(folder / "whole.flac", 1, 9000).read_bytes()
    odd = {
        "empty.wav": (b"", "empty"),
        "text.wav": (b"this is no audio at all, but text\n" * 9, "not audio"),
        "pointer.wav": (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        "short.wav": (whole[:-100], "cut short: 540 of 640 bytes"),
        "header.wav": (whole[:30], "cut short"),
        "no-samples.wav": (whole[:40] + b"\0\0\0\0", "a header, and no samples"),
        "short.flac": (flac[: len(flac) // 2], "cut short"),
        "start.flac": (flac[:20], "libsndfile"),
        "zeros.wav": (b"\0" * 5000, "not audio"),
    }
    for name, (content, _) in odd.items():
        (folder / name).write_bytes(content)
    return {name: why for name, (_, why) in odd.items()}


def test_broken_files_are_problems_and_no_exceptions(tmp_path):
    for name, why in broken(tmp_path).items():
        for digests in (False, True):
            facts = read_facts(str(tmp_path / name), digests)
            assert facts.problem is not None, name
            assert why in facts.problem, (name, facts.problem)
            assert facts.size == (tmp_path / name).stat().st_size
    os.mkfifo(tmp_path / "pipe.wav")
    assert read_facts(str(tmp_path / "pipe.wav"), True).problem == "not a file"
    assert "No such file" in (read_facts(str(tmp_path / "gone.wav"), True).problem or "")


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_a_damaged_header_is_never_more_than_a_problem(tmp_path, suffix):
    whole = write(tmp_path / f"a.{suffix}", 1).read_bytes()
    damage = random.Random(1)
    path = tmp_path / f"b.{suffix}"
    rows = []
    for _ in range(400):
        content = bytearray(whole)
        for _ in range(damage.randint(1, 6)):
            content[damage.randrange(60)] = damage.choice((0, 1, 0x7F, 0x80, 0xFF))
        path.write_bytes(content[: damage.choice((len(content), 200, 44, 20))])
        facts = read_facts(str(path), True)
        assert facts.size == path.stat().st_size
        rows.append(facts)
    # All of it fits into the table.
    schema = {name: table.FILES[name] for name in headers.Facts._fields}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    assert frame["problem"].null_count() > 0
    assert frame["problem"].drop_nulls().n_unique() > 3
    sound = frame.filter(pl.col("problem").is_null())
    assert (sound["rate"] >= 1000).all()
    assert (sound["samples"] > 0).all()


def test_a_length_that_a_pipe_left_unsaid_is_what_is_there(tmp_path):
    whole = write(tmp_path / "a.wav", 1).read_bytes()
    for number, length in enumerate((0, 0xFFFF_FFFF, 0x7FFF_F000)):
        unsaid = length.to_bytes(4, "little")
        path = tmp_path / f"{number}.wav"
        path.write_bytes(whole[:4] + unsaid + whole[8:40] + unsaid + whole[44:])
        facts = read_facts(str(path), False)
        assert (facts.samples, facts.problem) == (320, None)


def test_silence_is_a_problem_for_who_decodes(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(100), RATE)
    assert read_facts(str(tmp_path / "a.wav"), True).problem is None
    assert "silent" in (read_facts(str(tmp_path / "a.wav"), True, decode=True).problem or "")


# Many files.


def test_processes_answer_in_order(tmp_path):
    paths = [str(write(tmp_path / f"{number}.wav", number, 10 + number)) for number in range(20)]
    asked = [paths[number % 20] for number in range(1500)]
    facts = [one for batch in crew.look(asked, True, workers=3) for one in batch]
    assert [one.samples for one in facts] == [10 + number % 20 for number in range(1500)]


def test_a_process_that_ends_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(crew, "_SERVE", "import sys; sys.stdin.readline()")
    with pytest.raises(CfbenchError, match="a process that reads audio files has ended"):
        list(crew.look([str(tmp_path / "a.wav")] * 1000, False, workers=2))


def test_walking_goes_by_names_and_stays_inside(tmp_path):
    inside, outside = tmp_path / "in", tmp_path / "out"
    write(outside / "secret.wav", 0)
    for name in ("b.wav", "a/Z.WAV", "a/é.flac", "a/new\nline.wav", "a/b/c.wav", ".hidden.wav"):
        write(inside / name, 1, format="FLAC" if name.endswith("flac") else "WAV")
    (inside / "notes.txt").write_text("")
    (inside / "noend").write_text("")
    links = {
        "away.wav": outside / "secret.wav",
        "away": outside,
        "up": "..",
        "a/self": inside / "a",
    }
    links |= {"same.wav": "b.wav", "lost.wav": "nothing.wav"}
    for name, target in links.items():
        (inside / name).symlink_to(target)
    (inside / "loop.wav").symlink_to("loop.wav")
    found = walk([inside])
    told = set(found.paths)
    usual = {"b.wav", "a/Z.WAV", "a/é.flac", "a/new\nline.wav", "a/b/c.wav", ".hidden.wav"}
    assert told == usual | {"same.wav"}
    assert found.paths == walk([inside]).paths
    assert set(found.links) == {"away.wav", "away", "up", "a/self", "lost.wav", "loop.wav"}
    assert dict(found.others) == {".txt": 1, "": 1}
    followed = walk([inside], follow=True)
    assert set(followed.paths) - told == {"away.wav", "away/secret.wav"}
    assert set(followed.links) == {"up", "a/self", "lost.wav", "loop.wav"}


def test_folders_that_cannot_be_walked_are_said(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    with pytest.raises(CfbenchError, match="no such folder"):
        walk([tmp_path / "c"])
    with pytest.raises(CfbenchError, match="lies in"):
        walk([tmp_path / "a", tmp_path / "a" / "b"])


# Files and utterances.


def test_both_layouts_are_found_whatever_is_above_them(run_cli, lists, tmp_path):
    out = tmp_path / "manifest.parquet"
    done, said, findings = index(
        run_cli, lay_out(tmp_path / "d", "flac"), "--protocol", lists, "-o", out
    )
    assert (done.code, said["sound"], findings) == (0, True, {})
    assert {k: v["found"] for k, v in said["splits"].items()} == {"id": 18, "ood": 16}
    frame = read(out)
    assert frame["path"].is_sorted()
    truth = samples.protocol_frame().sort("utt_id")
    same = frame.select(truth.columns).sort("utt_id")
    assert same.equals(truth)
    row = of(frame, "SLMdemos_16k/VALLE/0_ours.flac")
    assert (row["samples"], row["rate"], row["channels"], row["format"]) == (320, RATE, 1, "flac")
    content = (tmp_path / "d" / row["path"]).read_bytes()
    assert row["sha256"] == hashlib.sha256(content).hexdigest()


def test_what_is_not_as_it_should_be_is_listed_and_counted(run_cli, lists, tmp_path):
    data = lay_out(tmp_path / "d")
    cors = data / "Codecfake_plus_CoRS" / "all_data_16k"
    cosg = data / "SLMdemos_16k"
    (cors / "p227_901.wav").unlink()
    write(cors / "p225_001.wav", 907)
    write(cors / "p225_002.wav", 907)
    (cors / "p227_902.wav").write_bytes(b"")
    write(cors / "p228_901.wav", 911, rate=48_000)
    shutil.copy(cosg / "VALLE" / "0_prompt.wav", cosg / "VALLE" / "0_ours.wav")
    shutil.copy(cosg / "USLM" / "0_ours.wav", cors / "p227_901_llm_codec.wav")
    shutil.copy(cosg / "CLAMTTS" / "0_ours.wav", cosg / "CLAMTTS" / "1_ours.wav")
    write(data / "more" / "CLAMTTS" / "0_prompt.flac", 912)
    out = tmp_path / "manifest.parquet"
    done, _, findings = index(run_cli, data, "--protocol", lists, "-o", out)
    assert done.code == 1
    assert {key: f["names"] for key, f in findings.items() if key != "doubled-scored"} == {
        "missing-scored": ["p227_901"],
        "broken-scored": ["Codecfake_plus_CoRS/all_data_16k/p227_902.wav (empty (0 bytes))"],
        "surplus": [f"Codecfake_plus_CoRS/all_data_16k/p225_00{n}.wav" for n in (1, 2)],
        "form": ["Codecfake_plus_CoRS/all_data_16k/p228_901.wav (48,000 Hz, 1 channel)"],
        "duplicates-labels": ["VALLE/0_ours = VALLE/0_prompt"],
        "duplicates-splits": ["USLM/0_ours = p227_901_llm_codec"],
        "duplicates": ["CLAMTTS/0_ours = CLAMTTS/1_ours"],
    }
    told = "SLMdemos_16k/CLAMTTS/0_prompt.wav and more/CLAMTTS/0_prompt.flac"
    assert findings["doubled-scored"]["names"] == [f"CLAMTTS/0_prompt ({told})"]
    people = run_cli("data", "index", data, "--protocol", lists, "-o", out)
    assert people.code == 1
    assert "error: 1 utterance has no file (id 1): p227_901" in people.out
    assert "read now: 1; as an earlier run found them: 35" in people.err  # the empty one
    (cors / "p227_901.wav").write_bytes((cors / "p225_001.wav").read_bytes())
    shutil.rmtree(data / "more")
    write(cors / "p227_902.wav", 913)
    assert index(run_cli, data, "--protocol", lists, "-o", out)[0].code == 0


def test_odd_files_are_in_the_table_and_in_the_report(run_cli, lists, tmp_path):
    data = lay_out(tmp_path / "d")
    names = broken(data / "odd")
    write(data / "odd" / "new\nline é\x1b[31m.wav", 3)
    Path(os.fsdecode(os.fsencode(data / "odd") + b"/\xff.wav")).write_bytes(b"x")
    out = tmp_path / "manifest.parquet"
    done, said, findings = index(run_cli, data, "--protocol", lists, "-o", out)
    assert done.code == 0
    frame = read(out)
    assert said["files"] == frame.height == 34 + len(names) + 4
    assert len(findings["broken"]["names"]) == len(names) + 1
    assert of(frame, "\ufffd.wav")["problem"] == indexing.NAMELESS
    people = run_cli("data", "index", data, "--protocol", lists, "-o", out)
    assert "\x1b" not in people.out + people.err


def test_names_that_spell_codec_or_generator_otherwise_are_found(tmp_path):
    track = find_track("codecfake-plus")
    rows = ["p227 p227_001_mini - - spoof", "p227 p227_001 - - bonafide"]
    (tmp_path / "CoRS_ALL.txt").write_text("\n".join(rows))
    (tmp_path / "CoSG_ALL.txt").write_text("VALLE VALLE_1 - spoof\nVALLE 2_x - bonafide\n")
    protocol = read_protocol(tmp_path, track)
    paths = ["x/p227_001_mimicodec.wav", "p227_001.WAV", "flat/VALLE_1.wav", "a/valle/2_x.flac"]
    paths += ["VALLE/b/2_x.wav", "p227_001_bigcodec.wav", "x/2_x.wav"]
    schema = table.FILES
    files = pl.DataFrame({"path": paths, "root": [0] * len(paths)}).cast({"root": pl.UInt16})
    missing = [pl.lit(None, d).alias(n) for n, d in schema.items() if n not in files.columns]
    joined = join(files.with_columns(missing).select(*schema), protocol)
    assert joined.frame["utt_id"].to_list() == [
        "p227_001_mini", "p227_001", "VALLE/VALLE_1", "VALLE/2_x", None, None, None,
    ]  # fmt: skip
    assert joined.spelled["path"].to_list() == ["x/p227_001_mimicodec.wav"]


def test_duplicates_are_found_across_formats_and_not_where_nobody_has_read(tmp_path):
    frame = pl.DataFrame(
        {
            "utt_id": ["a", "b", "c", "d", "e", None],
            "split": ["id", "ood", "id", "id", "id", None],
            "bin": ["spoof", "spoof", "bonafide", "bonafide", "spoof", None],
            "pcm_md5": ["1", "1", None, None, None, "1"],
            "sha256": ["x", "y", "z", "z", None, "x"],
            "problem": pl.Series([None] * 6, dtype=pl.String),
        }
    )
    same = find_duplicates(frame)
    assert same == ([], ["a = b"], ["c = d"], 4, 1)


def test_headers_alone_are_enough_for_all_but_digests(run_cli, lists, tmp_path):
    data, out = lay_out(tmp_path / "d"), tmp_path / "manifest.parquet"
    _, _, findings = index(run_cli, data, "--protocol", lists, "-o", out, "--headers-only")
    assert set(findings) == {"duplicates-unknown"}
    assert read(out)["sha256"].null_count() == 34
    _, said, findings = index(run_cli, data, "--protocol", lists, "-o", out)
    assert (said["read"], findings) == (34, {})
    _, said, _ = index(run_cli, data, "--protocol", lists, "-o", out, "--headers-only")
    # What was digested stays so.
    assert (said["read"], read(out)["sha256"].null_count()) == (0, 0)


def test_what_was_changed_is_read_again_and_nothing_else(run_cli, lists, tmp_path):
    data, out = lay_out(tmp_path / "d"), tmp_path / "manifest.parquet"
    index(run_cli, data, "--protocol", lists, "-o", out)
    before = out.read_bytes()
    victim = data / "SLMdemos_16k" / "USLM" / "0_ours.wav"
    write(victim, 999)
    os.utime(victim, ns=(1, 1))
    _, said, _ = index(run_cli, data, "--protocol", lists, "-o", out)
    assert (said["read"], said["kept"]) == (1, 33)
    assert of(read(out), "USLM/0_ours.wav")["sha256"] != ""
    fresh = tmp_path / "fresh.parquet"
    index(run_cli, data, "--protocol", lists, "-o", fresh)
    assert fresh.read_bytes() == out.read_bytes() != before


def test_a_manifest_moves_with_its_folder(run_cli, lists, tmp_path):
    data = lay_out(tmp_path / "one" / "d")
    index(run_cli, data, "--protocol", lists, "-o", tmp_path / "one" / "m.parquet")
    (tmp_path / "one").rename(tmp_path / "two")
    manifest = table.read_manifest(tmp_path / "two" / "m.parquet")
    assert manifest.roots[0].resolve() == tmp_path / "two" / "d"
    done, said, _ = index(
        run_cli, tmp_path / "two" / "d", "--protocol", lists, "-o", tmp_path / "two" / "m.parquet"
    )
    assert (done.code, said["read"]) == (0, 0)


def test_several_folders_are_one_manifest(run_cli, lists, tmp_path):
    data, out = lay_out(tmp_path / "d"), tmp_path / "manifest.parquet"
    cosg = tmp_path / "cosg"
    (data / "SLMdemos_16k").rename(cosg)
    done, _, _ = index(run_cli, data, cosg, "--protocol", lists, "-o", out)
    assert done.code == 0
    manifest = table.read_manifest(out)
    assert manifest.frame["root"].value_counts().sort("root")["count"].to_list() == [18, 16]
    for place in table.places(manifest.frame, manifest.roots):
        assert Path(place).is_file()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nowhere"], "no such folder"),
        (["--merge", "."], "--merge joins shares"),
        ([".", "--shard", "5/4"], "'5/4' is no shard"),
        ([".", "--shard", "env"], "no launcher says"),
        ([".", "--out", "x.csv"], "a manifest is a Parquet file"),
        (["--merge"], "there are no shares of it"),
        ([], "are not shipped with cfbench"),
    ],
    ids=["folder", "merge", "shard", "env", "out", "shares", "none"],
)
def test_what_cannot_be_indexed_ends_in_a_message(
    run_cli, lists, tmp_path, monkeypatch, arguments, told
):
    monkeypatch.chdir(tmp_path)
    for name in ("RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_ARRAY_TASK_ID"):
        monkeypatch.delenv(name, raising=False)
    done = run_cli("data", "index", *arguments, "--protocol", lists)
    assert done.code == 2
    assert told in done.err


def test_a_file_that_is_no_manifest_is_not_replaced(run_cli, lists, tmp_path):
    out = tmp_path / "mine.parquet"
    pl.DataFrame({"a": [1]}).write_parquet(out)
    before = out.read_bytes()
    done = run_cli("data", "index", lay_out(tmp_path / "d"), "--protocol", lists, "-o", out)
    assert (done.code, out.read_bytes()) == (2, before)
    assert "not a manifest of cfbench" in done.err
    frame = pl.DataFrame([{"path": "../x.wav", "root": 0}], schema=table.FILES)
    table.write_manifest(frame, [tmp_path], out, {})
    with pytest.raises(CfbenchError, match="leads out of its folder"):
        table.read_manifest(out)


# Shares.


def test_shares_join_to_what_one_run_makes(run_cli, lists, tmp_path):
    data = lay_out(tmp_path / "d")
    whole, out = tmp_path / "whole" / "m.parquet", tmp_path / "parts" / "m.parquet"
    for folder in (whole.parent, out.parent):
        folder.mkdir()
    index(run_cli, data, "--protocol", lists, "-o", whole)
    for number in (1, 2, 3):
        if number == 3:
            done = run_cli("data", "index", "--merge", "--protocol", lists, "-o", out)
            assert (done.code, "1 share is missing: 3/3" in done.err) == (2, True)
        done = run_cli("data", "index", data, "-o", out, "--shard", f"{number}/3")
        assert done.code == 0, done.err
    sizes = [read(path).height for path in sorted(out.parent.glob("*.parquet"))]
    assert sum(sizes) == 34
    assert min(sizes) > 0
    again = index(run_cli, data, "-o", out, "--shard", "2/3")[1]
    assert again["read"] == 0
    done, _, findings = index(run_cli, "--merge", "--protocol", lists, "-o", out)
    assert (done.code, findings) == (0, {})
    assert out.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize(
    ("said", "share"),
    [
        ({"RANK": "1", "WORLD_SIZE": "4"}, (1, 4)),
        (
            {
                "SLURM_ARRAY_TASK_ID": "3",
                "SLURM_ARRAY_TASK_COUNT": "4",
                "SLURM_ARRAY_TASK_MIN": "1",
                "SLURM_PROCID": "0",
                "SLURM_NTASKS": "1",
            },
            (2, 4),
        ),
        ({"SLURM_PROCID": "1", "SLURM_NTASKS": "2"}, (1, 2)),
    ],
    ids=["torchrun", "array", "srun"],
)
def test_launchers_say_which_share_it_is(said, share):
    assert Share.parse("env", said) == Share(*share)


def test_a_launcher_that_contradicts_itself_is_an_error():
    said = {"SLURM_ARRAY_TASK_ID": "9", "SLURM_ARRAY_TASK_COUNT": "4"}
    with pytest.raises(CfbenchError, match="a Slurm array counts without gaps"):
        Share.parse("env", said)


# At size, and ended at any moment.


def tiny_clips(folder: Path, ids: list[str], distinct: int = 40) -> Path:
    """A clip for each utterance; links to a few different files, as many as a disk allows."""
    kinds = [write(folder / "kinds" / f"{number}.wav", number, 160) for number in range(distinct)]
    for name in {str(Path(utt_id).parent) for utt_id in ids}:
        (folder / "clips" / name).mkdir(parents=True, exist_ok=True)
    for number, utt_id in enumerate(ids):
        os.link(kinds[number % distinct], folder / "clips" / f"{utt_id}.wav")
    return folder / "clips"


@pytest.fixture(scope="module")
def real(protocols, tmp_path_factory) -> tuple[Path, Path]:
    """A clip for each utterance of the real test protocol, and the folder of its lists."""
    lists = protocols / "evaluation"
    ids = read_protocol(lists).frame["utt_id"].to_list()
    assert len(ids) == 25_202
    return tiny_clips(tmp_path_factory.mktemp("real"), ids), lists


@pytest.mark.slow
def test_all_utterances_of_the_real_lists_are_found(run_cli, real, tmp_path):
    clips, lists = real
    done, said, findings = index(
        run_cli, clips, "--protocol", lists, "-o", tmp_path / "m.parquet", "--headers-only"
    )
    assert done.code == 0
    assert set(findings) == {"duplicates-unknown"}
    assert said["splits"]["id"] == {"utterances": 23_405, "found": 23_405}
    assert said["splits"]["ood"] == {"utterances": 1_797, "found": 1_797}


@pytest.mark.slow
def test_ended_at_any_moment_it_ends_in_the_same_bytes(real, tmp_path):
    clips, lists = real
    command = [sys.executable, "-m", "cfbench", "data", "index", str(clips)]
    command += ["--protocol", str(lists), "--out"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    def start(out: Path) -> subprocess.Popen:
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen([*command, str(out)], env=env, **quiet)

    whole, out = tmp_path / "a" / "m.parquet", tmp_path / "b" / "m.parquet"
    for folder in (whole.parent, out.parent):
        folder.mkdir()
    begun = time.monotonic()
    # Forty kinds of clips for all utterances: the duplicates are only said.
    assert start(whole).wait() == 0
    usual = time.monotonic() - begun
    moments = random.Random(20)
    for _ in range(10):
        running = start(out)
        time.sleep(moments.uniform(0, usual))
        running.kill()
        running.wait()
    assert start(out).wait() == 0
    assert [path.name for path in out.parent.iterdir()] == ["m.parquet"]
    assert out.read_bytes() == whole.read_bytes()


@pytest.mark.slow
def test_a_part_that_is_there_is_not_read_again(real, tmp_path):
    clips, lists = real
    out = tmp_path / "m.parquet"
    seen = 0

    def stop(count: int) -> None:
        nonlocal seen
        seen += count
        if seen > 5000:
            raise KeyboardInterrupt

    protocol = read_protocol(lists)
    how = making.How(digests=False)
    with pytest.raises(KeyboardInterrupt):
        making.make_manifest([clips], protocol, out, how, indexing.Watch(advance=stop))
    assert not out.exists()
    made = making.make_manifest([clips], protocol, out, how)
    assert made.kept >= 5000
    assert made.kept + made.read == 25_202
