"""The one exception that a user of cfbench meets: what is wrong, where, and what to do."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with an input.

    Attributes:
        message: What is wrong and where (file, line, id).
        hint: What to do about it; empty where the message says it all.
    """

    message: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class CfbenchError(Exception):
    """An input that cannot be used. Carries every problem that was found, not only the first."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.problems: tuple[Problem, ...] = (Problem(message, hint),)

    @classmethod
    def of(cls, problems: Sequence[Problem]) -> "CfbenchError":
        """An error that reports all of `problems` (at least one)."""
        error = cls(problems[0].message, problems[0].hint)
        error.problems = tuple(problems)
        return error

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


def plural(count: int, noun: str) -> str:
    """`1 row`, `1,797 rows`; what does not take an s is given as `row is|rows are`."""
    one, _, many = noun.partition("|")
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def name_some(
    items: Sequence[object], count: int | None = None, shown: int = 5, width: int = 80
) -> str:
    """Up to five offenders, and how many more there are.

    Args:
        items: The offenders, or the first few of them.
        count: How many there are in all, where `items` holds only the first few.
        shown: How many to name.
        width: How long a name may be.
    """
    count = len(items) if count is None else count
    named = ", ".join(clip(str(item), width) for item in items[:shown])
    more = count - min(len(items), shown)
    return f"{named} and {more:,} more" if more > 0 else named


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """` (did you mean 'vq_mvq'?)`, or nothing where no known word is near."""
    import difflib

    by_folded = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(word.casefold(), list(by_folded), n=1, cutoff=0.6)
    return f" (did you mean '{by_folded[near[0]]}'?)" if near else ""


def printable(text: str) -> str:
    """Text in which nothing steers a terminal; line feeds stay."""
    return "".join(char if char.isprintable() or char == "\n" else "\ufffd" for char in text)


def clip(text: str, width: int = 80) -> str:
    """Text of the user's as a message may show it: printable, and not too long."""
    shown = printable(text[: width + 1]).replace("\n", "\ufffd")
    return shown if len(shown) <= width else shown[: width - 1] + "…"
