"""Where baselines find clips: as the authors lay them out, and as the Hub packs them."""

from pathlib import Path

import pytest

import samples
from cfbench import CfbenchError
from cfbench.steps import Data
from cfbench.tasks import find_track

TRACK = find_track("codecfake-plus")
IDS = [row.utt_id for row in samples.EVERYTHING]


def lay(folder: Path, paths: dict[str, str]) -> None:
    for path in paths.values():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(b"RIFF")


def where(utt_id: str) -> str:
    """As an archive of the Hub has it, in folders of its own."""
    top = "CoSG/CodecFake_plus_CoSG" if "/" in utt_id else "CoRS/Codecfake_plus_CoRS/part"
    return f"{top}/{utt_id}.wav"


def test_clips_are_found_below_folders_of_the_archives_own(tmp_path: Path) -> None:
    places = {utt_id: where(utt_id) for utt_id in IDS}
    lay(tmp_path, places)
    found = Data(TRACK, [tmp_path]).find(IDS)
    assert found.missing == ()
    assert list(found.paths) == IDS
    assert {u: str(found.paths[u].relative_to(tmp_path)) for u in IDS} == places


def test_the_authors_layout_comes_first_and_the_rest_is_looked_for(tmp_path: Path) -> None:
    first, *others = IDS
    lay(tmp_path, {u: where(u) for u in others})
    plain = f"{'SLMdemos_16k' if '/' in first else 'all_data_16k'}/{first}.wav"
    lay(tmp_path, {first: plain, "copy": f"elsewhere/{first}.wav"})
    found = Data(TRACK, [tmp_path]).find(IDS)
    assert found.missing == ()
    assert found.paths[first] == tmp_path / plain


def test_what_is_nowhere_is_missing_in_the_order_that_was_asked_for(tmp_path: Path) -> None:
    lay(tmp_path, {u: where(u) for u in IDS[::2]})
    found = Data(TRACK, [tmp_path, tmp_path / "CoSG"]).find(IDS)
    assert found.missing == tuple(IDS[1::2])
    assert list(found.paths) == IDS[::2]


def test_two_files_of_an_utterance_are_refused(tmp_path: Path) -> None:
    lay(tmp_path, {"a": f"one/{IDS[0]}.wav", "b": f"two/{IDS[0]}.wav"})
    with pytest.raises(CfbenchError, match="more than one file"):
        Data(TRACK, [tmp_path]).find(IDS[:1])
