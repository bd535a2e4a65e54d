"""The app in a real browser: its tabs, an upload that is good and one that is not, an entry."""

import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from playwright.sync_api import FrameLocator, Page

import cfbench
import entries
from browser import Browser, need_chromium, overflow, violations
from cfbench.leaderboard.build import build
from cfbench.review import verifier
from space_client import Served

pytest.importorskip("gradio")
pytestmark = pytest.mark.slow

SCRIPT = '<script>alert(1)</script> ${alert(2)} {{alert(3)}} & "co"'
TITLE = "A <b>leaderboard</b> ${1 + 1}"
TABS = ("Leaderboard", "Submit", "Rules", "About")
NARROW = {"width": 390, "height": 844}
FIELDS = {
    "Name of the system": SCRIPT,
    "Team": "<i>We</i>",
    "Description": "Made up.",
    "Contact": "nobody@example.org",
    "Licence of the predictions": "CC0-1.0",
    "Training data": "nothing\n<b>at all</b>",
}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("space")
    for number in range(2):
        name, frame = f"System {number}", entries.confused(0.3 * number)
        entries.make(folder / "board", folder / str(number), name, frame)
    settings = {
        "title": TITLE, "track": "example", "board": str(folder / "board"),
        "state": str(folder / "state"), "limits": {"upload_mib": 1, "per_day": 100},
    }  # fmt: skip
    with Served(folder / "app", settings) as served:
        served.wait_for_page("/board/index.html", "System 1")
        yield served


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    need_chromium()
    with Browser() as found:
        yield found


@pytest.fixture(scope="module")
def window(browser: Browser) -> Iterator[Page]:
    with browser.open("about:blank") as page:
        yield page


@pytest.fixture
def page(app: Served, browser: Browser, window: Page) -> Iterator[Page]:
    with browser.again(window, app.address) as found:
        board(found).locator("#rows tr").first.wait_for()
        yield found


def board(page: Page) -> FrameLocator:
    return page.frame_locator("iframe.cf-board")


def turn_to(page: Page, tab: str) -> None:
    page.get_by_role("tab", name=tab, exact=True).click()


def upload(page: Page, path: Path) -> None:
    file = page.locator("#cf-file")
    if file.get_by_role("button", name="Clear").count():
        file.get_by_role("button", name="Clear").first.click()
    file.locator("input[type=file]").set_input_files(path)
    file.get_by_text(path.stem[:8]).first.wait_for()
    page.get_by_role("button", name="Check and score").click()


def report(page: Page, holds: str) -> str:
    found = page.locator("#cf-report .cf-report", has_text=holds)
    found.wait_for(timeout=30_000)
    return found.inner_text()


def write(folder: Path, frame: pl.DataFrame, name: str) -> Path:
    frame.write_csv(folder / name)
    return folder / name


class TestEveryTab:
    @pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
    def test_is_reached_by_everybody(self, app, browser, tmp_path, dark):
        with browser.open(app.address, dark=dark) as page:
            board(page).locator("#rows tr").first.wait_for()
            for tab in TABS:
                turn_to(page, tab)
                page.get_by_role("tab", name=tab, selected=True).wait_for()
                assert violations(page) == []
            turn_to(page, "Submit")
            upload(page, write(tmp_path, entries.example_predictions(), "good.csv"))
            report(page, "no problems")
            page.get_by_role("button", name="Write the entry").click()
            page.locator("#cf-outcome .cf-bad").wait_for()
            assert violations(page) == []
            colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (int(re.findall(r"\d+", colour)[0]) < 60) == dark

    def test_is_readable_on_a_telephone(self, app, browser, tmp_path):
        with browser.open(app.address, **NARROW) as page:
            board(page).locator("#rows tr").first.wait_for()
            for tab in TABS:
                turn_to(page, tab)
                assert overflow(page) <= 0
            turn_to(page, "Leaderboard")
            # The best value is on the screen, and the frame needs no scrolling of its own.
            value = board(page).locator("#rows td.value").first.bounding_box()
            assert value["x"] + value["width"] <= 390
            frame = page.locator("iframe.cf-board")
            inside = board(page).locator("body").evaluate("body => body.scrollHeight")
            assert frame.bounding_box()["height"] >= inside
            turn_to(page, "Submit")
            bad = entries.example_predictions().head(9)
            upload(page, write(tmp_path, bad, f"{'w' * 60}.csv"))
            report(page, "not accepted")
            assert overflow(page) <= 0

    def test_asks_nobody_else_for_anything(self, app, browser, page):
        for tab in TABS:
            turn_to(page, tab)
        page.wait_for_timeout(300)
        assert len(browser.requests) > 20
        assert all(one.startswith(f"{app.address}/") for one in browser.requests)

    def test_a_title_is_nothing_but_text(self, page):
        assert page.locator("h1.cf-title").inner_text() == TITLE
        assert page.title() == TITLE

    def test_the_rules_say_what_is_ranked_and_what_is_bounded(self, page):
        turn_to(page, "Rules")
        told = page.get_by_role("tabpanel").filter(visible=True).inner_text()
        assert "Places are tiers." in told
        assert "at most 1 MiB" in told
        assert "100 uploads a user and day (UTC) are scored" in told

    def test_the_page_says_what_it_is_of(self, page):
        turn_to(page, "About")
        told = page.get_by_role("tabpanel").filter(visible=True).inner_text()
        assert "Example (made up) (example, version 1)" in told
        assert "360 utterances" in told


