"""The figures of a report: for a paper (SVG, PNG), and as part of its page."""

import io
import re
import struct
import zlib
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest

import cfbench
import entries
import samples
from browser import Browser, need_chromium, overflow, violations
from cfbench.report.curves import probit
from cfbench.report.data import Report, report_of
from cfbench.report.figures import SERIES, Drawing, draw
from cfbench.report.page import page
from cfbench.report.svg import inline

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def example() -> Report:
    read = cfbench.read_predictions(entries.example_predictions())
    return report_of("Example", read, cfbench.read_protocol(track=entries.TRACK), bootstrap=50)


@pytest.fixture(scope="module")
def drawings(example: Report) -> dict[str, Drawing]:
    return {drawing.name: drawing for drawing in draw(example)}


def words(drawing: Drawing) -> list[str]:
    root = ElementTree.fromstring(drawing.svg)
    return ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]


def line(drawing: Drawing, colour: str) -> np.ndarray:
    """The points of the longest path of a colour, in the figure's units."""
    paths = re.findall(rf'<path d="([^"]+)"[^>]*stroke: {colour}', drawing.svg.decode())
    longest = max(paths, key=len)
    return np.array(re.findall(r"[ML] ([-\d.]+) ([-\d.]+)", longest), dtype=float)


def test_every_figure_is_there(drawings: dict[str, Drawing]) -> None:
    tasks = ("bin", "vq", "aux", "dec")
    kinds = ("confusion", "calibration", "hardest")
    each = {f"{kind}-{task}" for kind in kinds for task in tasks}
    assert set(drawings) == {"results", "sources", "det", *each}


def test_words_of_a_figure_are_words(drawings: dict[str, Drawing], example: Report) -> None:
    eers = [f"{100 * found.eer:.1f} %" for found in example.detection.values()]
    assert {
        f"In domain: EER {eers[0]}", f"Out of domain: EER {eers[1]}",
        "Threshold of the EER in domain", "False-alarm rate: spoof accepted (%)",
        "Miss rate: bona fide rejected (%)",
    } <= set(words(drawings["det"]))  # fmt: skip
    assert {"EER (%), lower is better", "macro-F1 (%), higher is better", "VQ"} <= set(
        words(drawings["results"])
    )
    assert {"Right answers (%)", "Utterances (%)", "Probability of the answer (%)"} <= set(
        words(drawings["calibration-vq"])
    )
    assert {"Truth", "Answer", "spoof", "bonafide", "(313)"} <= set(
        words(drawings["confusion-bin"])
    )
    for drawing in drawings.values():
        assert words(drawing), drawing.name


def test_the_confusion_is_that_of_the_scorecard(
    drawings: dict[str, Drawing], example: Report
) -> None:
    for task_id, task in example.card.tasks.items():
        counts = [
            f"({count:,})"
            for split in task.splits.values()
            for row in split.overall.confusion
            for count in row
        ]
        shown = [word for word in words(drawings[f"confusion-{task_id}"]) if word[0] == "("]
        assert shown == counts


def test_a_det_curve_stands_where_the_axes_say(
    drawings: dict[str, Drawing], example: Report
) -> None:
    root = ElementTree.fromstring(drawings["det"].svg)
    # The words of the horizontal axis stand in the middle below their ticks.
    places = {}
    for text in root.iter(f"{SVG}text"):
        word = "".join(text.itertext())
        if re.fullmatch(r"[\d.]+", word) and "text-anchor: middle" in text.get("style", ""):
            places[float(word) / 100] = float(text.get("x", "nan"))
    rates = np.array(sorted(places))
    assert rates.size > 5
    per_unit, zero = np.polyfit(probit(rates), [places[rate] for rate in rates], 1)
    found = example.detection["ood"]
    drawn = (line(drawings["det"], SERIES[1])[:, 0] - zero) / per_unit
    curve = probit(found.curve.false_alarm)
    for value in drawn[(drawn > probit(rates)[0]) & (drawn < probit(rates)[-1])]:
        assert np.abs(curve - value).min() < 0.02


def test_a_figure_names_nothing_outside_of_itself(drawings: dict[str, Drawing]) -> None:
    for drawing in drawings.values():
        text = drawing.svg.decode()
        assert "<!DOCTYPE" not in text
        assert "<metadata" not in text
        addresses = set(re.findall(r"https?://[^\"<\s]+", text))
        assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
        assert all(target.startswith("#") for target in re.findall(r'href="([^"]*)"', text))


