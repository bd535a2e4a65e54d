"""The leaderboard's static pages in a real browser: what is shown, found, sorted and reached."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import polars as pl
import pytest
from playwright.sync_api import Page

import cfbench
import entries
from browser import Browser, need_chromium, overflow, served, violations
from cfbench.entry import make_entry
from cfbench.leaderboard.build import build, shown, shown_place
from cfbench.leaderboard.ranking import Board
from cfbench.leaderboard.site import site_files, write_site
from cfbench.review import NotHere, verifier
from cfbench.tasks import load_tasks

pytestmark = pytest.mark.slow

SCRIPT = '<script>alert(1)</script> & "co"'
FORMULA = '=HYPERLINK("http://evil.example")'
LONG = "W" * 80
NAMES = ("Best", SCRIPT, FORMULA, LONG)
OTHER = "codecfake-mini"
NARROW = {"width": 390, "height": 844}


class Site(NamedTuple):
    """The pages: where they are served, where they lie, and what they show."""

    address: str
    folder: Path
    board: Board

    def slug(self, name: str) -> str:
        return next(
            slug for slug, one in self.board.systems.items() if one.submission.system.name == name
        )

    @property
    def pages(self) -> list[str]:
        return ["index.html", "compare.html", f"systems/{self.slug(SCRIPT)}.html"]


def not_now(_: Path) -> None:
    raise NotHere("it is verified when the pages are made")


def write_entry(board: Path, work: Path, name: str, frame: pl.DataFrame, **fields: object) -> None:
    path, card = entries.scored(frame, work)
    system = entries.system(name, **fields)
    make_entry(card, system, str(path), board, not_now, reference=name == LONG)


def write_other(board: Path, work: Path) -> None:
    """An entry on another track, all right."""
    protocol = cfbench.read_protocol(track=OTHER)
    answers = [
        (pl.col(task.id).cast(pl.String) == cls.name).cast(pl.Float64).alias(cls.column)
        for task in load_tasks().values()
        for cls in task.classes
    ]
    scored = protocol.frame.filter(pl.col("split").cast(pl.String).is_in(protocol.scored))
    frame = scored.select("utt_id", *answers)
    # Of the others nothing is known: they are answered as the first one is.
    held = protocol.held_back.select("utt_id").join(frame.head(1).drop("utt_id"), how="cross")
    work.mkdir()
    path, card = work / "p.csv", work / "card.json"
    pl.concat([frame, held]).write_csv(path)
    card.write_text(cfbench.score(path, track=OTHER).to_json())
    make_entry(card, entries.system("On another track"), str(path), board, not_now)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("pages")
    board, work = folder / "board", folder / "work"
    for number, name in enumerate(NAMES):
        write_entry(
            board, work / str(number), name, entries.confused(0.25 * number, number),
            team=f"Team {number}", only_track_data=number % 2 == 0, parameters=10 ** (6 + number),
            description="<img src=x onerror=alert(1)>\nTwo lines.", paper="https://example.org/p",
        )  # fmt: skip
    one_task = entries.example_predictions().select("utt_id", pl.col("^vq_.*$"))
    write_entry(board, work / "vq", "VQ only", one_task, team="Team 0")
    write_other(board, work / "other")
    check = verifier()

    def verify(entry: Path):
        if entry.name == "best":
            raise NotHere("its predictions are not at hand")
        return check(entry)

    boards = build(board, verify)
    write_site(boards, folder / "site")
    (example,) = (one for one in boards if one.track == "example")
    with served(folder / "site") as address:
        yield Site(address, folder / "site", example)


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
def index(site: Site, browser: Browser, window: Page) -> Iterator[Page]:
    with browser.again(window, f"{site.address}/index.html#track=example") as page:
        page.locator("#rows tr").first.wait_for()
        yield page


def column(page: Page, title: str) -> list[str]:
    """The cells of a column, as text."""
    heads = [one.strip() for one in page.locator("#head > *").all_inner_texts()]
    number = next(i for i, head in enumerate(heads) if " ".join(head.split()) == title)
    return page.locator(f"#rows > tr > :nth-child({number + 1})").all_inner_texts()


def names(page: Page) -> list[str]:
    return page.locator("#rows th.name a, #rows tr.trivial th.name").all_inner_texts()


def choose(page: Page, group: str, text: str) -> None:
    page.get_by_role("group", name=group).get_by_label(text, exact=True).check()


def numbers(cells: list[str]) -> list[float | None]:
    return [None if cell == "n/a" else float(cell.split()[0]) for cell in cells]


START = '<!doctype html><html lang=en><link rel=icon href="data:,"><title>A page</title>'


class TestWatching:
    """What the tests below rely on: that a browser tells what is wrong."""

    @pytest.mark.parametrize(
        ("content", "told"),
        [
            ('<img src="https://example.org/x.png">', "leaves the machine: https://example.org/x"),
            ('<link rel="preconnect" href="https://fonts.example.org">', "hint: <link rel="),
            ("<script>undefined.name</script>", "script: Cannot read properties"),
            ("<script>alert('here')</script>", "a dialog: here"),
            ('<img src="nothing.png">', "nothing.png"),
        ],
    )
    def test_what_is_wrong_with_a_page_is_told(self, browser, tmp_path, content, told):
        (tmp_path / "page.html").write_text(START + content)
        with (
            served(tmp_path) as address,
            pytest.raises(AssertionError, match=re.escape(told)),
            browser.open(f"{address}/page.html") as page,
        ):
            page.wait_for_load_state("networkidle")

    def test_axe_finds_what_is_wrong_in_a_frame_too(self, browser, tmp_path):
        (tmp_path / "page.html").write_text(f"{START}<iframe title=Frame src=in.html></iframe>")
        (tmp_path / "in.html").write_text(f"{START}<input>")
        with served(tmp_path) as address, browser.open(f"{address}/page.html") as page:
            (found,) = violations(page)
            assert found.startswith("label: ['iframe', 'input']")

    def test_a_page_that_is_too_wide(self, browser, tmp_path):
        (tmp_path / "page.html").write_text(f"{START}<p style='width:500px'>wide")
        with served(tmp_path) as address, browser.open(f"{address}/page.html", width=400) as page:
            assert overflow(page) > 90


class TestEveryPage:
    @pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
    @pytest.mark.parametrize("number", range(3))
    def test_is_reached_by_everybody(self, site, browser, number, dark):
        with browser.open(f"{site.address}/{site.pages[number]}", dark=dark) as page:
            page.locator("h1").wait_for()
            assert violations(page) == []
            if number == 0:
                page.locator("#columns-menu summary").click()
                page.locator("#rows input").first.check()
                assert violations(page) == []
            colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (int(re.findall(r"\d+", colour)[0]) < 60) == dark

    @pytest.mark.parametrize("number", range(3))
    def test_is_readable_on_a_telephone(self, site, browser, number):
        with browser.open(f"{site.address}/{site.pages[number]}", **NARROW) as page:
            page.locator("h1").wait_for()
            assert overflow(page) <= 0
            sizes = page.evaluate(
                "[...document.querySelectorAll('p, td, th, label, dd')].filter(e => e.innerText)"
                ".map(e => parseFloat(getComputedStyle(e).fontSize))"
            )
            assert min(sizes) >= 11

    @pytest.mark.parametrize("number", range(3))
    def test_asks_for_nothing_but_itself(self, site, browser, number):
        page_name = site.pages[number]
        badge = [f"badges/{site.slug(SCRIPT)}.svg"] if number == 2 else []
        for base in (site.address, site.folder.as_uri()):
            with browser.open(f"{base}/{page_name}") as page:
                page.wait_for_timeout(100)
                assert browser.requests == [f"{base}/{path}" for path in (page_name, *badge)]

    @pytest.mark.parametrize("number", range(3))
    def test_runs_no_script_but_its_own(self, site, browser, number):
        with (
            browser.open(f"{site.address}/{site.pages[number]}") as page,
        ):
            page.evaluate(
                "document.body.insertAdjacentHTML('beforeend',"
                " '<button id=evil onclick=\"document.title=1\">x</button>')"
            )
            page.locator("#evil").click()
            assert page.title() != "1"
            assert browser.faults
            assert all("Content Security Policy" in told for told in browser.faults)
            browser.faults.clear()


class TestNamesOfOthers:
    def test_stay_text_in_the_table_and_the_plot(self, index):
        assert set(names(index)) >= set(NAMES)
        links = index.locator("#drawing a").evaluate_all("all => all.map(a => a.ariaLabel)")
        assert any(label.startswith(f"{SCRIPT}: in domain") for label in links)
        assert index.locator("script:not(#data)").count() == 1

    def test_stay_text_on_their_own_page(self, site, browser):
        with browser.open(f"{site.address}/systems/{site.slug(SCRIPT)}.html") as page:
            assert page.locator("h1").inner_text() == SCRIPT
            assert page.title() == f"{SCRIPT}: cfbench leaderboard"
            assert page.locator(".said").inner_text() == (
                "<img src=x onerror=alert(1)>\nTwo lines."
            )
            assert page.locator("main img").count() == 1

    def test_stay_text_side_by_side(self, site, browser):
        pair = f"a={site.slug(SCRIPT)}&b={site.slug(FORMULA)}"
        with browser.open(f"{site.address}/compare.html#track=example&{pair}") as page:
            assert page.locator("th.name-a").first.inner_text() == f"A: {SCRIPT}"
            assert page.locator("th.name-b").first.inner_text() == f"B: {FORMULA}"


class TestTable:
    def test_shows_values_with_intervals_places_and_tiers(self, site, index):
        rows = site.board.tables[0].rows
        assert names(index) == [row.name for row in rows]
        cells = [" ".join(cell.split()) for cell in column(index, "Out of domain")]
        assert cells == [shown(row.values["ood"], "macro_f1") for row in rows]
        places = [row.places.get("ood") for row in rows]
        assert column(index, "Place") == [shown_place(place) or "\N{EN DASH}" for place in places]
        assert index.locator("#rows tr.tier").count() == len({p.place for p in places if p}) - 1
        states = {"verified", "verified reference", "claimed", "computed"}
        assert set(column(index, "Status")) == states

    def test_searches_systems_and_teams(self, index):
        index.get_by_label("System or team").fill("TEAM 1")
        assert names(index) == [SCRIPT]
        assert index.locator("#found").inner_text() == "1 of 5 systems"
        index.get_by_label("System or team").fill("wwww team")
        assert names(index) == [LONG]
        index.get_by_label("System or team").fill("nobody")
        assert index.locator("#rows").inner_text() == "No system is like that."
        index.get_by_label("System or team").fill("")
        assert len(names(index)) == 8

    @pytest.mark.parametrize("title", ["Out of domain", "EER, in domain"])
    def test_sorts_and_what_is_not_defined_stands_last(self, index, title):
        head = index.get_by_role("columnheader", name=title, exact=True)
        ways = set()
        for _ in range(2):
            head.get_by_role("button").click()
            way = head.get_attribute("aria-sort")
            values = numbers(column(index, title))
            there = [value for value in values if value is not None]
            assert there == sorted(there, reverse=way == "descending")
            assert None in values
            assert values[len(there) :] == [None] * (len(values) - len(there))
            ways.add(way)
        assert ways == {"ascending", "descending"}

    def test_sorts_names_too(self, index):
        index.get_by_role("columnheader", name="System").get_by_role("button").click()
        found = [name for name in names(index) if name in ("Best", "VQ only", LONG)]
        assert found == ["Best", "VQ only", LONG]

    def test_is_of_one_task(self, site, index):
        choose(index, "Task", "VQ")
        table = next(one for one in site.board.tables if one.id == "vq")
        assert names(index) == [row.name for row in table.rows]
        assert "Vector quantisation: macro-F1" in index.locator("#ranking-caption").inner_text()
        choose(index, "Task", "BIN")
        values = [v for v in numbers(column(index, "Out of domain")) if v is not None]
        assert values == sorted(values)

    def test_is_of_one_split(self, index):
        choose(index, "Split", "In domain")
        heads = " ".join(index.locator("#head").inner_text().split())
        assert "Out of domain" not in heads
        values = [v for v in numbers(column(index, "In domain")) if v is not None]
        assert values == sorted(values, reverse=True)

    def test_filters(self, index):
        index.get_by_label("Reference and trivial lines").uncheck()
        assert set(names(index)) == {"Best", SCRIPT, FORMULA, "VQ only"}
        index.get_by_role("combobox", name="Training data").select_option("other data too")
        assert names(index) == [SCRIPT]
        index.get_by_role("combobox", name="Training data").select_option("the track's only")
        assert set(names(index)) == {"Best", FORMULA, "VQ only"}
        index.get_by_role("combobox", name="Training data").select_option("all")
        index.get_by_role("combobox", name="Status").select_option("claimed")
        assert names(index) == ["Best"]

    def test_shows_the_columns_that_are_chosen(self, index):
        heads = "#head > *"
        index.get_by_text("Columns", exact=True).click()
        assert "Parameters" not in index.locator(heads).all_inner_texts()
        index.get_by_label("Parameters").check()
        assert set(column(index, "Parameters")) == {"", "1.00 M", "10.0 M", "100 M", "1.00 B"}
        index.get_by_label("Intervals").uncheck()
        assert "[" not in " ".join(column(index, "Out of domain"))
        index.get_by_label("VQ, AUX, DEC").check()
        assert numbers(column(index, "VQ, out of domain"))[0] is not None
        index.get_by_label("Team", exact=True).uncheck()
        assert not [head for head in index.locator(heads).all_inner_texts() if "Team" in head]
        index.keyboard.press("Escape")
        assert not index.get_by_label("Team", exact=True).is_visible()

    def test_is_of_one_track(self, index):
        index.get_by_label("Track").select_option(OTHER)
        assert names(index)[0] == "On another track"
        assert SCRIPT not in names(index)
        assert OTHER in index.url or "track=" not in index.url

    def test_a_link_shows_the_same_again(self, site, browser, index):
        choose(index, "Task", "DEC")
        index.get_by_label("System or team").fill("team 2")
        index.get_by_role("columnheader", name="In domain").get_by_role("button").click()
        before, address = index.locator("#ranking").inner_text(), index.url
        with browser.open(address) as page:
            assert page.locator("#ranking").inner_text() == before
            assert names(page) == [FORMULA]
            assert page.get_by_label("System or team").input_value() == "team 2"

    def test_of_many_systems_is_whole_and_what_comes_late_is_of_the_last_search(
        self, site, browser, tmp_path
    ):
        (tmp_path / "index.html").write_bytes(site_files([many(site.board, 250)])["index.html"])
        with browser.open(f"{tmp_path.as_uri()}/index.html") as page:
            page.locator("#rows tr").nth(249).wait_for()
            assert page.locator("#rows tr").count() == 250
            assert len(set(names(page))) == 250
            page.evaluate(
                "for (const text of ['', 'number 24', '', 'number 10']) { "
                "q.value = text; q.dispatchEvent(new Event('input')); }"
            )
            assert names(page) == [f"Number {i}" for i in range(250) if "10" in str(i)]
            page.wait_for_timeout(300)
            assert page.locator("#rows tr").count() == 13


def many(board: Board, count: int) -> Board:
    """A board of copies of one system."""
    slug, listed = next(iter(board.systems.items()))
    systems, numbers = {}, [f"number-{number}" for number in range(count)]
    for copy in numbers:
        name = copy.replace("-", " ").capitalize()
        said = listed.submission.system.model_copy(update={"name": name})
        submission = listed.submission.model_copy(update={"slug": copy, "system": said})
        systems[copy] = listed.model_copy(update={"submission": submission})
    tables = []
    for table in board.tables:
        row = next(row for row in table.rows if row.slug == slug)
        rows = [
            row.model_copy(update={"slug": copy, "name": systems[copy].submission.system.name})
            for copy in numbers
        ]
        tables.append(table.model_copy(update={"rows": tuple(rows)}))
    return board.model_copy(update={"systems": systems, "tables": tuple(tables)})


def touch(one, other) -> bool:
    """Whether two boxes have a point in common."""
    return all(
        one[start] < other[start] + other[size] and other[start] < one[start] + one[size]
        for start, size in (("x", "width"), ("y", "height"))
    )


class TestPlot:
    def test_has_a_point_for_each_system_that_has_both_values(self, site, index):
        rows = [row for row in site.board.tables[0].rows if row.slug]
        both = [r for r in rows if all(value.value is not None for value in r.values.values())]
        assert len(both) == 4
        points = index.locator("#drawing a")
        assert points.count() == len(both)
        assert index.locator("#drawing a.reference").count() == 1
        frame = index.locator("#drawing rect.axis").bounding_box()
        for at in range(points.count()):
            dot = points.nth(at).locator(".dot").bounding_box()
            assert frame["x"] <= dot["x"] <= frame["x"] + frame["width"]
            # All systems are worse out of domain: below the diagonal.
            right, up = dot["x"] - frame["x"], frame["y"] + frame["height"] - dot["y"]
            assert up < right

    def test_names_of_trivial_predictors_are_not_under_the_points(self, index):
        marks = index.locator("#drawing .trivial-name")
        assert marks.count() == 3
        boxes = [marks.nth(i).bounding_box() for i in range(marks.count())]
        dots = index.locator("#drawing .dot")
        for at in range(dots.count()):
            dot = dots.nth(at).bounding_box()
            assert not [box for box in boxes if touch(dot, box)]

    def test_names_a_few_systems_beside_their_points(self, index):
        labels = index.locator("#drawing .label")
        labels.first.wait_for()
        assert {"Best", FORMULA} <= set(labels.all_text_contents())
        boxes = [one.bounding_box() for one in labels.all()]
        boxes += [one.bounding_box() for one in index.locator("#drawing .dot").all()]
        for number, one in enumerate(boxes):
            assert not [other for other in boxes[:number] if touch(one, other)]

    def test_follows_the_table_and_the_arrow_keys(self, index):
        index.evaluate("document.querySelector('#drawing svg').id = 'before'")
        index.get_by_label("System or team").fill("team")
        index.locator("#before").wait_for(state="detached")
        links = index.locator("#drawing a")
        links.first.focus()
        first = index.locator("#drawing .told").text_content()
        index.keyboard.press("ArrowRight")
        assert index.locator("#drawing .told").text_content() not in ("", first)
        index.get_by_label("System or team").fill("team 1")
        links.nth(1).wait_for(state="detached")
        links.first.focus()
        index.keyboard.press("Enter")
        index.wait_for_url(re.compile("/systems/"))
        assert index.locator("h1").inner_text() == SCRIPT


class TestSystemPage:
    def test_shows_matrices_sources_and_what_was_declared(self, site, browser):
        slug = site.slug(SCRIPT)
        result = site.board.systems[slug].result
        with browser.open(f"{site.address}/systems/{slug}.html") as page:
            table = page.get_by_role("region", name="Confusion matrix of VQ, out of domain")
            rows = [
                [int(cell.split()[0]) for cell in row.locator("td").all_inner_texts()]
                for row in table.locator("tbody tr").all()
            ]
            assert rows == [list(row) for row in result.tasks["vq"].splits["ood"].confusion]
            heat = page.get_by_role("region", name="Right answers by source")
            there = heat.locator("tbody th:not(.part)").all_inner_texts()
            for split in ("id", "ood"):
                for source in result.tasks["vq"].splits[split].sources:
                    assert any(one.startswith(source.source) for one in there)
            said = page.locator("dl").first.inner_text()
            assert "nothing" in said
            assert "10,000,000" in said
            link = page.get_by_role("link", name="https://example.org/p")
            assert link.get_attribute("rel") == "nofollow noopener noreferrer"

    def test_has_a_badge_to_copy(self, site, browser):
        slug = site.slug(SCRIPT)
        with browser.open(f"{site.address}/systems/{slug}.html") as page:
            markdown = page.get_by_label("As Markdown").input_value()
            assert markdown == (
                f"[![scriptalert1script  co on the cfbench leaderboard]({site.address}/badges/"
                f"{slug}.svg)]({site.address}/systems/{slug}.html)"
            )
            svg = ElementTree.fromstring(page.get_by_label("As SVG").input_value())
            assert "place" in svg.attrib["aria-label"]
            size = page.locator("img.badge").evaluate("one => [one.naturalWidth, one.complete]")
            assert size == [int(svg.attrib["width"]), True]
            page.get_by_role("button", name="Copy Markdown").click()
            page.get_by_role("button", name=re.compile(r"Copied|Ctrl\+C")).wait_for()


class TestSideBySide:
    def test_two_are_picked_in_the_table(self, site, index):
        best, script = site.slug("Best"), site.slug(SCRIPT)
        for slug in (best, script):
            index.locator(f"#rows input[data-slug='{slug}']").check()
        index.get_by_role("link", name="Side by side", exact=True).click()
        index.locator("#values tr").first.wait_for()
        assert index.locator("th.name-a").first.inner_text() == "A: Best"
        row = index.locator("#values tr", has_text="Overall, out of domain").locator("td")
        cells = [" ".join(cell.split()) for cell in row.all_inner_texts()]
        rows = {row.slug: row for row in site.board.tables[0].rows}
        found = [rows[best], rows[script]]
        assert cells[:2] == [shown(one.values["ood"], "macro_f1") for one in found]
        by = 100 * (found[0].values["ood"].value - found[1].values["ood"].value)
        assert cells[2] == f"+{by:.1f} for A"
        index.get_by_role("button", name="Swap").click()
        assert index.locator("th.name-a").first.inner_text() == f"A: {SCRIPT}"
        assert f"a={script}&b={best}" in index.url
        assert index.locator("#sources tr").count() > 15

    def test_one_that_lacks_a_task_is_not_compared_in_it(self, site, browser):
        pair = f"a={site.slug('VQ only')}&b={site.slug('Best')}"
        with browser.open(f"{site.address}/compare.html#track=example&{pair}") as page:
            row = page.locator("#values tr", has_text="Decoder type, in domain").locator("td")
            assert row.all_inner_texts()[::2] == ["n/a", "n/a"]


class TestWithoutAScript:
    @pytest.mark.parametrize("local", [False, True], ids=["served", "file"])
    def test_the_table_is_read_and_leads_to_the_systems(self, site, browser, local):
        base = site.folder.as_uri() if local else site.address
        with browser.open(f"{base}/index.html", scripts=False) as page:
            section = page.locator("section.static", has_text="Example")
            found = section.locator("tbody tr")
            assert found.count() == len(site.board.tables[0].rows)
            assert "Best" in section.inner_text()
            assert not page.locator(".controls").is_visible()
            section.get_by_role("link", name=SCRIPT, exact=True).click()
            assert page.locator("h1").inner_text() == SCRIPT
            assert "place" in page.locator("#badge-svg").input_value()
            page.get_by_role("link", name="Leaderboard").click()
            assert page.locator("h1").inner_text() == "cfbench leaderboard"

    def test_two_systems_are_not_set_side_by_side_and_that_is_said(self, site, browser):
        with browser.open(f"{site.address}/compare.html", scripts=False) as page:
            assert "needs JavaScript" in page.locator("main").inner_text()


def test_from_a_disk_the_pages_work_as_from_a_server(site, browser):
    with browser.open(f"{site.folder.as_uri()}/index.html#track=example") as page:
        page.get_by_label("System or team").fill("team 1")
        page.get_by_role("link", name=SCRIPT, exact=True).first.click()
        assert page.locator("h1").inner_text() == SCRIPT
        page.get_by_role("link", name="Set beside another").click()
        page.locator("#values tr").first.wait_for()
        assert page.locator("th.name-a").first.inner_text() == f"A: {SCRIPT}"


def test_the_keyboard_alone_leads_from_the_search_to_a_system(site, index):
    index.keyboard.press("Tab")
    assert index.evaluate("document.activeElement.textContent") == "Skip to the content"
    index.keyboard.press("Enter")
    tab_to(index, "q")
    index.keyboard.type("team 1")
    for _ in range(30):
        index.keyboard.press("Tab")
        if index.evaluate("document.activeElement.matches('#rows a')"):
            break
    assert index.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    index.keyboard.press("Enter")
    index.wait_for_url(re.compile("/systems/"))
    assert index.locator("h1").inner_text() == SCRIPT


def test_the_keyboard_alone_sorts_and_chooses(index):
    tab_to(index, "q")
    index.keyboard.press("Shift+Tab")
    # Within a group of choices arrows go on.
    index.keyboard.press("ArrowRight")
    assert index.get_by_label("Out of domain", exact=True).is_checked()
    head = index.get_by_role("columnheader", name="System")
    head.get_by_role("button").focus()
    index.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert index.evaluate("document.activeElement.closest('th')?.innerText.startsWith('System')")


def tab_to(page: Page, element: str) -> None:
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == element:
            return
    raise AssertionError(f"the Tab key does not lead to {element}")
