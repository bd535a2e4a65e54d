"""`cfbench submit`."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from cfbench.cli import options
from cfbench.cli.console import print_note, working

_ASKED = {
    "name": "Name of the system",
    "team": "Team",
    "description": "Description, a few sentences",
    "contact": "Contact (an address that is published)",
    "licence": "Licence of the predictions",
    "training_data": "Training data (everything it learnt from; several separated by ;)",
}
"""What every submission has, and how it is asked for at a prompt."""


def submit(
    scorecard: Annotated[
        Path, typer.Argument(help="What cfbench score --json wrote.", show_default=False)
    ],
    predictions: Annotated[
        str,
        typer.Option(
            help="The predictions that were scored: a file, or an address on the Hub that names "
            "a commit.",
            show_default=False,
        ),
    ],
    system: Annotated[str | None, typer.Option(help="The system's name.")] = None,
    team: Annotated[str | None, typer.Option(help="Who made it.")] = None,
    description: Annotated[str | None, typer.Option(help="A few sentences.")] = None,
    contact: Annotated[str | None, typer.Option(help="How to reach you; it is published.")] = None,
    licence: Annotated[str | None, typer.Option(help="Of the predictions: CC-BY-4.0, say.")] = None,
    training_data: Annotated[
        list[str] | None, typer.Option(help="What it learnt from; once or more.")
    ] = None,
    only_track_data: Annotated[
        bool | None,
        typer.Option(
            "--only-track-data/--other-data",
            help="Was anything else than the track's own training and development splits used?",
        ),
    ] = None,
    paper: Annotated[str, typer.Option(help="Its address.")] = "",
    code: Annotated[str, typer.Option(help="Its address.")] = "",
    parameters: Annotated[int | None, typer.Option(min=0, help="How many, in all.")] = None,
    front_end: Annotated[str, typer.Option(help="A pre-trained model that it builds on.")] = "",
    front_end_data: Annotated[str, typer.Option(help="What that was trained on.")] = "",
    preprocessing: Annotated[str, typer.Option(help="What is done to the audio first.")] = "",
    date: Annotated[str | None, typer.Option(help="Of the result; default: today.")] = None,
    sha256: Annotated[
        str | None, typer.Option(help="Of predictions at an address; default: they are fetched.")
    ] = None,
    slug: Annotated[
        str | None, typer.Option(help="The entry's folder; default: made of the name.")
    ] = None,
    out: Annotated[Path, typer.Option(help="The folder of submissions.")] = Path("submissions"),
    track: Annotated[str | None, typer.Option(help="The track, where it is a file.")] = None,
    protocol: options.Protocol = None,
    logits: options.Logits = False,
    reference: Annotated[
        bool,
        typer.Option(
            "--reference", help="A line for comparison, without a place: for keepers of a board."
        ),
    ] = False,
) -> None:
    """Make a submission: a folder with description, scorecard and predictions.

    What is not given is asked for. The predictions are scored again before anything is written.

    Example: cfbench submit scorecard.json --predictions predictions.csv --system "My system"
    """
    from cfbench.entry import make_entry
    from cfbench.review import board_verifier
    from cfbench.submission import make_system

    fields: dict[str, Any] = {
        "name": system,
        "team": team,
        "description": description,
        "contact": contact,
        "licence": licence,
        "training_data": training_data or None,
        "only_track_data": only_track_data,
        "date": _date(date),
        "paper": paper,
        "code": code,
        "parameters": parameters,
        "front_end": front_end,
        "front_end_data": front_end_data,
        "preprocessing": preprocessing,
    }
    _complete(fields)
    described = make_system({key: value for key, value in fields.items() if value is not None})
    verify = board_verifier(track, protocol)
    with working("verifying"):
        made = make_entry(
            scorecard, described, predictions, out, verify, sha256, slug, logits, reference
        )
    if made.verification is None:
        print_note(f"not verified here: {made.why}")
    typer.echo(f"{made.folder}: version {made.submission.version}")
    print_note(f"to publish it: cfbench push {made.folder} --to OWNER/REPO")


def _complete(fields: dict[str, Any]) -> None:
    """Ask for what is missing, where somebody can answer."""
    if not sys.stdin.isatty():
        return
    for key, question in _ASKED.items():
        if fields[key] is None:
            answer = typer.prompt(question, err=True)
            several = [part.strip() for part in answer.split(";") if part.strip()]
            fields[key] = several if key == "training_data" else answer.strip()
    if fields["only_track_data"] is None:
        fields["only_track_data"] = typer.confirm(
            "Was it trained on the track's own training and development splits only?", err=True
        )


def _date(text: str | None) -> Any:
    import datetime

    from cfbench.errors import CfbenchError

    if text is None:
        return datetime.datetime.now(datetime.UTC).date()
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise CfbenchError(f"--date {text}: no date", "for example --date 2026-03-31") from None
