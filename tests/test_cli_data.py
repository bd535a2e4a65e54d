"""`cfbench data mini` as a user meets it."""

import json

import pytest

import mini_data
from cfbench.mini import store
from mini_data import Mini


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Mini:
    return mini_data.make(tmp_path_factory.mktemp("mini"))


@pytest.fixture
def mini(made: Mini, tmp_path, monkeypatch: pytest.MonkeyPatch) -> Mini:
    monkeypatch.setenv("CFBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(store, "MAKERS", mini_data.MAKERS)
    return made


def test_it_unpacks_all_and_says_where(run_cli, mini, tmp_path):
    told = run_cli("data", "mini", "--track", mini.toml)
    folder = tmp_path / "cache" / "made-up-mini" / "1"
    assert (told.code, "error" in told.err) == (0, False)
    assert told.out.splitlines() == [
        "made-up-mini 1: 42 clips (train 12, dev 6, id 12, ood 12)",
        "as they should be: 42 to the bit",
        "written now: 42",
        f"licences: CC-BY-3.0 18, GPL-2.0 24; their texts, and whom to name: {folder / 'licences'}",
        f"clips: {folder}",
    ]
    assert set(mini_data.contents(folder)) == set(mini.rows["utt_id"])
    again = run_cli("data", "mini", "--track", mini.toml, "--verify")
    assert "written now: 0, 42 read again" in again.out


def test_only_the_tests_go_where_they_are_wanted(run_cli, mini, tmp_path):
    out = tmp_path / "here"
    told = run_cli("data", "mini", "--track", mini.toml, "--only", "test", "--to", out, "--json")
    assert told.code == 0
    said = json.loads(told.out)
    assert said["splits"] == {"id": 12, "ood": 12}
    assert (said["bit_exact"], said["within_tolerance"], said["written"]) == (24, 0, 24)
    assert said["folder"] == str(out)
    assert said["licences"] == {"CC-BY-3.0": 12, "GPL-2.0": 12}
    assert set(mini_data.contents(out)) == mini.ids("id", "ood")
    assert not (tmp_path / "cache").exists()


def test_what_is_within_tolerance_is_said_to_be(run_cli, mini, tmp_path, monkeypatch):
    mini_data.write_codecs(mini.root, rounding=0.003)
    told = run_cli("data", "mini", "--track", mini.toml, "--to", tmp_path / "near")
    mini_data.write_codecs(mini.root)
    assert told.code == 0
    assert "30 to the bit, 12 within 0.1 dB of their fingerprint" in told.out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--only", "tests"], "has no split 'tests'"),
        (["--only", ","], "--only is empty"),
        (["--track", "example"], "the clips of example are not shipped"),
    ],
    ids=["split", "empty", "track"],
)
def test_what_cannot_be_unpacked_ends_in_a_message(run_cli, mini, arguments, told):
    done = run_cli("data", "mini", "--track", mini.toml, *arguments)
    assert done.code == 2
    assert told in done.err
    assert "Traceback" not in done.err


def test_an_interruption_ends_in_130_and_a_note(run_cli, mini, monkeypatch):
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(store, "unpack", interrupted)
    told = run_cli("data", "mini", "--track", mini.toml)
    assert told.code == 130
    assert "goes on where it was" in told.err
