"""From predictions to a report's page and figures on the disk."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cfbench import api
from cfbench.content import DEFAULT_TRACK
from cfbench.entry import predictions_of
from cfbench.errors import CfbenchError
from cfbench.files import write_bytes, write_text
from cfbench.report.data import report_of
from cfbench.report.figures import draw
from cfbench.report.page import page
from cfbench.submission import DESCRIPTION, LARGEST_DESCRIPTION, parse_submission
from cfbench.verification import read_bounded

_MARK = b'<meta name="generator" content="cfbench report">'
# The mark stands before the style sheet.
_START = 4096


@dataclass(frozen=True)
class Written:
    """A report that was written.

    Attributes:
        page: Where it is.
        figures: Where its figures are, SVG and PNG.
        count: How many figures there are.
        notes: What a reader should know of how the files were read.
    """

    page: Path
    figures: Path
    count: int
    notes: tuple[str, ...]


def write_report(
    predictions: Path,
    output: Path,
    figures: Path | None = None,
    name: str | None = None,
    *,
    protocol: Path | None = None,
    track: str = DEFAULT_TRACK,
    splits: Sequence[str] | None = None,
    tasks: Sequence[str] | None = None,
    format: str = "auto",
    logits: bool = False,
    allow_missing: bool = False,
    bootstrap: int = 1000,
    seed: int = 0,
    errors: int = 10,
) -> Written:
    """Score predictions, and write the report's page and its figures.

    Args:
        predictions: A file, a folder of the authors' score files, or a submission's folder.
        output: The page.
        figures: The folder of figures; None for one beside the page, of its name.
        name: What the system is called; None for the submission's or the file's name.
        protocol: A list, or a folder of lists; see `api.read_protocol`.
        track: The name of a track, or the path of a track file.
        splits: Which splits to score; None for all that the track scores.
        tasks: Ids or names of the tasks to score; None for all that are answered.
        format: Of the predictions.
        logits: The numbers are logits, not probabilities.
        allow_missing: Score utterances without a prediction as wrong.
        bootstrap: Resamples for intervals; 0 leaves intervals out.
        seed: Of the resamples.
        errors: How many of the most confident errors are named, a task and split.

    Raises:
        CfbenchError: Predictions or protocol cannot be used, something cannot be written, or
            matplotlib is not installed.
    """
    folder = figures or output.with_name(f"{output.stem}-figures")
    _check_places(output, folder, predictions)
    place, as_logits = predictions_of(predictions, logits)
    read, known = api.read_both(
        place, protocol, track, splits, tasks, format, as_logits, allow_missing
    )
    named = name or _name_of(predictions)
    found = report_of(named, read, known, splits, allow_missing, bootstrap, seed, errors)
    drawings = {drawing.name: drawing for drawing in draw(found)}
    write_text(output, page(found, drawings))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CfbenchError(
            f"{folder}: no folder of figures can be made: {error.strerror}", "give --figures DIR"
        ) from None
    for drawing in drawings.values():
        write_bytes(folder / f"{drawing.name}.svg", drawing.svg)
        write_bytes(folder / f"{drawing.name}.png", drawing.png)
    return Written(output, folder, len(drawings), (*read.notes, *known.notes))


def _name_of(predictions: Path) -> str:
    """A submission's name for its system, or the file's own."""
    described = predictions / DESCRIPTION
    if described.is_file():
        content = read_bounded(described, LARGEST_DESCRIPTION)
        return parse_submission(content, str(described)).system.name
    return predictions.resolve().name


def _check_places(page_path: Path, folder: Path, predictions: Path) -> None:
    """Refuse, before work is done, to replace what is no report: the predictions, say."""
    if not page_path.parent.is_dir():
        raise CfbenchError(f"{page_path}: there is no folder {page_path.parent}", "make it first")
    if folder.exists() and not folder.is_dir():
        raise CfbenchError(f"{folder}: no folder, so no figures can be in it", "give --figures DIR")
    if not page_path.is_file():
        return
    with page_path.open("rb") as file:
        start = file.read(_START)
    other = bool(start) and _MARK not in start
    if other or (predictions.exists() and page_path.samefile(predictions)):
        raise CfbenchError(f"{page_path}: is there already and no report", "name another file")
