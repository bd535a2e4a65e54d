"""A system's report: what it shows against values derived by hand, and the page itself."""

import base64
import hashlib
import re
import sys
from collections.abc import Callable
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import cfbench
import entries
import samples
from cfbench import api
from cfbench.errors import CfbenchError
from cfbench.metrics.detection import det_curve, equal_error_rate
from cfbench.report.build import write_report
from cfbench.report.curves import drawn_curve
from cfbench.report.data import Report, report_of
from cfbench.report.figures import draw
from cfbench.report.page import page
from cfbench.tasks import find_track

EXAMPLE = ("--track", entries.TRACK, "--bootstrap", "20")
EVIL = "<script>alert(1)</script>"


class Seen(HTMLParser):
    """What a page holds: its tags with their attributes, and the text of it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def report(frame: pl.DataFrame, name: str = "mine", protocol: Any = None, **options: Any) -> Report:
    """A report on the small lists of `samples`."""
    truth = samples.protocol_frame() if protocol is None else protocol
    known = cfbench.read_protocol(truth)
    tasks, logits = options.pop("tasks", None), options.pop("logits", False)
    read = cfbench.read_predictions(frame, tasks=tasks, logits=logits)
    return report_of(name, read, known, bootstrap=options.pop("bootstrap", 0), **options)


def drawn(found: Report) -> str:
    return page(found, {drawing.name: drawing for drawing in draw(found)})


def section(html: str, title: str) -> str:
    """The text of one section of a page."""
    part = html.partition(f">{title}</h2>")[2].partition("</section>")[0]
    assert part, title
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", part)).split())


def answer(frame: pl.DataFrame, utt_id: str, **columns: float) -> pl.DataFrame:
    """Predictions of which one utterance's are others."""
    here = pl.col("utt_id") == utt_id
    return frame.with_columns(
        pl.when(here).then(value).otherwise(pl.col(name)).alias(name)
        for name, value in columns.items()
    )


@pytest.fixture(scope="module")
def example() -> Report:
    read = cfbench.read_predictions(entries.example_predictions())
    return report_of("Example", read, cfbench.read_protocol(track=entries.TRACK), bootstrap=200)


@pytest.fixture(scope="module")
def example_page(example: Report) -> str:
    return drawn(example)


@pytest.fixture(scope="module")
def wrong() -> pl.DataFrame:
    """Everything right with 0.7, but for three answers in VQ, in domain."""
    frame = samples.probability_frame()
    frame = answer(frame, "p227_901", vq_real=0.04, vq_mvq=0.9, vq_svq=0.03, vq_sq=0.03)
    surer = {"vq_real": 0.0, "vq_mvq": 0.02, "vq_svq": 0.0, "vq_sq": 0.98}
    frame = answer(frame, "p228_901_ticodec_1g1r", **surer)
    return answer(frame, "p227_902_snac_24khz", vq_real=0.4, vq_mvq=0.3, vq_svq=0.2, vq_sq=0.1)


def test_the_most_confident_errors_come_first(wrong: pl.DataFrame) -> None:
    found = report(wrong).errors["vq"]["id"]
    assert (found.wrong, found.sure, found.utterances) == (3, 2, 18)
    assert [(row.utt_id, row.source, row.truth, row.answer) for row in found.most_confident] == [
        ("p228_901_ticodec_1g1r", "ticodec_1g1r", "svq", "sq"),
        ("p227_901", "VCTK", "real", "mvq"),
        ("p227_902_snac_24khz", "snac_24khz", "mvq", "real"),
    ]
    given = [(row.probability, row.of_truth) for row in found.most_confident]
    assert np.array(given) == pytest.approx(np.array([(0.98, 0), (0.9, 0.04), (0.4, 0.3)]))
    assert report(wrong).errors["vq"]["ood"].most_confident == ()


def test_as_many_errors_are_named_as_are_asked_for(wrong: pl.DataFrame) -> None:
    found = report(wrong, errors=1).errors["vq"]["id"]
    assert (found.wrong, len(found.most_confident)) == (3, 1)


