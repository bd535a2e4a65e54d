"""Where the command line prints: results on standard output, everything else on standard error."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cfbench.errors import Problem, clip, printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text


def results() -> "Console":
    """The console for results; in a pipe it is wide enough that no table wraps."""
    from rich.console import Console

    # Names of the user's stand in what is printed: no word in brackets may act as markup.
    width = None if sys.stdout.isatty() else 140
    return Console(width=width, highlight=False, markup=False)


def print_json(data: Any) -> None:
    """Print data for machines: sorted keys, one document."""
    sys.stdout.write(json.dumps(data, sort_keys=True, indent=1, ensure_ascii=False) + "\n")


def print_problems(problems: Sequence[Problem]) -> None:
    """Print problems on standard error, each with what to do about it."""
    for problem in problems:
        sys.stderr.write(f"error: {printable(problem.message)}\n")
        if problem.hint:
            sys.stderr.write(f"  hint: {printable(problem.hint)}\n")


def print_note(text: str) -> None:
    """Print something worth knowing on standard error."""
    sys.stderr.write(f"note: {printable(text)}\n")


def plain_table(*columns: str, title: str | None = None, right: Sequence[str] = ()) -> "Table":
    """A table without frames: rules above and below the header only.

    Args:
        columns: Headers.
        title: Above it.
        right: Headers of columns that are flush right.
    """
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", overflow="fold")
    return table


def heading(title: str, rest: str = "") -> "Text":
    """A bold title, and what follows it in the same line."""
    from rich.text import Text

    return Text.assemble((clip(title, 200), "bold"), clip(rest, 400))


@contextmanager
def working(what: str) -> Iterator[None]:
    """Say on a terminal's standard error that something is under way."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield
