"""`cfbench show`."""

from pathlib import Path
from typing import Annotated

import typer

from cfbench.cli.console import results


def show(
    scorecard: Annotated[Path, typer.Argument(help="What score --json wrote.", show_default=False)],
    explain: Annotated[
        bool, typer.Option("--explain", help="Print everything that the scorecard holds.")
    ] = False,
) -> None:
    """Print the tables of a saved scorecard.

    Example: cfbench show scorecard.json --explain
    """
    from cfbench.cli.render import render_explanation, render_scorecard
    from cfbench.scorecard import read_scorecard

    card = read_scorecard(scorecard)
    console = results()
    render_scorecard(card, console)
    if explain:
        render_explanation(card, console)
