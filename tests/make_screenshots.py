"""Makes docs/leaderboard.png and docs/submit.png: the app as a reader sees it.

The board shows the entries of submissions/ where there are any, else made-up ones.

python tests/make_screenshots.py
"""

import shutil
import tempfile
from pathlib import Path

from PIL import Image

import entries
from browser import Browser
from cfbench.content import DEFAULT_TRACK
from cfbench.submission import DESCRIPTION, parse_submission
from space_client import Served

ROOT = Path(__file__).parents[1]
BOARD, SUBMIT = ROOT / "docs" / "leaderboard.png", ROOT / "docs" / "submit.png"
SUBMISSIONS = ROOT / "submissions"
WIDTH = 1180
MOST = 250_000
MADE_UP = (("Front end A", 0.0), ("Front end B", 0.12), ("Spectra only", 0.3), ("A first try", 0.6))


def main() -> None:
    """Make both pictures."""
    with tempfile.TemporaryDirectory() as temporary, Browser() as browser:
        folder = Path(temporary)
        track, board = real(folder) or made_up(folder)
        settings = {"track": track, "board": str(board), "state": str(folder / "state")}
        with Served(folder / "served", settings) as served:
            served.wait_for_page("/board/index.html", 'id="data"')
            with browser.open(served.address, width=WIDTH, height=900, scale=1.5) as page:
                inside = page.frame_locator("iframe.cf-board")
                inside.locator("#drawing svg").wait_for()
                page.wait_for_timeout(500)
                end = inside.locator("#drawing svg").bounding_box()
                assert end is not None
                shoot(page, BOARD, end["y"] + end["height"] + 12)
        predictions = folder / "predictions.csv"
        entries.example_predictions().write_csv(predictions)
        settings = {
            "track": "example", "board": str(folder / "empty"), "state": str(folder / "other"),
        }  # fmt: skip
        with (
            Served(folder / "submit", settings) as served,
            browser.open(served.address, width=WIDTH, height=900, scale=1.5) as page,
        ):
            page.get_by_role("tab", name="Submit").click()
            page.locator("#cf-file input[type=file]").set_input_files(predictions)
            page.locator("#cf-file").get_by_text("predictions").first.wait_for()
            page.get_by_role("button", name="Check and score").click()
            report = page.locator("#cf-report .cf-report", has_text="no problems")
            report.wait_for(timeout=60_000)
            page.get_by_label("Name of the system").fill("My system")
            page.get_by_label("Team").fill("My lab")
            page.get_by_label("Description").fill("What it does, in a few sentences.")
            page.locator("h1").click()
            end = report.bounding_box()
            assert end is not None
            shoot(page, SUBMIT, end["y"] + end["height"] + 24)


def real(folder: Path) -> tuple[str, Path] | None:
    """The track of the real entries, where there are any, and a folder with them."""
    described = sorted(SUBMISSIONS.glob(f"*/{DESCRIPTION}"))
    tracks = [
        parse_submission(path.read_bytes(), path.parent.name).result.track for path in described
    ]
    if not tracks:
        return None
    # A copy: the app writes down there what it has verified.
    shutil.copytree(SUBMISSIONS, folder / "board")
    track = DEFAULT_TRACK if DEFAULT_TRACK in tracks else max(tracks, key=tracks.count)
    return track, folder / "board"


def made_up(folder: Path) -> tuple[str, Path]:
    """The track and folder of made-up entries."""
    for number, (name, share) in enumerate(MADE_UP):
        frame = entries.confused(share, number)
        entries.make(
            folder / "board", folder / str(number), name, frame, team="Made up",
            only_track_data=number % 2 == 0,
        )  # fmt: skip
    return entries.TRACK, folder / "board"


def shoot(page, path: Path, height: float) -> None:
    """The page from its top, in few colours."""
    with tempfile.TemporaryDirectory() as temporary:
        whole = Path(temporary) / "page.png"
        page.screenshot(
            path=whole,
            full_page=True,
            clip={"x": 0, "y": 0, "width": WIDTH, "height": height},
            animations="disabled",
        )
        with Image.open(whole) as picture:
            picture.convert("RGB").quantize(128).save(path, optimize=True)
    assert path.stat().st_size < MOST, f"{path}: {path.stat().st_size:,} bytes"
    print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
