"""What a wheel must hold is named in pyproject.toml by hand; nothing may be forgotten there."""

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
DATA = ("tasks", "baselines")


def _can_be_packages(folders: list[Path]) -> list[Path]:
    # A name such as GPL-2.0 is no package's; what is in it is named by patterns alone.
    return [
        folder
        for folder in folders
        if all(part.isidentifier() for part in folder.relative_to(ROOT).parts)
    ]


def _folders(top: Path) -> list[Path]:
    holding = {path.parent for path in top.rglob("*") if path.is_file()}
    return sorted(path for path in holding if "__pycache__" not in path.parts)


def test_every_folder_of_code_is_a_package() -> None:
    source = ROOT / "benchmark"
    there = {
        ".".join(path.relative_to(source).parts)
        for path in _folders(source / "cfbench")
        if any(path.glob("*.py"))
    }
    named = {name for name in SETUPTOOLS["packages"] if not _is_data(name)}
    assert there == named


@pytest.mark.parametrize("top", DATA)
def test_every_folder_of_data_is_a_package(top: str) -> None:
    there = {
        ".".join(("cfbench", "content", *path.relative_to(ROOT).parts))
        for path in _can_be_packages(_folders(ROOT / top))
    }
    named = {name for name in SETUPTOOLS["packages"] if name.startswith(f"cfbench.content.{top}")}
    assert there == named


@pytest.mark.parametrize("top", DATA)
def test_every_file_of_data_is_shipped(top: str) -> None:
    patterns = SETUPTOOLS["package-data"][f"cfbench.content.{top}"]
    shipped = {path for pattern in patterns for path in (ROOT / top).glob(pattern)}
    assert {path for path in (ROOT / top).rglob("*") if path.is_file()} == shipped


def _is_data(package: str) -> bool:
    return any(package.startswith(f"cfbench.content.{top}") for top in DATA)
