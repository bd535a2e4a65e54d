"""What is not as it should be, said once for people and for machines."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from cfbench.errors import name_some

Level = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Attributes:
        key: By which machines know it: "missing-scored".
        level: An error makes the exit code 1.
        message: What was found, with how many.
        names: All offenders.
        hint: What to do about it; empty where nothing can be done or the message says it.
    """

    key: str
    level: Level
    message: str
    names: Sequence[str] = ()
    hint: str = ""

    def __str__(self) -> str:
        named = f": {name_some(self.names, width=120)}" if self.names else ""
        return f"{self.message}{named}"

    def as_dict(self) -> dict[str, Any]:
        """As plain data; the offenders all of them."""
        told = {"level": self.level, "message": self.message, "count": len(self.names)}
        return {"key": self.key, **told, "names": list(self.names), "hint": self.hint}


@dataclass(frozen=True)
class Report:
    """What an index or a check has found.

    Attributes:
        counts: By name, as plain data.
        findings: The gravest first.
    """

    counts: Mapping[str, Any]
    findings: Sequence[Finding] = field(default=())

    @property
    def sound(self) -> bool:
        """Whether there is no error among the findings."""
        return all(finding.level != "error" for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """As plain data."""
        told = [finding.as_dict() for finding in self.findings]
        return {**self.counts, "sound": self.sound, "findings": told}


def gravest_first(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """The findings in order of their level; those of one level as they were."""
    order: tuple[Level, ...] = ("error", "warning", "note")
    return tuple(sorted(findings, key=lambda finding: order.index(finding.level)))