def test_equally_sure_errors_stand_by_their_ids() -> None:
    said = {"dec_real": 0.1, "dec_time": 0.1, "dec_freq": 0.8}
    frame = samples.probability_frame()
    for name in ("p228_901_snac_24khz", "p227_901_llm_codec", "p227_902_snac_24khz"):
        frame = answer(frame, name, **said)
    found = report(frame[::-1]).errors["dec"]["id"].most_confident
    assert [row.utt_id for row in found] == [
        "p227_901_llm_codec", "p227_902_snac_24khz", "p228_901_snac_24khz",
    ]  # fmt: skip


def test_reliability_is_counted_in_the_bins_of_the_ece(wrong: pl.DataFrame) -> None:
    bins = report(wrong).reliability["vq"]["id"]
    # 0.4 lies in (5/15, 6/15], 0.7 in (10/15, 11/15], 0.9 in (13/15, 14/15], 0.98 in the last.
    assert bins.counts.tolist() == [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 15, 0, 0, 1, 1]
    there = bins.counts > 0
    assert bins.confidence[there] == pytest.approx([0.4, 0.7, 0.9, 0.98])
    assert bins.accuracy[there] == pytest.approx([0, 1, 0, 0])
    assert np.isnan(bins.accuracy[~there]).all()


def test_the_diagram_gives_the_ece_of_the_scorecard(example: Report) -> None:
    seen = 0
    for task_id, by_split in example.reliability.items():
        for split, bins in by_split.items():
            there = bins.counts > 0
            gap = np.abs(bins.accuracy - bins.confidence)[there] * bins.counts[there]
            metrics = example.card.tasks[task_id].splits[split].overall.metrics
            assert gap.sum() / bins.counts.sum() == pytest.approx(metrics["ece"].value, abs=1e-9)
            seen += 1
    assert seen == 8


def test_error_rates_at_a_threshold_are_counted() -> None:
    spoofs = [row.utt_id for row in samples.CORS if row.bin == "spoof"]
    frame = samples.probability_frame()
    for number, name in enumerate(spoofs):
        frame = answer(frame, name, bin_bonafide=(number + 1) / 20)
    for name, score in (("p227_901", 0.12), ("p227_902", 0.52), ("p228_901", 0.9)):
        frame = answer(frame, name, bin_bonafide=score)
    found = report(frame).detection["id"]
    assert (found.bonafide, found.spoofed) == (3, 15)
    # Spoofs have 0.05, 0.10, ... 0.75; of the bona fide 0.12 and 0.52 are below 0.55.
    miss, false_alarm = found.rates_at(0.55)
    assert (miss, false_alarm) == pytest.approx((2 / 3, 5 / 15))
    assert found.rates_at(0.9) == pytest.approx((2 / 3, 0))
    # From 0.12 to 0.52 one of three is missed, and the spoofs from 0.55 on are accepted: 5 of 15.
    assert found.eer == pytest.approx(1 / 3)


def test_detection_is_that_of_the_scorecard(example: Report) -> None:
    task = example.card.tasks["bin"]
    transfer = task.threshold_transfer
    assert transfer is not None
    for split, found in example.detection.items():
        assert found.eer == task.splits[split].overall.metrics["eer"].value
    assert example.detection["id"].threshold == transfer.threshold
    carried = example.detection["ood"].rates_at(transfer.threshold)
    assert carried == (transfer.miss.value, transfer.false_alarm.value)


def test_a_drawn_curve_leaves_out_nothing_that_can_be_seen() -> None:
    generator = np.random.default_rng(1)
    bonafide, spoof = (np.sort(generator.normal(mean, 1, 50_000)) for mean in (1, -1))
    curve = det_curve(bonafide, spoof)
    false_alarm, miss = drawn_curve(curve)
    assert 100 < miss.size < 4000
    # Between drawn points the curve of all scores stays within a hair of the line between them.
    order = np.argsort(miss, kind="stable")
    inside = (curve.miss > 0.001) & (curve.false_alarm > 0.001)
    between = np.interp(curve.miss[inside], miss[order], false_alarm[order])
    assert np.log(between / curve.false_alarm[inside]) == pytest.approx(0, abs=0.05)


def test_a_drawn_curve_of_ties_is_straight_between_error_rates() -> None:
    curve = det_curve(np.full(4, 0.5), np.full(9, 0.5))
    false_alarm, miss = drawn_curve(curve)
    assert miss.size > 10
    assert false_alarm + miss == pytest.approx(1)
    assert equal_error_rate(curve).value == 0.5


