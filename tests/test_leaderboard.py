"""From a folder of submissions to tables, pages and badges; receipts; hostile names."""

import csv
import hashlib
import io
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import entries
from cfbench.errors import CfbenchError
from cfbench.leaderboard.build import build, inert, to_csv, to_markdown
from cfbench.leaderboard.entries import read_entries
from cfbench.leaderboard.ranking import Board
from cfbench.leaderboard.site import MANIFEST, site_files, write_site
from cfbench.review import verifier
from cfbench.submission import DESCRIPTION, VERIFIED, parse_submission

HOSTILE = "<script>alert(1)</script> & \"co\" 'ours' ${x}"
FORMULA = '=HYPERLINK("https://example.org";"x")'


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three systems, verified: one says what another says, one is worse; one has a hostile name."""
    board = tmp_path_factory.mktemp("board")
    work = tmp_path_factory.mktemp("work")
    entries.make(board, work / "1", "Good system")
    entries.make(board, work / "2", HOSTILE, entries.confused(0.3), team=FORMULA,
                 description=HOSTILE, front_end=HOSTILE)  # fmt: skip
    entries.make(board, work / "3", FORMULA, entries.confused(0.05))
    build(board, verifier())
    return board


@pytest.fixture
def board(made: Path, tmp_path: Path) -> Path:
    """A copy, to be spoilt."""
    return Path(shutil.copytree(made, tmp_path / "board"))


@pytest.fixture(scope="module")
def ranked(made: Path) -> Board:
    return build(made, None)[0]


def overall(board: Board) -> dict[str, tuple[int | None, str]]:
    return {
        row.slug: (None if row.places["ood"] is None else row.places["ood"].place, row.status)
        for row in board.tables[0].rows
        if row.slug
    }


class Words(HTMLParser):
    """The elements of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_every_entry_is_verified_and_ranked(ranked: Board) -> None:
    assert [status for _, status in overall(ranked).values()] == ["verified"] * 3
    assert ranked.refused == {}
    assert ranked.tables[0].rows[0].slug == "good-system"
    assert [table.id for table in ranked.tables] == ["overall", "vq", "aux", "dec", "bin"]


def test_the_same_files_give_the_same_bytes_with_receipts_and_without(made: Path, board: Path):
    shutil.rmtree(board / VERIFIED)
    again = site_files(build(board, verifier()))
    assert again == site_files(build(made, None))


def test_values_and_intervals_are_those_of_the_scorecard(made: Path, ranked: Board) -> None:
    card = json.loads((made / "good-system" / "scorecard.json").read_bytes())
    row = next(r for t in ranked.tables if t.id == "vq" for r in t.rows if r.slug == "good-system")
    number = card["tasks"]["vq"]["splits"]["ood"]["overall"]["metrics"]["macro_f1"]
    assert row.values["ood"].value == number["value"]
    assert row.values["ood"].low == number["interval"]["low"]


def test_what_is_not_verified_counts_as_claimed_and_says_so(board: Path) -> None:
    shutil.rmtree(board / VERIFIED)
    claimed = build(board, None)[0]
    assert {status for _, status in overall(claimed).values()} == {"claimed"}
    assert "Claimed" in to_markdown(claimed)


def test_without_the_protocol_entries_stay_claims_and_the_reason_is_kept(board: Path) -> None:
    shutil.rmtree(board / VERIFIED)

    def cannot(folder: Path):
        raise CfbenchError("no network")

    found, refused = read_entries(board, cannot)
    assert {(e.status, e.why) for e in found} == {("claimed", "no network")}
    assert refused == []