class TestBoard:
    def test_is_searched_sorted_and_filtered_in_its_frame(self, page):
        inside = board(page)
        inside.get_by_label("System or team").fill("system 1")
        assert inside.locator("#rows a").all_inner_texts() == ["System 1"]
        inside.get_by_label("System or team").fill("")
        inside.get_by_label("Reference and trivial lines").uncheck()
        inside.get_by_role("columnheader", name="In domain").first.get_by_role("button").click()
        first = inside.locator("#rows a").first.inner_text()
        inside.get_by_role("columnheader", name="In domain").first.get_by_role("button").click()
        assert inside.locator("#rows a").first.inner_text() != first
        inside.get_by_text("Columns", exact=True).click()
        inside.get_by_label("Intervals").uncheck()
        assert "[" not in inside.locator("#rows").inner_text()

    def test_leads_to_systems_two_side_by_side_and_back(self, app, page):
        inside = board(page)
        for box in inside.locator("#rows input").all():
            box.check()
        inside.get_by_role("link", name="Side by side", exact=True).click()
        assert inside.locator("th.name-b").first.inner_text() == "B: System 1"
        inside.locator("th.name-b a").first.click()
        assert inside.locator("h1").inner_text() == "System 1"
        assert inside.get_by_role("region", name="Confusion matrix of VQ, in domain").is_visible()
        markdown = inside.get_by_label("As Markdown").input_value()
        address = re.findall(r"\((http[^)]+)\)", markdown)[0]
        assert address == f"{app.address}/board/badges/system-1.svg"
        status, headers, content = app.get(address.removeprefix(app.address))
        assert (status, headers["content-type"]) == (200, "image/svg+xml")
        assert b"verified" in content or b"place" in content
        # The frame is as high as each page.
        inside.get_by_role("link", name="Leaderboard", exact=True).click()
        inside.locator("#drawing a").first.wait_for()
        assert inside.locator("#drawing a").count() == 2


