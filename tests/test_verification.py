"""The attacks that the verifier is tested against; docs/submissions.md lists them by name."""

import gzip
import hashlib
import io
import json
import os
import re
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import tomli_w

import cfbench
import entries
from cfbench.errors import CfbenchError
from cfbench.review import own_protocols, verifier
from cfbench.submission import DESCRIPTION, SCORECARD
from cfbench.tasks import find_track
from cfbench.verification import Limits, Verification, verify

pytestmark = pytest.mark.slow

check = verifier()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    return entries.make(folder / "board", folder / "work")


@pytest.fixture
def entry(made, tmp_path) -> Path:
    return entries.copier(made)(tmp_path)


def rewrite(entry: Path, **changes: dict[str, Any]) -> None:
    """Change the description; `predictions={"sha256": ...}` changes one key of one table."""
    path = entry / DESCRIPTION
    data = tomllib.loads(path.read_text())
    for table, values in changes.items():
        if isinstance(values, dict):
            data[table] |= values
        else:
            data[table] = values
    path.write_text(tomli_w.dumps(data))


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def with_card(entry: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the scorecard, and its digest with it, as a forger would."""
    path = entry / SCORECARD
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    rewrite(entry, result={"scorecard": sha(path)})


def with_predictions(entry: Path, content: bytes, name: str = "predictions.csv") -> None:
    """Put other predictions in, and their digest."""
    (entry / "predictions.csv").unlink(missing_ok=True)
    (entry / name).write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    rewrite(entry, predictions={"address": name, "sha256": digest})


def csv(frame: pl.DataFrame) -> bytes:
    return frame.write_csv().encode()


def refused(found: Verification) -> str:
    assert not found.holds
    assert found.scored is None
    return "\n".join(str(problem) for problem in found.problems)


def set_value(card: dict[str, Any], value: float, task: str = "vq", split: str = "ood") -> None:
    card["tasks"][task]["splits"][split]["overall"]["metrics"]["macro_f1"]["value"] = value


def test_an_honest_submission_is_verified(entry):
    found = check(entry)
    assert found.holds, found.problems
    assert [one.name for one in found.checks] == [
        "files", "description", "scorecard", "protocol", "predictions", "answers", "numbers",
    ]  # fmt: skip
    assert found.scored.card.tasks["vq"].splits["ood"].overall.metrics["macro_f1"].value > 0


@pytest.mark.parametrize("suffix", [".csv.gz", ".parquet", ".tsv", ".jsonl"])
def test_any_form_of_the_same_predictions_is_verified(entry, suffix):
    frame = entries.example_predictions()
    buffer = io.BytesIO()
    if suffix == ".parquet":
        frame.write_parquet(buffer)
    elif suffix == ".jsonl":
        frame.write_ndjson(buffer)
    else:
        frame.write_csv(buffer, separator="\t" if suffix == ".tsv" else ",")
    content = buffer.getvalue()
    with_predictions(
        entry, gzip.compress(content) if suffix.endswith("gz") else content, f"predictions{suffix}"
    )
    assert check(entry).holds


class TestNumbers:
    def test_a_better_number_than_the_predictions_give(self, entry):
        with_card(entry, lambda card: set_value(card, 0.99))
        told = refused(check(entry))
        assert (
            "tasks.vq.splits.ood.overall.metrics.macro_f1.value: claimed 0.99, scored 0.4" in told
        )

    @pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity", "1e999", '"0.9"'])
    def test_a_claim_that_is_no_finite_number(self, entry, word):
        path = entry / SCORECARD
        text = re.sub(r'("value": )0\.\d+', rf"\g<1>{word}", path.read_text(), count=1)
        assert word in text
        path.write_text(text)
        rewrite(entry, result={"scorecard": sha(path)})
        assert "claimed" in (told := refused(check(entry))) or "no scorecard of schema" in told

    def test_a_narrower_interval(self, entry):
        def narrow(card):
            number = card["tasks"]["vq"]["splits"]["id"]["overall"]["metrics"]["macro_f1"]
            number["interval"]["low"] = number["value"]

        with_card(entry, narrow)
        assert "interval.low" in refused(check(entry))

    def test_a_task_that_was_not_answered(self, entry):
        frame = entries.example_predictions()
        with_predictions(entry, csv(frame.drop("dec_real", "dec_time", "dec_freq")))
        assert "tasks.dec (not scored)" in refused(check(entry))

    def test_a_scorecard_that_was_changed_alone(self, entry):
        path = entry / SCORECARD
        path.write_text(path.read_text().replace("0.4", "0.9", 1))
        assert "was changed alone" in refused(check(entry))

    def test_settings_that_flatter(self, entry):
        with_card(entry, lambda card: card["settings"].update(seed=77))
        assert "--seed 77" in refused(check(entry))


class TestUtterances:
    def test_left_out_utterances(self, entry):
        with_predictions(entry, csv(entries.example_predictions().head(400)))
        assert "99 utterances are missing" in refused(check(entry))

    def test_left_out_utterances_and_a_scorecard_that_allows_it(self, entry, tmp_path):
        frame = entries.example_predictions().head(400)
        card = cfbench.score(frame, track=entries.TRACK, allow_missing=True)
        (entry / SCORECARD).write_text(card.to_json())
        rewrite(entry, result={"scorecard": sha(entry / SCORECARD)})
        with_predictions(entry, csv(frame))
        assert "--allow-missing" in refused(check(entry))

    def test_an_utterance_given_twice(self, entry):
        frame = entries.example_predictions()
        with_predictions(entry, csv(pl.concat([frame, frame.head(1)])))
        assert "given more than once" in refused(check(entry))

    def test_an_utterance_that_is_not_in_the_protocol(self, entry):
        frame = entries.example_predictions()
        with_predictions(
            entry, csv(pl.concat([frame, frame.head(1).with_columns(utt_id=pl.lit("x"))]))
        )
        assert "not in the protocol" in refused(check(entry))

    def test_a_prediction_that_is_not_finite(self, entry):
        frame = entries.example_predictions().with_columns(
            vq_mvq=pl.when(pl.int_range(pl.len()) == 3).then(np.nan).otherwise("vq_mvq")
        )
        with_predictions(entry, csv(frame))
        assert "vq_mvq not finite" in refused(check(entry))

    def test_swapped_columns(self, entry):
        frame = entries.example_predictions().rename({"vq_mvq": "vq_sq", "vq_sq": "vq_mvq"})
        with_predictions(entry, csv(frame))
        assert "tasks.vq" in refused(check(entry))


class TestProtocol:
    def test_a_protocol_of_its_own(self, entry, tmp_path):
        """Scored on easier utterances, with a digest to match: the verifier has its own."""
        truth = entries.example_truth()
        right = truth.filter(pl.col("source") != "bigcodec")
        frame = entries.example_predictions().join(right.select("utt_id"), on="utt_id")
        card = cfbench.score(frame, right, track=entries.TRACK)
        (entry / SCORECARD).write_text(card.to_json())
        protocol = {name: split.digest for name, split in card.protocol.items()}
        rewrite(entry, result={"scorecard": sha(entry / SCORECARD), "protocol": protocol})
        with_predictions(entry, csv(frame))
        assert "missing" in refused(check(entry))

    def test_numbers_of_trials_that_are_not_true(self, entry):
        with_card(entry, lambda card: card["protocol"]["ood"].update(utterances=10))
        assert "protocol.ood.utterances: claimed 10" in refused(check(entry))

    def test_another_digest_of_the_protocol(self, entry):
        with_card(entry, lambda card: card["protocol"]["id"].update(digest="0" * 64))
        assert "protocol.id.digest" in refused(check(entry))

    def test_another_version_of_the_track(self, entry):
        rewrite(entry, result={"track_version": "0"})
        assert "is of example 0" in refused(check(entry))

    def test_another_track(self, entry):
        version = find_track("codecfake-mini").version
        rewrite(entry, result={"track": "codecfake-mini", "track_version": version})
        assert "not in the protocol" in refused(check(entry))

    def test_a_track_file_of_its_own(self, entry):
        (entry.parent / "own.toml").write_text("name = 'own'")
        rewrite(entry, result={"track": str(entry.parent / "own.toml")})
        assert "no name of a track" in refused(check(entry))

    def test_only_the_easier_split(self, entry):
        card = cfbench.score(entries.example_predictions(), track=entries.TRACK, splits=["id"])
        (entry / SCORECARD).write_text(card.to_json())
        rewrite(entry, result={"scorecard": sha(entry / SCORECARD)})
        assert "protocol.ood (not claimed)" in refused(check(entry))


class TestFiles:
    def test_a_changed_file_behind_the_same_name(self, entry):
        with (entry / "predictions.csv").open("ab") as file:
            file.write(b"\n")
        assert "its SHA-256 is" in refused(check(entry))

    @pytest.mark.parametrize(
        "address", ["../predictions.csv", "/etc/passwd", "predictions.csv/../x"]
    )
    def test_a_path_that_leaves_the_folder(self, entry, address):
        rewrite(entry, predictions={"address": address})
        assert "neither an address nor one of" in refused(check(entry))

    @pytest.mark.parametrize("name", ["predictions.csv", SCORECARD, DESCRIPTION, "versions"])
    def test_a_link_out_of_the_folder(self, entry, name):
        outside = entry.parent / "outside"
        if (entry / name).exists():
            (entry / name).rename(outside)
        else:
            outside.mkdir()
        (entry / name).symlink_to(outside)
        assert "a link" in refused(check(entry))

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes here")
    def test_a_pipe_that_never_ends(self, entry):
        (entry / "predictions.csv").unlink()
        os.mkfifo(entry / "predictions.csv")
        assert "a pipe or a device" in refused(check(entry))

    @pytest.mark.parametrize("name", ["evil.py", ".git/config", "versions/x", "versions/1/a.py"])
    def test_files_that_no_entry_has(self, entry, name):
        (entry / name).parent.mkdir(parents=True, exist_ok=True)
        (entry / name).write_text("x")
        assert "of an entry" in refused(check(entry))

    def test_a_slug_that_is_not_the_folders_name(self, entry):
        rewrite(entry, slug="somebody-else")
        assert "the folder is called" in refused(check(entry))

    @pytest.mark.parametrize(
        "address",
        [
            "https://huggingface.co/datasets/o/r/resolve/main/predictions.csv",
            "https://huggingface.co/datasets/o/r/resolve/abc1234/predictions.csv",
            "https://huggingface.co/datasets/o/r/resolve/refs%2Fpr%2F1/predictions.csv",
            "https://example.org/predictions.csv",
            "file:///etc/passwd",
        ],
    )
    def test_an_address_behind_which_a_file_can_change(self, entry, address):
        rewrite(entry, predictions={"address": address})
        found = check(entry)
        refused(found)
        assert "predictions" not in [one.name for one in found.checks]


class TestBombs:
    def test_a_gigabyte_of_zeros_in_a_gzip(self, entry):
        # A gzip file may have any number of members, one after the other.
        bomb = gzip.compress(bytes(16 << 20)) * 64
        assert len(bomb) < 2 << 20
        with_predictions(entry, bomb, "predictions.csv.gz")
        assert "when unpacked" in refused(check(entry))

    def test_a_parquet_file_of_a_billion_rows(self, entry):
        buffer = io.BytesIO()
        rows = 20_000_000
        frame = pl.DataFrame({"utt_id": pl.repeat("x", rows, eager=True)})
        frame.write_parquet(buffer, compression="zstd")
        assert buffer.tell() < 1 << 20
        with_predictions(entry, buffer.getvalue(), "predictions.parquet")
        assert "20,000,000 rows" in refused(check(entry))

    def test_a_parquet_file_that_takes_more_memory_than_there_is(self, entry):
        frame = entries.example_predictions().with_columns(
            utt_id=pl.concat_str("utt_id", pl.lit("x" * (1 << 20)))
        )
        buffer = io.BytesIO()
        frame.write_parquet(buffer, compression="zstd")
        assert buffer.tell() < 64 << 20
        with_predictions(entry, buffer.getvalue(), "predictions.parquet")
        bounded = verify(entry, own_protocols(), unreachable, Limits(memory=1 << 29))
        assert "takes more than 0.5 GiB" in refused(bounded)

    def test_work_that_does_not_end(self, entry):
        bounded = verify(entry, own_protocols(), unreachable, Limits(seconds=0.05))
        assert "was stopped" in refused(bounded)

    def test_a_file_that_is_larger_than_allowed(self, entry):
        bounded = verify(entry, own_protocols(), unreachable, Limits(packed=1000))
        assert "more than 1,000 bytes" in refused(bounded)

    @pytest.mark.parametrize(
        "content", [b"a = " + b"[" * 60_000, b"a = {" * 10_000, b"a.b.c = 1\n" * 100_000]
    )  # fmt: skip
    def test_a_description_that_is_a_bomb(self, entry, content):
        (entry / DESCRIPTION).write_bytes(content)
        refused(check(entry))

    @pytest.mark.parametrize("content", [b"[" * 100_000, b"{" * 9_000_000, b'{"a":' * 50_000])
    def test_a_scorecard_that_is_a_bomb(self, entry, content):
        (entry / SCORECARD).write_bytes(content)
        rewrite(entry, result={"scorecard": sha(entry / SCORECARD)})
        refused(check(entry))

    def test_yaml_is_not_read_at_all(self, entry):
        (entry / "bomb.yaml").write_text("a: &a [x]\nb: &b [*a, *a]\n")
        assert "no file of an entry" in refused(check(entry))

    def test_a_damaged_gzip(self, entry):
        content = gzip.compress(csv(entries.example_predictions()))
        with_predictions(entry, content[: len(content) // 2], "predictions.csv.gz")
        assert "damaged" in refused(check(entry))


def unreachable(address: str, folder: Path, limit: int) -> Path:
    raise CfbenchError(f"{address} cannot be reached")


def test_a_submission_without_its_own_protocol_here_is_not_called_false(entry, tmp_path):
    rewrite(entry, result={"track": "codecfake-plus", "track_version": "1"})
    told = refused(check(entry))
    assert "not shipped" in told
    assert "CFBENCH_PROTOCOLS" in told


def test_answers_for_utterances_whose_labels_are_held_back_are_asked_for(tmp_path):
    truth = entries.example_truth().drop("subset")
    held = truth["utt_id"].tail(30)
    truth.head(-30).write_csv(tmp_path / "protocol.csv")
    truth.tail(30).select("utt_id", "split").write_csv(tmp_path / "held.csv")
    with cfbench.tasks.content.as_path("tasks/tracks/example.toml") as path:
        track = tomllib.loads(path.read_text())
    track |= {"name": "own", "protocol": "protocol.csv", "held_back": "held.csv"}
    (tmp_path / "own.toml").write_text(tomli_w.dumps(track))
    verify_own = verifier(str(tmp_path / "own.toml"))
    frame = entries.example_predictions()
    made = []
    for part in (frame, frame.filter(~pl.col("utt_id").is_in(held.to_list()))):
        path = tmp_path / "p.csv"
        part.write_csv(path)
        card = tmp_path / "card.json"
        card.write_text(cfbench.score(path, track=str(tmp_path / "own.toml")).to_json())
        try:
            made.append(
                entries.make_entry(card, entries.system(), str(path), tmp_path / "b", verify_own)
            )
        except CfbenchError as error:
            made.append(str(error))
    assert made[0].verification.holds
    assert "30 utterances whose labels are held back without an answer" in made[1]


def test_copies_do_not_share_state(made, tmp_path):
    """The fixtures of this file: what one test spoils another does not see."""
    first = entries.copier(made)(tmp_path)
    shutil.rmtree(first)
    assert made.folder.is_dir()
