"""The entries that ship with the repository: the keepers' own, verified like anybody's."""

import shutil
from pathlib import Path

import pytest

from cfbench.leaderboard.build import build, to_markdown
from cfbench.metrics.trivial import TITLES
from cfbench.review import verifier
from cfbench.submission import DESCRIPTION, VERIFIED, parse_submission
from cfbench.tasks import find_track

BOARD = Path(__file__).parents[1] / "submissions"
SLUGS = sorted(path.parent.name for path in BOARD.glob(f"*/{DESCRIPTION}"))


def test_there_is_an_entry_for_each_trivial_predictor_and_each_baseline_that_was_run() -> None:
    wanted = {f"trivial-{name}" for name in TITLES} | set(find_track("codecfake-mini").baselines)
    assert wanted <= set(SLUGS)


@pytest.mark.parametrize("slug", SLUGS)
def test_it_is_a_line_for_comparison(slug: str) -> None:
    path = BOARD / slug / DESCRIPTION
    submission = parse_submission(path.read_bytes(), str(path))
    assert submission.reference
    assert submission.slug == slug


def test_receipts_are_those_of_the_files() -> None:
    board = build(BOARD, None)[0]
    assert set(board.systems) == set(SLUGS)
    assert board.refused == {}
    assert {listed.status for listed in board.systems.values()} == {"verified"}


@pytest.mark.slow
def test_each_is_verified_again_and_gives_the_same_board(tmp_path: Path) -> None:
    shutil.copytree(BOARD, tmp_path / "board")
    shutil.rmtree(tmp_path / "board" / VERIFIED)
    again = build(tmp_path / "board", verifier())
    # Digits of no bearing on what is shown may differ between machines.
    assert [to_markdown(board) for board in again] == [
        to_markdown(board) for board in build(BOARD, None)
    ]
