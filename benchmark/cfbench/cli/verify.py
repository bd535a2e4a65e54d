"""`cfbench verify`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cfbench.cli import options
from cfbench.cli.console import heading, print_json, print_note, results, working

if TYPE_CHECKING:
    from cfbench.verification import Verification


def verify(
    submission: Annotated[
        Path, typer.Argument(help="The folder of a submission.", show_default=False)
    ],
    track: Annotated[
        str | None,
        typer.Option(help="Only this track, by name or file. Default: the one it names."),
    ] = None,
    protocol: options.Protocol = None,
    record: Annotated[
        bool,
        typer.Option("--record", help="Keep a receipt beside the entry, for the leaderboard."),
    ] = False,
    json: options.Json = False,
) -> None:
    """Score a submission's predictions again, and compare every number.

    Nothing that it says of protocol, splits or settings is relied on.

    Example: cfbench verify submissions/my-system
    """
    from cfbench.errors import CfbenchError
    from cfbench.review import verifier

    with working("verifying"):
        found = verifier(track, protocol)(submission)
    if json:
        print_json(_as_data(found))
    else:
        _print(found)
    if not found.holds:
        if json:
            raise typer.Exit(2)
        raise CfbenchError.of(found.problems)
    if record:
        from cfbench.leaderboard.receipts import write_receipt

        write_receipt(submission.resolve().parent, found)
        print_note(f"the receipt is in {submission.resolve().parent / 'verified'}")


def _print(found: "Verification") -> None:
    from rich.text import Text

    console = results()
    for check in found.checks:
        console.print(Text.assemble(("ok  ", "green"), f"{check.name}: {check.found}"))
    if found.holds and found.submission is not None:
        console.print(heading(found.submission.system.name, ": verified"))


def _as_data(found: "Verification") -> dict[str, object]:
    return {
        "verified": found.holds,
        "checks": [{"name": check.name, "found": check.found} for check in found.checks],
        "problems": [{"message": p.message, "hint": p.hint} for p in found.problems],
    }