def test_the_hardest_sources_are_those_that_are_right_least_often(example: Report) -> None:
    truth = entries.example_truth().filter(pl.col("split") == "ood")
    names = ["real", "time", "freq"]
    said = truth.select("utt_id").join(
        entries.example_predictions(), on="utt_id", maintain_order="left"
    )
    best = said.select([f"dec_{n}" for n in names]).to_numpy().argmax(axis=1)
    right = pl.Series("right", [names[i] for i in best]) == truth["dec"].cast(pl.String)
    shares = (
        truth.with_columns(right.alias("right"), fake=pl.col("bin").cast(pl.String) == "spoof")
        .group_by("source", "fake")
        .agg(pl.col("right").mean(), n=pl.len())
        .filter(pl.col("right") < 1)
        .sort("right", "source", pl.col("fake").not_())
        .head(10)
    )
    found = example.hardest["dec"]["ood"]
    assert len(found) == 10
    assert [(row.source, not row.bonafide) for row in found] == list(
        shares.select("source", "fake").iter_rows()
    )
    assert [row.accuracy.value for row in found] == pytest.approx(shares["right"].to_list())
    assert [row.utterances for row in found] == shares["n"].to_list()


def test_the_page_has_the_numbers_of_the_scorecard(example: Report, example_page: str) -> None:
    text = section(example_page, "Results")
    for task in example.card.tasks.values():
        for split in task.splits.values():
            number = split.overall.metrics[task.headline]
            assert number.value is not None
            assert number.interval is not None
            low, high = number.interval.low, number.interval.high
            assert f"{100 * number.value:.1f} [{100 * low:.1f}, {100 * high:.1f}]" in text
    made = section(example_page, "How this was made")
    for known in (
        *(split.digest for split in example.card.protocol.values()),
        example.card.predictions.digest,
        f"{entries.TRACK}, version {example.card.track.version}",
        f"cfbench {cfbench.__version__}",
    ):
        assert known in made


def test_the_carried_threshold_has_intervals(example: Report, example_page: str) -> None:
    transfer = example.card.tasks["bin"].threshold_transfer
    assert transfer is not None
    text = section(example_page, "Detection")
    for number in (transfer.miss, transfer.false_alarm):
        assert number.value is not None
        assert number.interval is not None
        assert f"{100 * number.value:.1f} [{100 * number.interval.low:.1f}," in text


def test_nothing_on_the_page_can_ask_for_anything(example_page: str) -> None:
    seen = Seen(example_page)
    assert not {"script", "iframe", "object", "embed", "img", "form", "base", "image"} & {
        tag for tag, _ in seen.tags
    }
    assert seen.of("link") == [{"rel": "icon", "href": "data:,"}]
    for tag, attributes in seen.tags:
        assert not any(name.startswith("on") or name == "style" for name in attributes), tag
        for name in ("href", "src", "xlink:href", "action"):
            assert (attributes.get(name) or "#").startswith(("#", "data:,")), (tag, attributes)
    assert set(re.findall(r"https?://[^\s\"'<)]+", example_page)) == {"http://www.w3.org/2000/svg"}
    assert "@import" not in example_page
    assert set(re.findall(r"url\(([^)]*)\)", example_page)) == {
        f"url(#{name})"[4:-1] for name in re.findall(r"url\(#([^)]*)\)", example_page)
    }


def test_the_policy_allows_the_page_its_own_style_and_nothing_else(example_page: str) -> None:
    policy = next(
        one["content"] or ""
        for one in Seen(example_page).of("meta")
        if one.get("http-equiv") == "Content-Security-Policy"
    )
    style = example_page.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy.split("; ") == [
        "default-src 'none'", f"style-src 'sha256-{digest}'", "img-src data:", "base-uri 'none'",
        "form-action 'none'",
    ]  # fmt: skip


