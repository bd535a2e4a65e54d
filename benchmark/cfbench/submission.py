"""Submissions: a system's description, its scorecard, and where its predictions are.

An entry is a folder, `<slug>/` with `submission.toml`, `scorecard.json` and, where they are small,
the predictions themselves. When an entry changes, what was there before is kept in
`versions/<number>/`.
"""

import datetime
import hashlib
import re
import shutil
import tomllib
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import tomli_w
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from cfbench.errors import CfbenchError, Problem, clip
from cfbench.files import write_bytes
from cfbench.scorecard import Scorecard

DESCRIPTION = "submission.toml"
SCORECARD = "scorecard.json"
PREDICTIONS = "predictions"
"""What the file of predictions is called, before its suffix."""
SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".jsonl", ".jsonl.gz", ".parquet")
"""What a submitted file of predictions may be."""
VERSIONS = "versions"
VERIFIED = "verified"
"""The folder of receipts beside the entries; no entry may be called so."""

LARGEST_DESCRIPTION = 64 * 1024
LARGEST_SCORECARD = 8 * 1024**2
LARGEST_SHIPPED = 20 * 1024**2
"""Predictions that are larger stay where they are published, and are given by their address."""

_SLUG = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_LONGEST_SLUG = 64
# Names that a file cannot have on Windows.
_DEVICES = (
    "con",
    "prn",
    "aux",
    "nul",
    *(f"{port}{n}" for port in ("com", "lpt") for n in range(10)),
)
# And those that mean something beside the entries.
_RESERVED = frozenset({*_DEVICES, VERIFIED, VERSIONS, "readme", "site"})
_URL = re.compile(r"https?://[^\s\"'<>`\\]+", re.ASCII)


def _printable(text: str) -> str:
    # Text that steers a terminal, or turns the direction of what is read after it.
    if not text.replace("\n", " ").isprintable():
        raise ValueError("text is printable, without control characters")
    if text != text.strip():
        raise ValueError("text neither begins nor ends with a space")
    return text


def _line(text: str) -> str:
    if "\n" in text:
        raise ValueError("one line")
    return _printable(text)


def _web_address(text: str) -> str:
    if text and not _URL.fullmatch(text):
        raise ValueError("an address that begins with https:// or http://, or nothing")
    return text


def _is_slug(text: str) -> str:
    if not _SLUG.fullmatch(text) or len(text) > _LONGEST_SLUG or text in _RESERVED:
        raise ValueError(
            f"small letters, digits and single hyphens, at most {_LONGEST_SLUG}, and no name that "
            "some system keeps for itself (con, aux, verified)"
        )
    return text


Line = Annotated[str, Field(max_length=200), AfterValidator(_line)]
WebAddress = Annotated[str, Field(max_length=500), AfterValidator(_web_address)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Slug = Annotated[str, AfterValidator(_is_slug)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class System(_Record):
    """What was submitted, in its authors' words.

    Attributes:
        name: As the leaderboard shows it.
        team: Who made it.
        description: A few sentences.
        contact: How to reach them.
        licence: Under which the predictions may be used.
        training_data: Everything that it learnt from, the front end's data aside.
        only_track_data: Whether that is nothing but the track's own training and development
            splits.
        date: Of the result.
        paper: Its address.
        code: Its address.
        parameters: How many, the front end included.
        front_end: A pre-trained model that it builds on.
        front_end_data: What that was trained on.
        preprocessing: What is done to the audio first.
    """

    name: Annotated[str, Field(min_length=1, max_length=80), AfterValidator(_line)]
    team: Annotated[str, Field(min_length=1, max_length=120), AfterValidator(_line)]
    description: Annotated[str, Field(min_length=1, max_length=2000), AfterValidator(_printable)]
    contact: Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_line)]
    licence: Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_line)]
    training_data: tuple[Line, ...] = Field(min_length=1, max_length=20, strict=False)
    only_track_data: bool
    date: datetime.date
    paper: WebAddress = ""
    code: WebAddress = ""
    parameters: Annotated[int, Field(ge=0, le=10**14)] | None = None
    front_end: Line = ""
    front_end_data: Line = ""
    preprocessing: Line = ""


