"""Runs what the documents show, so that no command in them is out of date.

A fenced block is run, in a folder of its own for each document, if its language says so:

- `console`: each line that starts with `$ cfbench` must end with exit code 0, or with the code of a
  trailing comment (`# exit 2`); the lines below it must stand in what it prints (`...` stands for
  anything). The folder holds the example (tasks/example/, predictions.csv), its answers as the
  authors' score files (scores/), and what blocks before it have written.
- `console protocols`: the same where the real lists are; they stand in lists/, and predictions.csv
  answers them.
- `console baseline`, `python baseline`: the same with what the baselines need: a small made-up
  track (made-up.toml, clips/) and a tiny recipe (tiny.toml).
- `console hub`: the same with a Hub of the loopback, on which `lab` is logged in, has a model, and
  whose entry is in submissions/my-system.
- `python`: must run; the blocks of a document share their names.
- `toml NAME` and `csv NAME`: is written to the file of that name.
"""

import ast
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import huggingface_hub
import polars as pl
import pytest

import entries
import make_picture
import speech
from cfbench import api
from cfbench.metrics.catalogue import METRICS
from cfbench.scorecard import json_schema
from cfbench.tasks import load_tasks
from hub_server import Hub
from hub_server.client import use

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
NAMES = [str(path.relative_to(ROOT)) for path in DOCUMENTS]
SCORE_FILES = {
    "bin": ["bin_bonafide"],
    **{task_id: list(load_tasks()[task_id].columns) for task_id in ("aux", "dec", "vq")},
}


class Block(NamedTuple):
    """A fenced block: its language, the word behind it, its text, and where it starts."""

    language: str
    word: str
    text: str
    line: int


def blocks(document: Path) -> Iterator[Block]:
    language, word, start, lines = "", "", 0, None
    for number, line in enumerate(document.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.startswith("```"):
            if lines is not None:
                lines.append(line)
        elif lines is None:
            language, _, word = line.removeprefix("```").partition(" ")
            start, lines = number, []
        else:
            yield Block(language, word.strip(), "\n".join(lines) + "\n", start)
            lines = None
    assert lines is None, f"{document.name}: the block of line {start} is not closed"


def commands(block: Block) -> Iterator[tuple[str, int, list[str]]]:
    """Each command of a console block, its exit code, and the lines that are shown below it."""
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        typed, *shown = part.rstrip("\n").split("\n")
        typed, _, comment = typed.partition("  # exit ")
        yield typed, int(comment or 0), [line.strip() for line in shown if line.strip()]


def write_scores(predictions: Path, folder: Path) -> None:
    """Predictions as the authors' score files."""
    folder.mkdir()
    frame = pl.read_csv(predictions)
    for task_id, columns in SCORE_FILES.items():
        frame.select("utt_id", *columns).write_csv(
            folder / f"{task_id}_score.txt", separator=" ", include_header=False
        )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(ROOT / "tasks" / "example", tmp_path / "tasks" / "example")
    shutil.copy(ROOT / "tasks" / "example" / "predictions.csv", tmp_path)
    write_scores(tmp_path / "predictions.csv", tmp_path / "scores")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", NAMES)
def test_blocks_run(name: str, folder: Path, run_cli: Callable) -> None:
    names: dict[str, object] = {}
    for block in blocks(ROOT / name):
        if block.language in ("toml", "csv") and block.word:
            (folder / block.word).write_text(block.text)
        elif block.language == "python" and not block.word:
            exec(compile(block.text, f"{name}, line {block.line}", "exec"), names)
        elif block.language == "console" and not block.word:
            _run_all(block, name, run_cli)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_blocks_with_the_real_lists_run(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run_cli: Callable,
    request: pytest.FixtureRequest,
) -> None:
    wanted = [block for block in blocks(ROOT / name) if block.word == "protocols"]
    if not wanted:
        return
    lists = request.getfixturevalue("protocols")
    monkeypatch.chdir(tmp_path)
    Path("lists").symlink_to(lists, target_is_directory=True)
    Path("CodecFake+").mkdir()
    truth = api.read_protocol(lists).frame.filter(pl.col("split").cast(pl.String) != "train")
    answers = [
        (pl.col(task.id) == cls.name).cast(pl.Float64).alias(cls.column)
        for task in load_tasks().values()
        for cls in task.classes
    ]
    truth.select("utt_id", *answers).write_csv("predictions.csv")
    write_scores(tmp_path / "predictions.csv", tmp_path / "scores")
    for block in wanted:
        _run_all(block, name, run_cli)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_blocks_of_baselines_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_cli: Callable
) -> None:
    wanted = [block for block in blocks(ROOT / name) if block.word == "baseline"]
    if not wanted:
        return
    corpus = speech.make_corpus(tmp_path, [("train", 8), ("dev", 2), ("id", 2), ("ood", 2)])
    corpus.audio.rename(tmp_path / "clips")
    monkeypatch.chdir(tmp_path)
    Path("tiny.toml").write_text(speech.TINY.format(track="made-up.toml"))
    for block in wanted:
        if block.language == "python":
            exec(compile(block.text, f"{name}, line {block.line}", "exec"), {})
        else:
            _run_all(block, name, run_cli)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
