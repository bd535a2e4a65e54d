"""Finding the files that ship with cfbench."""

from pathlib import Path

import pytest

from cfbench import content

CHECKOUT = Path(__file__).resolve().parents[1]


def test_tasks_and_baselines_are_shipped() -> None:
    for name in ("tasks", "baselines"):
        assert content.folder(name).joinpath("README.md").is_file()


def test_names_are_stems_in_order() -> None:
    assert content.names("tasks", ".toml") == [
        "auxiliary_objective",
        "decoder_type",
        "spoof_detection",
        "vector_quantization",
    ]
    assert "codecfake-plus" in content.names("tasks/tracks", ".toml")
    assert content.names("tasks", ".csv") == ["codecs", "generators"]


def test_text_is_that_of_the_file() -> None:
    shipped = CHECKOUT / "tasks" / "codecs.csv"
    assert content.text("tasks/codecs.csv") == shipped.read_text(encoding="utf-8")


def test_a_shipped_file_can_be_had_as_a_path() -> None:
    with content.as_path("tasks/generators.csv") as path:
        assert path.read_text(encoding="utf-8") == content.text("tasks/generators.csv")


def test_a_bare_checkout_is_found_without_an_installation() -> None:
    folder = content.folder("docs")
    assert Path(str(folder)) == CHECKOUT / "docs"


def test_a_folder_that_is_not_shipped_is_an_error() -> None:
    with pytest.raises(FileNotFoundError, match="lacks its folder nothing"):
        content.folder("nothing")


def test_no_shipped_name_is_reserved_on_windows() -> None:
    reserved = {"aux", "con", "nul", "prn"}
    for name in ("tasks", "baselines", "submissions", "benchmark"):
        for path in (CHECKOUT / name).rglob("*"):
            assert path.name.partition(".")[0].casefold() not in reserved