def test_every_id_is_there_once_and_every_reference_leads_to_one(example_page: str) -> None:
    seen = Seen(example_page)
    ids = [attributes["id"] for _, attributes in seen.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    wanted = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', example_page))
    assert {first or second for first, second in wanted} <= set(ids)
    for attributes in seen.of("section"):
        assert attributes["aria-labelledby"] in ids


def test_names_of_others_stay_text() -> None:
    renamed = samples.protocol_frame().with_columns(
        pl.col("utt_id").str.replace("p227_901_llm_codec", EVIL, literal=True),
        pl.col("source", "group").replace({"USLM": f"{EVIL}&", "llm_codec": f'"{EVIL}'}),
        pl.col("subset").replace("unseen-codec", f"'{EVIL}"),
    )
    frame = samples.probability_frame(right=0.2).with_columns(
        pl.col("utt_id").str.replace("p227_901_llm_codec", EVIL, literal=True)
    )
    html = drawn(report(frame, f"{EVIL}\x1b[31m", renamed, errors=100, tasks=["aux"]))
    seen = Seen(html)
    assert not seen.of("script")
    assert "\x1b" not in html
    text = "".join(seen.text)
    for written in (EVIL, f"{EVIL}&", f'"{EVIL}', f"'{EVIL}"):
        assert written in text
    assert seen.of("title")
    assert f"{EVIL}\ufffd[31m: cfbench report" in text


def test_the_same_answers_give_the_same_bytes(tmp_path: Path, run_cli: Callable) -> None:
    frame = entries.example_predictions()
    frame.write_csv(tmp_path / "p.csv")
    shuffled = tmp_path / "other"
    shuffled.mkdir()
    frame[np.random.default_rng(0).permutation(frame.height)].write_csv(shuffled / "p.csv")
    for folder in (tmp_path, shuffled):
        out = ("-o", folder / "report.html", "--tasks", "bin,dec")
        assert run_cli("report", folder / "p.csv", *EXAMPLE, *out).code == 0
    paths = [Path("report.html"), *(
        path.relative_to(tmp_path) for path in sorted((tmp_path / "report-figures").iterdir())
    )]  # fmt: skip
    assert len(paths) == 1 + 2 * 9
    for path in paths:
        assert (tmp_path / path).read_bytes() == (shuffled / path).read_bytes(), path


def test_labels_have_no_curves_and_the_page_says_so() -> None:
    found = report(samples.label_frame(), tasks=["bin", "vq"])
    assert not found.detection
    assert not found.reliability
    html = drawn(found)
    for title in ("Calibration", "Most confident errors"):
        told = section(html, title)
        assert told.startswith("BIN, VQ: not shown, as the predictions are labels"), title
    assert "In domain: n/a, only labels are given." in section(html, "Detection")
    assert "only labels are given" in section(html, "All metrics")
    assert "macro-F1 (%)" in section(html, "Results")


def test_labels_and_probabilities_can_stand_side_by_side() -> None:
    frame = (
        samples.label_frame()
        .select("utt_id", "vq")
        .join(samples.probability_frame().select("utt_id", "^dec_.*$"), on="utt_id")
    )
    html = drawn(report(frame))
    assert "VQ: not shown" in section(html, "Calibration")
    assert "Decoder type (DEC)" in section(html, "Calibration")
    assert "Spoof detection (BIN) was not answered." in section(html, "Detection")
    assert "Not shown" in section(html, "Tasks together")


def test_one_task_on_one_split() -> None:
    found = report(samples.probability_frame(), tasks=["vq"], splits=["id"])
    html = drawn(found)
    assert list(found.card.tasks) == ["vq"]
    assert "nothing to hold it against" in section(html, "Results")
    assert "Drop" not in section(html, "Results")
    assert "Out of domain" not in html
    assert [drawing.name for drawing in draw(found)] == [
        "results", "confusion-vq", "sources", "calibration-vq",
    ]  # fmt: skip
    assert "every source is answered right" in section(html, "Sources")


def test_one_split_carries_no_threshold_over() -> None:
    html = drawn(report(samples.probability_frame(), splits=["ood"], tasks=["bin"]))
    assert "No threshold is carried over" in section(html, "Detection")


def test_what_is_not_defined_says_why() -> None:
    spoofs = [row for row in samples.EVERYTHING if row.bin == "spoof" or row.split == "id"]
    truth = samples.protocol_frame(spoofs)
    found = report(samples.probability_frame(spoofs), protocol=truth, tasks=["bin"])
    assert list(found.detection) == ["id"]
    html = drawn(found)
    told = "Out of domain: n/a, only one of bona fide and spoof occurs."
    assert told in section(html, "Detection")
    assert "n/a only one of bona fide and spoof occurs" in section(html, "Results")
    assert "n/a the class has no support" in section(html, "All metrics")


def test_groups_too_few_to_resample_are_named() -> None:
    html = drawn(report(samples.probability_frame(), bootstrap=20, tasks=["dec"]))
    assert "Without an interval:" in section(html, "Results")
    assert "3 groups: too few to resample" in section(html, "Results")


def test_missing_utterances_are_wrong_and_no_confident_errors() -> None:
    frame = samples.probability_frame().filter(
        ~pl.col("utt_id").is_in(["p227_901", "p227_902_snac_24khz"])
    )
    with pytest.raises(CfbenchError, match="2 utterances are missing"):
        report(frame)
    found = report(frame, allow_missing=True, tasks=["vq"])
    errors = found.errors["vq"]["id"]
    assert (errors.wrong, errors.utterances) == (0, 16)
    assert found.reliability["vq"]["id"].counts[-1] == 2
    html = drawn(found)
    assert "2 without a prediction, scored as wrong" in html
    assert ">missing</th>" in html
    assert "2 utterances without a prediction count as the most" in section(html, "Calibration")
    assert "no wrong answers" in section(html, "Most confident errors")


def test_a_threshold_of_nothing_is_not_carried_over() -> None:
    frame = samples.probability_frame(samples.COSG)
    html = drawn(report(frame, allow_missing=True, tasks=["bin"]))
    told = section(html, "Detection")
    assert "No threshold is carried over" in told
    assert "In domain 3 15 100.0 n/a Out of domain 8 8 0.0 0.7" in told


def test_utterances_whose_labels_are_held_back_are_named(tmp_path: Path) -> None:
    held = [row for row in samples.EVERYTHING if row.group == "USLM"]
    public = [row for row in samples.EVERYTHING if row not in held]
    samples.protocol_frame(public).drop("subset").write_csv(tmp_path / "protocol.csv")
    samples.protocol_frame(held).select("utt_id", "split").write_csv(tmp_path / "held.csv")
    (tmp_path / "partly.toml").write_text(
        'name = "partly"\ntitle = "Partly public"\nversion = "1"\ndescription = "Made up."\n'
        'tasks = ["bin", "vq", "aux", "dec"]\nscored = ["id", "ood"]\nprotocol = "protocol.csv"\n'
        'held_back = "held.csv"\n[splits.id]\ntitle = "In"\ngroup = "source utterance"\n'
        '[splits.ood]\ntitle = "Out"\ngroup = "generator"\n'
    )
    track = find_track(str(tmp_path / "partly.toml"))
    read = cfbench.read_predictions(samples.probability_frame(), tasks=["aux"])
    known = cfbench.read_protocol(track=track)
    found = report_of("mine", read, known, bootstrap=0)
    assert found.held_back == len(held) == 4
    told = "4 utterances of these splits have labels that are held back: not scored (4 answers"
    assert told in drawn(found)
    only = report_of("mine", read, known, splits=["id"], bootstrap=0)
    assert only.held_back == 0


def test_derived_detection_is_marked() -> None:
    html = drawn(report(samples.probability_frame().drop("bin_bonafide")))
    assert "the score of BIN follows from VQ, AUX and DEC" in section(html, "Detection")
    assert "(BIN, derived)" in section(html, "Results")


def test_logits_are_read_as_such() -> None:
    numbers = samples.probability_frame().with_columns(pl.col(pl.Float64).log())
    bonafide = samples.probability_frame()["bin_bonafide"]
    numbers = numbers.with_columns((bonafide / (1 - bonafide)).log().alias("bin_bonafide"))
    one, two = report(samples.probability_frame()), report(numbers, logits=True)
    for split in ("id", "ood"):
        bins = [found.reliability["bin"][split] for found in (one, two)]
        assert bins[0].counts.tolist() == bins[1].counts.tolist()
        assert np.allclose(bins[0].confidence, bins[1].confidence, equal_nan=True)


def test_the_command_says_where_everything_is(tmp_path: Path, run_cli: Callable) -> None:
    entries.example_predictions().write_csv(tmp_path / "p.csv")
    figures = tmp_path / "paper" / "figures"
    done = run_cli(
        "report", tmp_path / "p.csv", *EXAMPLE, "--tasks", "vq", "--figures", figures, "--name",
        "Mine", "--errors", "3", "-o", tmp_path / "r.html",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert done.out == ""
    assert f"note: the report is in {tmp_path / 'r.html'}\n" in done.err
    assert f"note: 5 figures, as SVG and PNG, in {figures}\n" in done.err
    html = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "<h1>Mine</h1>" in html
    assert section(html, "Most confident errors").count("ex") >= 3
    names = ("calibration-vq", "confusion-vq", "hardest-vq", "results", "sources")
    assert sorted(path.name for path in figures.iterdir()) == [
        f"{name}.{kind}" for name in names for kind in ("png", "svg")
    ]
    assert {path.name for path in tmp_path.iterdir()} == {"p.csv", "r.html", "paper"}


def test_a_submission_gives_its_name_and_what_its_numbers_are(
    tmp_path: Path, run_cli: Callable
) -> None:
    made = entries.make(tmp_path / "board", tmp_path / "work", name="A <b>system</b>")
    done = run_cli("report", made.folder, *EXAMPLE, "--tasks", "bin", "-o", tmp_path / "r.html")
    assert done.code == 0, done.err
    assert "<h1>A &lt;b&gt;system&lt;/b&gt;</h1>" in (tmp_path / "r.html").read_text()


def test_a_report_replaces_a_report_and_nothing_else(tmp_path: Path, run_cli: Callable) -> None:
    predictions = tmp_path / "p.csv"
    entries.example_predictions().write_csv(predictions)
    before = predictions.read_bytes()
    told = run_cli("report", predictions, *EXAMPLE, "-o", predictions)
    assert told.code == 2
    assert "is there already and no report" in told.err
    assert predictions.read_bytes() == before
    other = tmp_path / "other.html"
    other.write_text("<!doctype html>\n<title>a page of the user's</title>\n")
    assert run_cli("report", predictions, *EXAMPLE, "-o", other).code == 2
    ours = ("report", predictions, *EXAMPLE, "--tasks", "dec", "-o", tmp_path / "r.html")
    assert run_cli(*ours).code == 0
    assert run_cli(*ours).code == 0


@pytest.mark.parametrize(
    ("output", "figures", "told"),
    [
        ("no/folder/r.html", None, "there is no folder"),
        ("p.csv/r.html", None, "there is no folder"),
        (".", None, "a folder"),
        ("r.html", "p.csv", "no folder, so no figures can be in it"),
        ("r.html", "p.csv/figures", "no folder of figures can be made"),
    ],
)
def test_places_that_cannot_be_written_to(
    output: str, figures: str | None, told: str, tmp_path: Path, run_cli: Callable
) -> None:
    samples.probability_frame().write_csv(tmp_path / "p.csv")
    samples.protocol_frame().write_csv(tmp_path / "protocol.csv")
    more = [] if figures is None else ["--figures", tmp_path / figures]
    done = run_cli(
        "report", tmp_path / "p.csv", "--protocol", tmp_path / "protocol.csv", "--bootstrap", "0",
        "--tasks", "dec", "-o", tmp_path / output, *more,
    )  # fmt: skip
    assert done.code == 2
    assert told in done.err


def test_bad_predictions_leave_nothing_behind(tmp_path: Path, run_cli: Callable) -> None:
    entries.example_predictions()[1:].write_csv(tmp_path / "p.csv")
    done = run_cli("report", tmp_path / "p.csv", *EXAMPLE, "-o", tmp_path / "r.html")
    assert done.code == 2
    assert "1 utterance is missing: ex1_001" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["p.csv"]


def test_without_matplotlib_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    entries.example_predictions().write_csv(tmp_path / "p.csv")
    with pytest.raises(CfbenchError, match=r"pip install 'cfbench\[figures\]'"):
        write_report(tmp_path / "p.csv", tmp_path / "r.html", track=entries.TRACK, bootstrap=0)
    assert [path.name for path in tmp_path.iterdir()] == ["p.csv"]


def test_predictions_on_the_real_lists_are_reported(protocols: Path) -> None:
    known = api.read_protocol(protocols).only(["id", "ood"])
    generator = np.random.default_rng(3)
    columns = {"utt_id": known.frame["utt_id"]}
    scores = generator.random(known.frame.height)
    columns["bin_bonafide"] = pl.Series(scores)
    found = report_of("random", cfbench.read_predictions(pl.DataFrame(columns)), known, bootstrap=0)
    assert sum(split.utterances for split in found.card.protocol.values()) == 25_202
    assert found.errors["bin"]["id"].most_confident[0].probability > 0.999
    assert "In domain: EER" in section(drawn(found), "Detection")
