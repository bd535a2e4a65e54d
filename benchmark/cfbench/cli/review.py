"""`cfbench leaderboard review`."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cfbench.cli import options
from cfbench.cli.console import heading, print_json, print_note, results, working
from cfbench.cli.push import say_wait

if TYPE_CHECKING:
    from cfbench.offers import Offer, Rules


def review(
    repo: Annotated[
        str,
        typer.Argument(help="OWNER/NAME of the leaderboard's dataset repository.", metavar="REPO"),
    ],
    numbers: Annotated[
        list[int] | None,
        typer.Argument(help="Pull requests. Default: all that are open.", metavar="[NUMBER]..."),
    ] = None,
    merge: Annotated[
        bool, typer.Option("--merge", help="Merge what holds, and record its receipt.")
    ] = False,
    comment: Annotated[
        bool, typer.Option("--comment", help="Write below each what was found.")
    ] = False,
    record: Annotated[
        bool,
        typer.Option("--record", help="Then verify merged entries that have no receipt."),
    ] = False,
    app_user: Annotated[
        str, typer.Option(help="The account of the leaderboard's app, which sends for others.")
    ] = "",
    track: Annotated[
        str | None, typer.Option(help="Only this track, by name or file. Default: any.")
    ] = None,
    protocol: options.Protocol = None,
    under: options.Under = options.UNDER,
    json: options.Json = False,
) -> None:
    """Look at the pull requests of a leaderboard: for who keeps it.

    Each may add or change one entry of its author and nothing else; its predictions are scored
    again. The exit code is 1 unless all of them hold.

    Example: cfbench leaderboard review OWNER/REPO --merge --comment
    """
    from cfbench.hub.pull_requests import open_pull_requests
    from cfbench.hub.repos import whoami
    from cfbench.offers import Desk, Rules
    from cfbench.review import attempt, own_protocols

    find = own_protocols(track, protocol)
    keepers = {repo.partition("/")[0], whoami() or ""} - {""}
    rules = Rules(repo, under, app_user, tuple(sorted(keepers)))
    looked = []
    with tempfile.TemporaryDirectory(prefix="cfbench-") as folder:
        desk = Desk(rules, lambda entry: attempt(entry, find), Path(folder))
        for number in numbers or [one.number for one in open_pull_requests(repo)]:
            with working(f"looking at pull request {number}"):
                offer = desk.look(number)
                done = _follow(rules, offer, merge, comment)
            looked.append((offer, done))
            if not json:
                _print(offer, done)
    fine = all(offer.holds and not done.get("failed") for offer, done in looked)
    if not looked:
        print_note(f"{repo}: no open pull requests")
    if record:
        fine = _record(rules, track, protocol) and fine
    if json:
        print_json([_as_data(offer, done) for offer, done in looked])
    raise typer.Exit(0 if fine else 1)


def _follow(rules: "Rules", offer: "Offer", merge: bool, comment: bool) -> dict[str, Any]:
    """Do what is asked with a pull request; what fails stops nothing else."""
    from cfbench.errors import CfbenchError
    from cfbench.hub.failures import NotConnected
    from cfbench.keeping import accept, answer

    done: dict[str, Any] = {}
    try:
        if comment:
            done["commented"] = answer(rules, offer)
        if merge and offer.holds:
            accept(rules, offer, say_wait)
            done["merged"] = True
    except NotConnected:
        raise
    except CfbenchError as error:
        done["failed"] = str(error)
    return done


def _print(offer: "Offer", done: dict[str, Any]) -> None:
    from rich.text import Text

    from cfbench.errors import clip

    console = results()
    verdict = "holds" if offer.holds else "not decided" if offer.why else "does not hold"
    console.print(heading(f"{offer.number} {offer.title}", f" (by {offer.author}): {verdict}"))
    for check in offer.checks:
        console.print(Text.assemble(("  ok  ", "green"), clip(f"{check.name}: {check.found}", 400)))
    for problem in offer.problems:
        console.print(Text.assemble(("  no  ", "red"), clip(problem.message, 400)))
        if problem.hint:
            console.print(f"      {clip(problem.hint, 400)}")
    if offer.why:
        console.print(f"  ??  could not be scored here: {clip(offer.why, 400)}")
    if done.get("commented"):
        console.print("  the findings are written below it")
    if done.get("merged"):
        console.print(f"  merged at commit {offer.head}, and its receipt is recorded")
    if done.get("failed"):
        console.print(f"  failed: {clip(done['failed'], 400)}")


def _record(rules: "Rules", track: str | None, protocol: Path | None) -> bool:
    from cfbench.keeping import record
    from cfbench.review import board_verifier

    with working("verifying entries without a receipt"):
        done = record(rules, board_verifier(track, protocol), say_wait)
    for slug in done.written:
        print_note(f"{slug}: its receipt is recorded")
    for one in done.refused:
        print_note(f"{one.slug}: does not hold: {one.problems[0].message}")
    for slug, why in done.undecided.items():
        print_note(f"{slug}: could not be verified here: {why}")
    return not done.refused


def _as_data(offer: "Offer", done: dict[str, Any]) -> dict[str, Any]:
    return {
        "number": offer.number,
        "title": offer.title,
        "author": offer.author,
        "head": offer.head,
        "slug": offer.slug,
        "holds": offer.holds,
        "why": offer.why,
        "checks": [{"name": check.name, "found": check.found} for check in offer.checks],
        "problems": [{"message": p.message, "hint": p.hint} for p in offer.problems],
        **done,
    }
