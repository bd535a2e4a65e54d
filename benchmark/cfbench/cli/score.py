"""`cfbench score` and `cfbench schema`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cfbench.cli import options
from cfbench.cli.console import print_note, results, working

if TYPE_CHECKING:
    from cfbench.scorecard import Scorecard


def score(
    file: Annotated[
        Path,
        typer.Argument(
            help="Predictions: a table, or a folder of score files.", show_default=False
        ),
    ],
    track: options.Track = options.DEFAULT_TRACK,
    protocol: options.Protocol = None,
    split: options.Split = None,
    tasks: options.Tasks = None,
    format: options.Format = "auto",
    logits: options.Logits = False,
    allow_missing: options.AllowMissing = False,
    bootstrap: options.Bootstrap = 1000,
    seed: options.Seed = 0,
    json: Annotated[
        Path | None,
        typer.Option(help="Write the scorecard here; - prints it instead of the table."),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Print everything that the scorecard holds.")
    ] = False,
) -> None:
    """Score a predictions file.

    Macro-F1 and more, in domain and out of domain, with intervals.

    Example: cfbench score predictions.csv --protocol lists/ --json scorecard.json
    """
    from cfbench import api, scoring
    from cfbench.cli.render import render_explanation, render_scorecard
    from cfbench.errors import CfbenchError
    from cfbench.files import write_text

    _share_freed_memory()
    if explain and json is not None and str(json) == "-":
        raise CfbenchError("--explain prints tables, --json - prints JSON", "give one of them")
    if json is not None and json.is_file():
        _refuse_other_than_scorecard(json, file)
    with working("scoring"):
        splits = options.split_list("--split", split)
        predictions, known = api.read_both(
            file,
            protocol,
            track,
            splits,
            options.split_list("--tasks", tasks),
            format,
            logits,
            allow_missing,
        )
        scorecard = scoring.score(predictions, known, splits, allow_missing, bootstrap, seed)
    for note in (*predictions.notes, *known.notes):
        print_note(note)
    note_held_back(scorecard)
    if json is not None and str(json) == "-":
        sys.stdout.write(scorecard.to_json())
        return
    if json is not None:
        write_text(json, scorecard.to_json())
    console = results()
    render_scorecard(scorecard, console)
    if explain:
        render_explanation(scorecard, console)
    if json is not None:
        print_note(f"the scorecard is in {json}")


def note_held_back(card: "Scorecard") -> None:
    """Say on standard error how many answers could not be scored here."""
    from cfbench.scoring import held_back_note

    if card.predictions.held_back:
        print_note(held_back_note(card.predictions.held_back))


def _refuse_other_than_scorecard(path: Path, predictions: Path) -> None:
    """Refuse to replace the predictions, or whatever cannot be a scorecard: a list, say."""
    from cfbench.errors import CfbenchError

    with path.open("rb") as file:
        start = file.read(1)
    if start not in (b"{", b"") or (predictions.exists() and path.samefile(predictions)):
        raise CfbenchError(f"{path}: is there already and no scorecard", "name another file")


def _share_freed_memory() -> None:
    """Let threads of this process reuse each other's freed memory.

    glibc keeps a heap a thread; the arrays of a large protocol then take a fifth more than they
    need. Elsewhere there is nothing to do.
    """
    import ctypes
    from contextlib import suppress

    arena_max = -8  # M_ARENA_MAX of malloc.h
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").mallopt(arena_max, 1)


def schema() -> None:
    """Print the JSON schema of a scorecard."""
    from cfbench.scorecard import json_schema

    sys.stdout.write(json_schema())
