"""What is published: the shipped description is that of CodecFake+, and others are checked."""

from pathlib import Path

import pytest
from pydantic import ValidationError

import published
from cfbench.errors import CfbenchError
from cfbench.release import find_release, release_names
from cfbench.tasks import find_track


@pytest.fixture
def text(tmp_path: Path) -> str:
    return published.write_release(tmp_path / "release.toml", published.files()).read_text()


def refusal(tmp_path: Path, text: str) -> str:
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    with pytest.raises(CfbenchError) as caught:
        find_release(str(path))
    return str(caught.value)


def test_codecfake_plus_is_what_its_authors_have_published() -> None:
    release = find_release("codecfake-plus")
    assert (release.repo, release.licence) == ("CodecFake/CodecFake_Plus_Dataset", "MIT")
    assert release.revision == "5543f7efb44ba818e36093838202cb50ba126a99"
    told = {file.path: (file.bytes, (file.sha256 or "")[:8]) for file in release.files}
    assert told == {
        "CoRS_labels.txt": (62_363_876, "78d2cc27"),
        "CoSG_labels.txt": (74_650, "9b32a0b2"),
        "CodecFake_plus_CoSG.tar.xz": (243_976_528, "1748998d"),
        **{f"Codecfake_plus_CoRS.part{number}": (25_052_014_980, "") for number in range(4)},
    }
    by_name = {archive.name: archive for archive in release.archives}
    assert by_name["CoRS"].parts == published.PARTS
    assert by_name["CoRS"].clips == 44_455 * 32
    assert by_name["CoSG"].clips == 1797
    for archive in release.archives:
        assert archive.unpacked < archive.most_unpacked
        assert archive.clips < archive.most_files


def test_every_release_is_of_a_track_and_its_labels_are_the_tracks_lists() -> None:
    for name in release_names():
        release, track = find_release(name), find_track(name)
        assert (release.name, release.licence) == (track.name, track.licence)
        assert release.repo in track.homepage
        lists = {file for listed in track.lists for file in listed.files}
        assert {file.path for file in release.plain_files(None)} <= lists


@pytest.mark.parametrize(
    ("subset", "files", "archives"),
    [
        (None, list(published.LABELS), ["CoSG", "CoRS"]),
        ("labels", list(published.LABELS), []),
        ("cosg", ["CoSG_labels.txt"], ["CoSG"]),
        (" CoRS ", ["CoRS_labels.txt"], ["CoRS"]),
    ],
)
def test_subsets(subset: str | None, files: list[str], archives: list[str]) -> None:
    release = find_release("codecfake-plus")
    assert [file.path for file in release.plain_files(subset)] == files
    assert [archive.name for archive in release.chosen_archives(subset)] == archives


def test_names_that_are_not_known() -> None:
    with pytest.raises(CfbenchError, match=r"no release 'codecfake-pluss' \(did you mean"):
        find_release("codecfake-pluss")
    with pytest.raises(CfbenchError, match="cfbench data mini"):
        find_release("codecfake-mini")
    with pytest.raises(CfbenchError, match=r"has no subset 'cosgs'.*did you mean 'cosg'"):
        find_release("codecfake-plus").plain_files("cosgs")
    with pytest.raises(CfbenchError, match="cannot be read"):
        find_release("nowhere.toml")


def test_a_release_does_not_change() -> None:
    release = find_release("codecfake-plus")
    with pytest.raises(ValidationError, match="frozen"):
        release.revision = "main"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("0" * 40, "main", "revision: String should match pattern"),
        ("0" * 40, "0" * 7, "revision: String should match pattern"),
        (published.REPO, "https://huggingface.co/a/b", "repo: String should match pattern"),
        ('"CoSG_labels.txt"\nb', '"../CoSG_labels.txt"\nb', "path: String should match pattern"),
        ('"CoSG_labels.txt"\nb', '"a/b.txt"\nb', "path: String should match pattern"),
        ('"CoSG_labels.txt"\nb', '"cors_labels.txt"\nb', "is there twice"),
        ('"CoSG_labels.txt"\nb', '"other.txt"\nb', "'CoSG_labels.txt' is not among [[files]]"),
        ('name = "CoSG"', 'name = "CORS"', "is there twice"),
        ('name = "CoSG"', 'name = "archives"', "is there twice"),
        ('name = "CoSG"', 'name = ".cfbench"', "name: String should match pattern"),
        ("archives = ['CoSG']", "archives = ['CoSF']", "'CoSF' is not among [[archives]]"),
        ('name = "cosg"', 'name = "cors"', "subset 'cors' is there twice"),
        ("archives = ['CoSG']", "archives = ['CoSG']\nextra = 1", "extra: Extra inputs"),
        ("part0', '", "part0', 'Codecfake_plus_CoRS.part0', '", "is there twice"),
        ("['CodecFake_plus_CoSG.tar.xz']", "['CoSG_labels.txt']", "and a plain file too"),
        ("part0', '", "part0'] # '", "is in no subset and no archive"),
        ('tar.xz"\nclips', 'zip"\nclips', "format: Input should be 'tar.xz', 'tar.gz' or 'tar'"),
        ("most_files = 100", "most_files = 0", "most_files: Input should be greater"),
        ('title = "CodecFake+"', "title", "not TOML"),
    ],
)
def test_a_release_that_contradicts_itself(
    tmp_path: Path, text: str, old: str, new: str, why: str
) -> None:
    assert old in text
    assert why in refusal(tmp_path, text.replace(old, new, 1))