def test_blocks_with_a_hub_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_cli: Callable
) -> None:
    wanted = [block for block in blocks(ROOT / name) if block.word == "hub"]
    if not wanted:
        return
    monkeypatch.chdir(tmp_path)
    with Hub() as hub:
        use(hub, tmp_path / "home", monkeypatch)
        monkeypatch.setenv("HF_TOKEN", hub.sign_up("lab"))
        monkeypatch.setenv("CFBENCH_CACHE", str(tmp_path / "cache"))
        hub.add("lab/model", {"config.json": b"{}"})
        entries.make(tmp_path / "submissions", tmp_path / "work", "My system")
        for block in wanted:
            _run_all(block, name, run_cli)
        huggingface_hub.close_session()


@pytest.mark.parametrize("name", NAMES)
def test_every_shown_command_is_run(name: str) -> None:
    for block in blocks(ROOT / name):
        if block.language == "console":
            assert block.word in ("", "protocols", "baseline", "hub")
            for typed, _, _ in commands(block):
                assert typed.startswith("cfbench "), f"{name}, line {block.line}: {typed}"
        else:
            assert "$ cfbench" not in block.text, f"{name}, line {block.line} is not run"


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if path.startswith("https:"):
            continue
        document = (ROOT / name).parent / path if path else ROOT / name
        assert document.exists(), target
        if anchor:
            assert anchor in _anchors(document), target


def test_schema_is_current() -> None:
    published = (ROOT / "docs" / "scorecard.schema.json").read_text(encoding="utf-8")
    assert published == json_schema(), "cfbench schema > docs/scorecard.schema.json"


def test_picture_is_current() -> None:
    svg = make_picture.PICTURE.read_text(encoding="utf-8").replace("&#160;", " ")
    drawn = make_picture.draw().export_text()
    numbers = re.findall(r"\d+\.\d \[[^]]+\]|predictions \w+|protocol \w+", drawn)
    assert len(numbers) == 15
    for number in numbers:
        assert number in svg, "python tests/make_picture.py"


def test_picture_asks_nothing_of_the_network() -> None:
    svg = make_picture.PICTURE.read_text(encoding="utf-8")
    assert re.findall(r"https?://[^\"')]+", svg) == ["http://www.w3.org/2000/svg"]


def test_messages_are_in_the_words_of_the_code() -> None:
    spoken = {
        word
        for path in (ROOT / "benchmark" / "cfbench").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for word in re.findall(r"\w+", node.value)
    }
    table = (ROOT / "docs" / "predictions.md").read_text(encoding="utf-8").partition("## Checks")[2]
    messages = [m for m in re.findall(r"`([^`\n]+)`", table) if "…" in m and m != "…"]
    assert len(messages) > 40
    for message in messages:
        assert set(re.findall(r"\w+", message)) <= spoken, message


def test_every_metric_is_described() -> None:
    text = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    missing = [key for key in METRICS if f"`{key}`" not in text]
    assert not missing


def _run_all(block: Block, name: str, run_cli: Callable) -> None:
    for typed, code, shown in commands(block):
        where = f"{name}, line {block.line}: {typed}"
        arguments = shlex.split(typed)[1:]
        into = Path(arguments.pop()) if arguments[-2:-1] == [">"] else None
        done = run_cli(*arguments[: -1 if into else None])
        assert done.code == code, f"{where}\n{done.err}"
        if into:
            into.write_text(done.out)
        printed = [line.strip() for line in (done.out + done.err).splitlines()]
        for line in shown:
            assert line == "..." or line in printed, f"{where}\ndoes not print\n{line}"


def _anchors(document: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