class TestReceipts:
    """A receipt holds as long as the files are those that were verified, and no longer."""

    @pytest.mark.parametrize("name", ["predictions.csv", DESCRIPTION])
    def test_a_file_that_changed_after_it_was_verified(self, board: Path, name: str) -> None:
        path = board / "good-system" / name
        path.write_bytes(path.read_bytes().replace(b"nobody@", b"no-one@") + b"\n")
        found = overall(build(board, None)[0])
        assert found["good-system"][1] == "claimed"

    def test_predictions_that_were_exchanged_are_refused_when_verified(self, board: Path) -> None:
        frame = entries.confused(0.5)
        frame.write_csv(board / "good-system" / "predictions.csv")
        ranked = build(board, verifier())[0]
        assert "good-system" not in ranked.systems
        assert "SHA-256" in ranked.refused["good-system"]

    def test_a_receipt_of_another_entry(self, board: Path) -> None:
        shutil.copy(board / VERIFIED / "good-system.json", board / VERIFIED / "hyperlink.json")
        (board / VERIFIED / "good-system.json").unlink()
        assert overall(build(board, None)[0])["good-system"][1] == "claimed"

    @pytest.mark.parametrize("content", [b"{}", b"[" * 100_000, b"\xff", b""])
    def test_a_receipt_that_is_none(self, board: Path, content: bytes) -> None:
        (board / VERIFIED / "good-system.json").write_bytes(content)
        assert overall(build(board, None)[0])["good-system"][1] == "claimed"

    def test_replicates_that_changed_are_not_used(self, board: Path) -> None:
        path = board / VERIFIED / "good-system.npy"
        samples = np.load(path)
        np.save(path, samples + 1)
        row = build(board, None)[0].tables[0].rows[0]
        assert row.slug == "good-system"
        assert row.values["ood"].reason == "its predictions were not at hand"


class TestNames:
    """What a system says of itself is text wherever it is shown."""

    def test_html_in_a_name(self, ranked: Board) -> None:
        files = site_files([ranked])
        for path, content in files.items():
            if not path.endswith(".html"):
                continue
            page = Words(content.decode())
            scripts = [attributes for tag, attributes in page.tags if tag == "script"]
            # The page's own, and its data.
            assert len(scripts) <= 2, path
            assert "alert(1)" not in re.sub(
                r'<script type="application/json".*?</script>', "", content.decode(), flags=re.S
            ).replace("&lt;script&gt;alert(1)&lt;/script&gt;", ""), path
        slug = next(s for s, one in ranked.systems.items() if one.submission.system.name == HOSTILE)
        page = Words(files[f"systems/{slug}.html"].decode())
        assert HOSTILE in "".join(page.text)

    def test_html_in_the_data_of_a_page(self, ranked: Board) -> None:
        text = site_files([ranked])["index.html"].decode()
        data = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
        assert data
        assert not set("<>&") & set(data[1])
        names = [system[1] for system in json.loads(data[1])["boards"][0]["systems"]]
        assert HOSTILE in names

    def test_html_in_a_badge(self, ranked: Board) -> None:
        for path, content in site_files([ranked]).items():
            if path.startswith("badges/"):
                assert {tag for tag, _ in Words(content.decode()).tags} <= {
                    "svg", "title", "rect", "path", "g", "text",
                }  # fmt: skip

    def test_an_address_that_is_a_script(self, tmp_path: Path) -> None:
        with pytest.raises(CfbenchError, match="https://"):
            entries.system(paper="javascript:alert(1)")
        with pytest.raises(CfbenchError, match="https://"):
            entries.system(code='https://example.org/"onmouseover="alert(1)')

    def test_a_formula_for_a_spreadsheet(self, ranked: Board) -> None:
        table = list(csv.DictReader(io.StringIO(to_csv(ranked))))
        cells = {row["system"] for row in table} | {row["team"] for row in table}
        assert f"'{FORMULA}" in cells
        assert not [cell for cell in cells if cell[:1] in tuple("=+-@\t\r|%")]

    @pytest.mark.parametrize("first", list("=+-@|%\t\r"))
    def test_what_begins_a_formula(self, first: str) -> None:
        assert inert(f"{first}1+1").startswith("'")

    @pytest.mark.parametrize(
        "name", ["[x](https://example.org)", "# title", "a | b", "![x](y)", "@all", "`code`", "*b*"]
    )
    def test_markdown_in_a_name(self, ranked: Board, name: str) -> None:
        row = ranked.tables[0].rows[0].model_copy(update={"name": name, "team": name})
        table = ranked.tables[0].model_copy(update={"rows": (row,)})
        text = to_markdown(ranked.model_copy(update={"tables": (table,)}))
        line = next(line for line in text.splitlines() if line.startswith("| 1 |"))
        cells = re.split(r"(?<!\\)\|", line)
        assert len(cells) == 10
        for cell in cells[2:4]:
            assert not re.search(r"(?<!\\)[][`#@!*()|]", cell), cell
            assert re.sub(r"\\(.)", r"\1", cell.strip()) == name

    @pytest.mark.parametrize("text", ["a\u202eb", "a\x1b[31m", "a\x00b", "a\u2028b", "a\nb"])
    def test_characters_that_steer(self, text: str) -> None:
        with pytest.raises(CfbenchError):
            entries.system(name=text)


