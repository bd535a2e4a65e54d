"""`cfbench validate`."""

from pathlib import Path
from typing import Annotated

import typer

from cfbench.cli import options
from cfbench.cli.console import print_note, print_problems, working


def validate(
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
) -> None:
    """Check a predictions file and report every problem at once.

    Example: cfbench validate predictions.csv --protocol lists/
    """
    from cfbench import api
    from cfbench.errors import plural
    from cfbench.tasks import find_track

    known = find_track(track)
    found = api.find_protocol(protocol, known)
    if found is None:
        print_note("no protocol is given: ids are not checked (--protocol FILE-OR-FOLDER)")
    with working("reading"):
        predictions, problems = api.check(
            file,
            found,
            options.split_list("--split", split),
            options.split_list("--tasks", tasks),
            format,
            logits,
            allow_missing,
            known,
        )
    if problems:
        print_problems(problems)
        raise typer.Exit(2)
    for note in predictions.notes:
        print_note(note)
    given = ", ".join(f"{task_id} ({kind})" for task_id, kind in predictions.kinds.items())
    typer.echo(f"{file}: {plural(predictions.frame.height, 'utterance')}, {given}: no problems")