class Answers(_Record):
    """Where the predictions are.

    Attributes:
        address: The name of a file of the entry, or an address on the Hub that names a commit.
        sha256: Of the file.
        logits: Its numbers are logits, not probabilities.
    """

    address: Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_line)]
    sha256: Sha256
    logits: bool = False

    @property
    def is_remote(self) -> bool:
        """Whether the predictions are elsewhere."""
        return "://" in self.address


class Claim(_Record):
    """What was scored on what, as the submission says; nobody relies on it."""

    track: Line
    track_version: Line
    cfbench: Line
    tasks: dict[Line, Line] = Field(min_length=1)
    protocol: dict[Line, Sha256] = Field(min_length=1)
    scorecard: Sha256


class Submission(_Record):
    """The content of `submission.toml`.

    Attributes:
        slug: The name of the entry's folder.
        version: 1, and one more with each change.
        owner: The Hub account that pushed it; empty before.
        reference: A line for comparison, made by the keepers of the leaderboard.
    """

    schema_version: Literal["1"] = "1"
    slug: Slug
    version: Annotated[int, Field(ge=1, le=9999)] = 1
    owner: Annotated[str, Field(max_length=96, pattern=r"^[A-Za-z0-9._-]*$")] = ""
    reference: bool = False
    system: System
    predictions: Answers
    result: Claim

    @model_validator(mode="after")
    def _names_a_file(self) -> Self:
        if not self.predictions.is_remote and self.predictions.address not in file_names():
            raise ValueError(
                f"predictions.address: '{clip(self.predictions.address)}' is neither an address "
                f"nor one of {', '.join(file_names())}"
            )
        return self

    def to_toml(self) -> str:
        """The file's text; the same submission has the same bytes."""
        return tomli_w.dumps(self.model_dump(exclude_none=True), multiline_strings=False)


def file_names() -> list[str]:
    """What an entry's own file of predictions may be called."""
    return [PREDICTIONS + suffix for suffix in SUFFIXES]


def slug_of(name: str) -> str:
    """A folder's name for a system's name, safe on every file system.

    >>> slug_of("Wav2Vec2-AASIST (M1), große Fassung")
    'wav2vec2-aasist-m1-grosse-fassung'
    """
    plain = unicodedata.normalize("NFKD", name.casefold()).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9]+", "-", plain)[:_LONGEST_SLUG].strip("-")
    if not slug or slug in _RESERVED:
        return f"system-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return slug


def parse_submission(content: bytes, where: str) -> Submission:
    """Read `submission.toml`.

    Raises:
        CfbenchError: Every problem of it.
    """
    if len(content) > LARGEST_DESCRIPTION:
        raise CfbenchError(
            f"{where}: {len(content):,} bytes", f"a description has at most {LARGEST_DESCRIPTION:,}"
        )
    try:
        data = tomllib.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        told = clip(str(error), 200) or type(error).__name__
        raise CfbenchError(f"{where}: not TOML: {told}", "see docs/submissions.md") from None
    return _validated(Submission, data, where)


def make_system(fields: Mapping[str, Any]) -> System:
    """A system's description from fields; problems name the options of `cfbench submit`.

    Raises:
        CfbenchError: Every problem.
    """
    return _validated(System, dict(fields), "the description of the system")