def test_the_site_has_a_page_and_a_badge_a_system(ranked: Board, tmp_path: Path) -> None:
    write_site([ranked], tmp_path / "site")
    names = {path.relative_to(tmp_path / "site").as_posix()
             for path in (tmp_path / "site").rglob("*") if path.is_file()}  # fmt: skip
    assert {"index.html", "compare.html", "leaderboard.json", "leaderboard.csv", "leaderboard.md",
            MANIFEST} <= names  # fmt: skip
    assert {f"systems/{slug}.html" for slug in ranked.systems} <= names
    assert {f"badges/{slug}.svg" for slug in ranked.systems} <= names


def test_no_page_asks_anything_of_elsewhere(ranked: Board) -> None:
    """Links lead away when they are clicked; nothing is loaded."""
    for path, content in site_files([ranked]).items():
        if not path.endswith(".html"):
            continue
        loads = [
            attributes.get("src") or attributes.get("href")
            for tag, attributes in Words(content.decode()).tags
            if tag in ("img", "script", "link", "iframe", "object", "embed", "source")
        ]
        assert all(
            place is None or place.startswith("data:") or "//" not in place for place in loads
        ), path
        assert "default-src 'none'" in content.decode()
        assert "url(http" not in content.decode()


def test_pages_of_systems_that_left_are_removed_and_others_untouched(
    ranked: Board, board: Path, tmp_path: Path
) -> None:
    out = tmp_path / "site"
    write_site([ranked], out)
    (out / ".git").mkdir()
    index = (out / "compare.html").stat().st_mtime_ns
    write_site([ranked], out)
    assert (out / "compare.html").stat().st_mtime_ns == index
    for slug in set(ranked.systems) - {"good-system"}:
        shutil.rmtree(board / slug)
    write_site(build(board, None), out)
    assert [path.name for path in (out / "systems").iterdir()] == ["good-system.html"]
    assert (out / ".git").is_dir()


def test_a_folder_with_other_files_is_refused(ranked: Board, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(CfbenchError, match=r"thesis\.tex"):
        write_site([ranked], tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_manifest_from_elsewhere_removes_nothing_but_pages(ranked: Board, tmp_path: Path):
    out = tmp_path / "site"
    out.mkdir()
    (tmp_path / "thesis.tex").write_text("years of work")
    said = {"files": ["../thesis.tex", "/etc/passwd", "systems/old.html"]}
    (out / MANIFEST).write_text(json.dumps(said))
    write_site([ranked], out)
    assert (tmp_path / "thesis.tex").exists()


def test_a_broken_entry_is_listed_and_the_others_are_ranked(board: Path) -> None:
    (board / "broken").mkdir()
    (board / "broken" / DESCRIPTION).write_text("this is = = no TOML")
    ranked = build(board, verifier())[0]
    assert list(ranked.refused) == ["broken"]
    assert "not TOML" in ranked.refused["broken"]
    assert len(ranked.systems) == 3
    assert "broken" in to_markdown(ranked)
    assert "broken" in site_files([ranked])["index.html"].decode()


def test_a_folder_that_is_not_called_after_its_entry_is_refused(board: Path) -> None:
    (board / "good-system").rename(board / "better-system")
    ranked = build(board, verifier())[0]
    assert "good-system" not in ranked.systems
    assert "name the folder after it" in str(ranked.refused) or "slug" in str(ranked.refused)


def test_an_empty_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(CfbenchError, match="no submissions"):
        build(tmp_path, None)
    with pytest.raises(CfbenchError, match="no folder"):
        build(tmp_path / "nowhere", None)


def test_a_changed_entry_is_verified_anew(board: Path, tmp_path: Path) -> None:
    entries.make(board, tmp_path / "again", "Good system", entries.confused(0.2))
    ranked = build(board, verifier())[0]
    listed = ranked.systems["good-system"]
    assert (listed.status, listed.submission.version) == ("verified", 2)
    receipt = json.loads((board / VERIFIED / "good-system.json").read_bytes())
    content = (board / "good-system" / DESCRIPTION).read_bytes()
    assert receipt["digests"][DESCRIPTION] == hashlib.sha256(content).hexdigest()
    assert parse_submission(content, "it").version == 2


def test_equal_systems_share_a_place(board: Path, tmp_path: Path) -> None:
    frame = pl.read_csv(board / "good-system" / "predictions.csv")
    entries.make(board, tmp_path / "twin", "Twin", frame)
    found = overall(build(board, verifier())[0])
    assert found["twin"][0] == found["good-system"][0]