class TestSubmit:
    def test_a_bad_file_gets_every_problem_with_what_to_do(self, page, tmp_path):
        frame = entries.example_predictions()
        wrong = frame["utt_id"].is_in(frame["utt_id"][3:5].to_list())
        bad = frame.head(400).with_columns(
            vq_mvq=pl.when(wrong.head(400)).then(7.0).otherwise("vq_mvq")
        )
        turn_to(page, "Submit")
        upload(page, write(tmp_path, bad, "<img src=x onerror=alert(1)>.csv"))
        told = report(page, "not accepted")
        assert "2 rows with vq_mvq outside 0 to 1: line 5 (7), line 6 (7)" in told
        assert "tick that the numbers are logits, if they are" in told
        assert "99 utterances are missing" in told
        assert "a submission answers every utterance of every scored split" in told
        assert page.locator("#cf-report img").count() == 0
        assert page.get_by_role("button", name="Write the entry").is_disabled()

    def test_nothing_or_too_much_is_said(self, page, tmp_path):
        turn_to(page, "Submit")
        page.get_by_role("button", name="Check and score").click()
        assert "Give a file or an address" in report(page, "Not checked")
        large = tmp_path / "large.csv"
        large.write_bytes(b"0" * (2**20 + 1))
        page.locator("#cf-file input[type=file]").set_input_files(large)
        page.get_by_text("exceed the maximum allowed size").wait_for()

    def test_an_address_that_can_change_is_refused(self, page):
        turn_to(page, "Submit")
        address = "https://huggingface.co/datasets/o/r/resolve/main/p.csv"
        page.get_by_label("Address of a file on the Hub, at a commit").fill(address)
        page.get_by_role("button", name="Check and score").click()
        assert "'main' is no commit" in report(page, "not accepted")

    def test_from_a_good_file_to_an_entry_on_the_board(self, app, page, tmp_path):
        path = write(tmp_path, entries.confused(0.1), "good.csv")
        card = cfbench.score(path, track="example")
        turn_to(page, "Submit")
        upload(page, path)
        rows = {}
        report(page, "no problems")
        for row in page.locator("#cf-report tbody tr").all():
            first, *cells = [
                " ".join(cell.split()) for cell in row.locator("> *").all_inner_texts()
            ]
            rows[first] = cells
        for task in card.tasks.values():
            (cells,) = (found for title, found in rows.items() if title.startswith(task.title))
            numbers = [task.splits[name].overall.metrics[task.headline] for name in ("id", "ood")]
            assert cells[:2] == [
                f"{100 * one.value:.1f} [{100 * one.interval.low:.1f}, "
                f"{100 * one.interval.high:.1f}]"
                for one in numbers
            ]
        page.get_by_role("button", name="Write the entry").click()
        page.locator("#cf-outcome", has_text="Contact is empty").wait_for()
        for label, text in FIELDS.items():
            page.get_by_label(label).fill(text)
        page.get_by_label("Parameters (optional)").fill("many")
        page.get_by_label("Yes").check()
        page.get_by_role("button", name="Write the entry").click()
        page.locator("#cf-outcome", has_text="parameters").wait_for()
        page.get_by_label("Parameters (optional)").fill("1,000,000")
        page.get_by_role("button", name="Write the entry").click()
        page.locator("#cf-outcome", has_text="is written").wait_for(timeout=30_000)
        assert page.get_by_role("button", name="Write the entry").is_disabled()
        folder = Path(app.settings["board"])
        (found,) = build(folder, verifier(), "example")
        (entry,) = (one for one in found.systems.values() if one.submission.system.name == SCRIPT)
        assert entry.status == "verified"
        assert entry.submission.system.training_data == ("nothing", "<b>at all</b>")
        assert entry.submission.system.parameters == 1_000_000
        # Without the page being opened anew.
        app.wait_for_page("/board/index.html", entry.submission.slug)
        turn_to(page, "Leaderboard")
        link = board(page).locator("#rows").get_by_role("link", name=SCRIPT, exact=True)
        link.click()
        assert board(page).locator("h1").inner_text() == SCRIPT


def test_the_keyboard_alone_submits(page, tmp_path):
    path = write(tmp_path, entries.example_predictions(), "by-keyboard.csv")
    page.once("filechooser", lambda chooser: chooser.set_files(path))
    turn_to(page, "Leaderboard")
    for _ in range(2):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent.trim()") == "Submit":
            break
    page.keyboard.press("Enter")
    page.get_by_role("tab", name="Submit", selected=True).wait_for()
    tab_to(page, "document.activeElement.matches('#cf-file button')")
    page.keyboard.press("Enter")
    page.locator("#cf-file").get_by_text("by-keyboard").wait_for()
    tab_to(page, "document.activeElement.id === 'cf-check'")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    report(page, "no problems")
    for key in ("name", "team", "description", "contact", "licence", "training-data"):
        tab_to(page, f"document.activeElement.closest('#cf-{key}') !== null")
        page.keyboard.type("By keyboard")
    tab_to(page, "document.activeElement.type === 'radio'")
    page.keyboard.press("Space")
    tab_to(page, "document.activeElement.id === 'cf-send'")
    page.keyboard.press("Enter")
    page.locator("#cf-outcome", has_text="by-keyboard, version 1").wait_for(timeout=30_000)


def tab_to(page: Page, there: str) -> None:
    for _ in range(25):
        page.keyboard.press("Tab")
        if page.evaluate(there):
            return
    raise AssertionError(f"the Tab key does not lead to {there}")
