"""What goes over the wire: a request, an answer, and what may go wrong with both."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Fault:
    """What goes wrong with the next requests that it fits.

    Attributes:
        status: Answer with this status, and do not do what is asked; 200 leaves the answer as
            it is.
        cut: Close the connection after so many bytes of the answer's body; None does not cut, -1
            closes it before there is an answer at all.
        times: With how many requests.
        method: With requests of this method; empty for all.
        part: With requests whose path holds this.
        without: Headers that are left out of the answer.
        headers: Headers that are added to it.
        body: What the answer's body is instead.
        lost: What is asked is done all the same, and only the answer is not what it was.
        read: Close the connection after so many bytes of the request's body.
    """

    status: int = 200
    cut: int | None = None
    times: int = 1
    method: str = ""
    part: str = ""
    without: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    lost: bool = False
    read: int | None = None

    def fits(self, method: str, path: str) -> bool:
        return self.times > 0 and method.startswith(self.method) and self.part in path

    @property
    def hinders(self) -> bool:
        """Whether what is asked is not done."""
        return not self.lost and (self.status != 200 or self.cut == -1)


@dataclass(frozen=True)
class Request:
    """What was asked."""

    method: str
    target: str
    token: str | None
    range: str | None = None
    body: bytes = b""
    kind: str = ""

    @property
    def query(self) -> dict[str, str]:
        """The last value of each parameter of the address."""
        return {name: values[-1] for name, values in parse_qs(urlsplit(self.target).query).items()}

    @property
    def fields(self) -> dict[str, Any]:
        """The body, sent as JSON or as a form (each value a list)."""
        if "json" in self.kind:
            return dict(json.loads(self.body))
        return dict(parse_qs(self.body.decode()))


@dataclass(frozen=True)
class Answer:
    """What is said to it."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def as_json(said: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """An answer of JSON."""
    kind = {"Content-Type": "application/json; charset=utf-8"}
    return Answer(status, json.dumps(said).encode(), kind | dict(headers or {}))


def refuse(status: int, code: str, message: str) -> Answer:
    """A refusal as the Hub writes it."""
    headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
    return as_json({"error": message}, status, headers)