def test_pictures_are_of_a_paper_s_width_and_hold_no_time(drawings: dict[str, Drawing]) -> None:
    columns = {name: 2 if name.startswith(("confusion", "sources")) else 1 for name in drawings}
    for name, drawing in drawings.items():
        file = io.BytesIO(drawing.png)
        assert file.read(8) == b"\x89PNG\r\n\x1a\n"
        kinds = []
        while head := file.read(8):
            size, kind = struct.unpack(">I4s", head)
            content = file.read(size)
            assert struct.unpack(">I", file.read(4))[0] == zlib.crc32(kind + content)
            kinds.append(kind)
            if kind == b"IHDR":
                assert struct.unpack(">I", content[:4])[0] == columns[name] * 1020, name
            if kind == b"pHYs":
                assert round(struct.unpack(">I", content[:4])[0] * 0.0254) == 300
        assert set(kinds) == {b"IHDR", b"pHYs", b"IDAT", b"IEND"}


def test_colours_are_told_apart_in_grey() -> None:
    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    first, second = (luminance(colour) for colour in SERIES[:2])
    assert (second + 0.05) / (first + 0.05) > 2
    assert all(1.05 / (luminance(colour) + 0.05) > 3 for colour in SERIES)


def test_names_are_no_formulas_and_may_be_in_any_script() -> None:
    strange = "$x^2$ 编解码器 <&>"
    truth = samples.protocol_frame().with_columns(
        pl.col("source", "group").replace("USLM", strange)
    )
    read = cfbench.read_predictions(samples.probability_frame(right=0.1), tasks=["vq"])
    found = report_of("mine", read, cfbench.read_protocol(truth), bootstrap=0)
    for drawing in draw(found):
        if drawing.name in ("sources", "hardest-vq"):
            assert any(word.startswith(strange) for word in words(drawing)), drawing.name


def test_a_perfect_system_has_figures() -> None:
    read = cfbench.read_predictions(samples.probability_frame())
    known = cfbench.read_protocol(samples.protocol_frame())
    found = report_of("perfect", read, known, splits=["ood"], bootstrap=0)
    det = next(drawing for drawing in draw(found) if drawing.name == "det")
    assert "Out of domain: EER 0.0 %" in words(det)


def test_a_figure_of_the_page_has_no_styles_of_its_own(drawings: dict[str, Drawing]) -> None:
    html = inline(drawings["det"].svg, "det", 'Told "so" & <so>')
    root = ElementTree.fromstring(html)
    assert root.get("role") == "img"
    assert root.get("aria-label") == 'Told "so" & <so>'
    assert root.get("width") is None
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert ids
    assert all(one and one.startswith("det-") for one in ids)
    for element in root.iter():
        assert element.get("style") is None
        assert element.tag != f"{SVG}style"
        for key in ("fill", "stroke"):
            # Colours of the figure's own would not follow the page into the dark.
            assert not (element.get(key) or "").startswith("#"), element.attrib
    assert {f"var(--series-{number})" for number in (0, 1)} <= {
        element.get("stroke") for element in root.iter()
    }


@pytest.mark.slow
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, False), (1280, True)])
def test_in_a_browser(
    width: int, dark: bool, example: Report, drawings: dict[str, Drawing], tmp_path: Path
) -> None:
    need_chromium()
    (tmp_path / "r.html").write_text(page(example, drawings), encoding="utf-8")
    address = (tmp_path / "r.html").as_uri()
    with Browser() as browser, browser.open(address, width=width, dark=dark) as opened:
        assert not violations(opened)
        assert overflow(opened) <= 0
        assert browser.requests == [address]
        # The colours of the figures are those of the page, light or dark.
        paper = opened.evaluate("getComputedStyle(document.body).backgroundColor")
        shown = opened.evaluate("getComputedStyle(document.querySelector('figure svg path')).fill")
        assert shown == paper
        # A word of a figure can be read on a phone.
        smallest = opened.evaluate(
            "Math.min(...[...document.querySelectorAll('figure svg text')]"
            ".map(text => [parseFloat(getComputedStyle(text).fontSize), text.getScreenCTM()])"
            ".map(([size, at]) => size * Math.hypot(at.a, at.b)))"
        )
        assert smallest >= 8
        opened.keyboard.press("Tab")
        assert opened.evaluate("document.activeElement.textContent") == "Skip to the content"
        opened.keyboard.press("Enter")
        assert opened.evaluate("document.activeElement.id") == "main"
