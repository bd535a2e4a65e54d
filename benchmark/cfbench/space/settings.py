"""What the host of an app decides: `space.toml`, and variables of the environment."""

import datetime
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cfbench.content import DEFAULT_TRACK
from cfbench.errors import CfbenchError, Problem, clip
from cfbench.submission import LARGEST_SHIPPED
from cfbench.verification import Limits

FILE = "space.toml"
PREFIX = "CFBENCH_SPACE_"
"""A variable of the environment with this prefix stands for a key of the file's first part."""

_FROM_ENVIRONMENT = ("state", "results", "private", "reveal", "track", "protocol", "title")
_MIB = 2**20

Repo = Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}$")]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Bounds(_Record):
    """What uploads may take.

    Attributes:
        upload_mib: Mebibytes of an uploaded file. Beyond 20 it can be scored, but not sent: an
            entry holds no larger file.
        per_day: Uploads that are scored, a user and day in UTC.
        failed_per_day: Uploads that are refused, a user and day.
        at_once: How many are scored at once.
        waiting: How many may wait for that.
        per_user: How many of these may be one user's, where users log in.
        memory_mib: Mebibytes that scoring one may allocate.
        seconds: That scoring one may take.
        body_seconds: That sending a file to the app may take.
        receiving: How many files are received at once.
        kept_mib: Mebibytes of files that are kept for those who have not sent them yet.
        kept_minutes: How long they are kept.
    """

    upload_mib: Annotated[int, Field(ge=1, le=1024)] = LARGEST_SHIPPED // _MIB
    per_day: Annotated[int, Field(ge=1, le=10_000)] = 10
    failed_per_day: Annotated[int, Field(ge=1, le=10_000)] = 100
    at_once: Annotated[int, Field(ge=1, le=64)] = 2
    waiting: Annotated[int, Field(ge=1, le=256)] = 20
    per_user: Annotated[int, Field(ge=1, le=256)] = 3
    memory_mib: Annotated[int, Field(ge=256)] = 3072
    seconds: Annotated[int, Field(ge=1, le=3600)] = 120
    body_seconds: Annotated[int, Field(ge=1, le=3600)] = 120
    receiving: Annotated[int, Field(ge=1, le=256)] = 16
    kept_mib: Annotated[int, Field(ge=1)] = 2048
    kept_minutes: Annotated[int, Field(ge=1, le=1440)] = 60

    @property
    def upload(self) -> int:
        """Bytes of an uploaded file."""
        return self.upload_mib * _MIB

    @property
    def verification(self) -> Limits:
        """What scoring an upload may take."""
        return Limits(memory=self.memory_mib * _MIB, seconds=float(self.seconds))


class Settings(_Record):
    """The content of `space.toml`.

    Attributes:
        title: Of the page.
        track: The name of a track, or the path of a track file; where there is a private
            repository, a file of that.
        protocol: Its lists; None for those that it ships or CFBENCH_PROTOCOLS names, or those in
            the folder `protocol/` of the private repository.
        results: The dataset repository of the entries; None for a folder of this machine.
        under: The folder of the entries in it; empty for the repository itself.
        board: The folder of entries, where there is no repository.
        private: The private dataset repository: `protocol/`, `hidden/` and `private/`.
        hidden: A table of the labels that are held back; None for that of the private repository.
        reveal: From this day (UTC) on the results on what is held back are shown; None never.
        owners: Users who may change any entry.
        state: A folder that outlives a restart; nothing of it is served.
        rebuild_minutes: How often the results are looked at anew.
        login: Users log in with their Hub account; without it there is one user, of this machine.
        limits: What uploads may take.
    """

    title: Annotated[str, Field(min_length=1, max_length=120)] = "cfbench leaderboard"
    track: str = DEFAULT_TRACK
    protocol: Annotated[Path | None, Field(strict=False)] = None
    results: Repo | None = None
    under: Annotated[str, Field(pattern=r"^([A-Za-z0-9_-]+)?$")] = "submissions"
    board: Annotated[Path | None, Field(strict=False)] = None
    private: Repo | None = None
    hidden: Annotated[Path | None, Field(strict=False)] = None
    reveal: Annotated[datetime.date | None, Field(strict=False)] = None
    owners: tuple[str, ...] = Field(default=(), strict=False)
    state: Annotated[Path, Field(strict=False)] = Path("state")
    rebuild_minutes: Annotated[float, Field(gt=0, le=1440)] = 10.0
    login: bool = False
    limits: Bounds = Bounds()

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.results is None) == (self.board is None):
            raise ValueError("give either results (a repository) or board (a folder)")
        return self

    @property
    def entries(self) -> Path:
        """The folder of entries on this machine."""
        if self.board is not None:
            return self.board
        return self.state / "results" / self.under if self.under else self.state / "results"


def read_settings(path: Path, environment: Mapping[str, str] | None = None) -> Settings:
    """Read settings.

    Args:
        path: The file; relative paths in it start from its folder.
        environment: Variables; None for those of this process. In a Space (SPACE_ID) users log in.

    Raises:
        CfbenchError: Every problem of the file.
    """
    environment = os.environ if environment is None else environment
    data = _read(path)
    for key in _FROM_ENVIRONMENT:
        if value := environment.get(PREFIX + key.upper()):
            data[key] = value
    for key in ("protocol", "board", "hidden", "state"):
        if isinstance(data.get(key), str):
            data[key] = str(path.parent / data[key])
    if environment.get("SPACE_ID"):
        data["login"] = True
    return make_settings(data, str(path))


def deployable(path: Path | None, given: Mapping[str, str | None]) -> Settings:
    """Settings for a Space.

    Args:
        path: A file to start from.
        given: What stands in place of what the file has; None leaves that.

    Raises:
        CfbenchError: Every problem.
    """
    data = _read(path) if path is not None else {}
    data |= {key: value for key, value in given.items() if value is not None}
    return make_settings(data, str(path) if path is not None else "the options")


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CfbenchError(
            f"{path}: cannot be read: {error.strerror}", "cfbench leaderboard deploy writes one"
        ) from None
    except (ValueError, RecursionError) as error:
        raise CfbenchError(f"{path}: not TOML: {clip(str(error), 200)}", "see docs/space.md") from (
            None
        )


def make_settings(data: Mapping[str, Any], where: str = "the settings") -> Settings:
    """Settings from data.

    Raises:
        CfbenchError: Every problem.
    """
    try:
        return Settings.model_validate(dict(data))
    except ValidationError as error:
        problems = []
        for found in error.errors():
            at = ".".join(str(part) for part in found["loc"])
            said = re.sub(r"^Value error, ", "", found["msg"])
            problems.append(Problem(f"{where}: {clip(at) + ': ' if at else ''}{said}"))
        raise CfbenchError.of(problems) from None
