"""Records that are declared in a file: frozen, and checked when they are loaded."""

import tomllib
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cfbench.errors import CfbenchError, clip

NAME = r"^[a-z0-9][a-z0-9._-]{0,63}$"
"""What names of classes, subsets and tracks look like."""


class Record(BaseModel):
    """A record whose every key is known; an unknown one is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


_R = TypeVar("_R", bound=Record)


class Reference(Record):
    """Where a definition comes from."""

    text: str = Field(min_length=1)
    url: str = Field(pattern=r"^https://")


def parsed(text: str, where: str) -> dict[str, Any]:
    """The content of a TOML file.

    Args:
        text: Of the file.
        where: What messages call it.

    Raises:
        CfbenchError: It is not TOML.
    """
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise CfbenchError(f"{where}: not TOML: {error}", "see docs/protocols.md") from None


def validated(model: type[_R], data: Mapping[str, Any], where: str) -> _R:
    """A record from its fields.

    Args:
        model: Of which kind.
        data: The fields.
        where: What messages call their place.

    Raises:
        CfbenchError: A field is missing, unknown or not what it must be.
    """
    for word in _strings(data):
        if not word.replace("\n", " ").isprintable():
            hint = "text is printable, without control characters"
            raise CfbenchError(f"{where}: '{clip(word)}' cannot be printed", hint)
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(str(part) for part in first["loc"])
        said = first["msg"].removeprefix("Value error, ")
        raise CfbenchError(f"{where}: {at + ': ' if at else ''}{said}") from None


def _strings(data: object) -> Iterator[str]:
    if isinstance(data, str):
        yield data
    elif isinstance(data, Mapping):
        for key, value in data.items():
            yield from _strings(key)
            yield from _strings(value)
    elif isinstance(data, list | tuple):
        for value in data:
            yield from _strings(value)