def describe(
    card: Scorecard,
    content: bytes,
    system: System,
    predictions: Answers,
    slug: str | None = None,
    reference: bool = False,
) -> Submission:
    """A submission from a scorecard.

    Args:
        card: The scorecard.
        content: The bytes of its file.
        system: What was scored.
        predictions: Where its answers are.
        slug: The entry's name; None for one made of the system's name.
        reference: A line for comparison, without a place.
    """
    claim = Claim(
        track=card.track.name,
        track_version=card.track.version,
        cfbench=card.cfbench_version,
        tasks={task_id: task.version for task_id, task in card.tasks.items()},
        protocol={name: split.digest for name, split in card.protocol.items()},
        scorecard=hashlib.sha256(content).hexdigest(),
    )
    fields = {
        "slug": slug or slug_of(system.name),
        "reference": reference,
        "system": system,
        "predictions": predictions,
        "result": claim,
    }
    return _validated(Submission, fields, "the submission")


def place(
    board: Path, submission: Submission, scorecard: bytes, predictions: bytes | None
) -> Submission:
    """Put an entry into a folder of entries; what was there before is kept as a version.

    Args:
        board: The folder of entries; made where it is not there.
        submission: Its version is set here.
        scorecard: The bytes of the scorecard's file.
        predictions: Of the file of predictions, where the entry holds it.

    Returns:
        The submission as it was written; the present one where nothing has changed.

    Raises:
        CfbenchError: The slug is another system's, or something cannot be written.
    """
    folder = board / submission.slug
    present = _present(folder)
    if present is not None:
        if present.system.name != submission.system.name:
            raise CfbenchError(
                f"{folder}: is the entry of '{clip(present.system.name)}'",
                "give this one another folder: --slug NAME",
            )
        submission = submission.model_copy(
            update={"version": present.version, "owner": present.owner}
        )
        if submission == present:
            return present
        submission = submission.model_copy(update={"version": present.version + 1})
        _keep(folder, present.version)
    folder.mkdir(parents=True, exist_ok=True)
    # The description comes last: until it is there, the entry's digests tell that it is not whole.
    if predictions is not None:
        write_bytes(folder / submission.predictions.address, predictions)
    write_bytes(folder / SCORECARD, scorecard)
    write_bytes(folder / DESCRIPTION, submission.to_toml().encode())
    for name in file_names():
        if name != submission.predictions.address:
            (folder / name).unlink(missing_ok=True)
    return submission


def _present(folder: Path) -> Submission | None:
    path = folder / DESCRIPTION
    try:
        return parse_submission(path.read_bytes(), str(path))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CfbenchError(f"{path}: cannot be read: {error.strerror}") from None


def _keep(folder: Path, version: int) -> None:
    """Copy the present files into the folder of their version; a second time changes nothing."""
    kept = folder / VERSIONS / str(version)
    if kept.is_dir():
        return
    half = folder / VERSIONS / f".{version}"
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(parents=True)
    for item in folder.iterdir():
        if item.is_file() and item.name in (DESCRIPTION, SCORECARD, *file_names()):
            shutil.copyfile(item, half / item.name)
    half.rename(kept)


def _validated(model: Any, data: Mapping[str, Any], where: str) -> Any:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise CfbenchError.of([_problem(where, found) for found in error.errors()]) from None


def _problem(where: str, found: Any) -> Problem:
    at = ".".join(str(part) for part in found["loc"])
    said = found["msg"].removeprefix("Value error, ")
    if found["type"] == "missing":
        return Problem(f"{where}: {at} is missing", _HINTS.get(at.rpartition(".")[2], ""))
    if found["type"] == "extra_forbidden":
        return Problem(f"{where}: {clip(at)} is not known", "see docs/submissions.md")
    given = "" if isinstance(found["input"], dict) else f" (it is {clip(repr(found['input']))})"
    return Problem(f"{where}: {clip(at)}: {said}{given}" if at else f"{where}: {said}")


_HINTS = {
    "training_data": "everything that the system learnt from: --training-data, once or more",
    "only_track_data": "--only-track-data or --other-data: was anything else than the track's own "
    "training and development splits used?",
    "licence": "under which the predictions may be used: --licence CC-BY-4.0",
}
