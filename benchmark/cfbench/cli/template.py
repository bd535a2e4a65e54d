"""`cfbench template`."""

from pathlib import Path
from typing import Annotated

import typer

from cfbench.cli import options
from cfbench.cli.console import print_note


def template(
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="The file to write: .csv, .tsv, .jsonl or .parquet."),
    ],
    track: options.Track = options.DEFAULT_TRACK,
    protocol: options.Protocol = None,
    split: options.Split = None,
    tasks: options.Tasks = None,
    labels: Annotated[
        bool, typer.Option("--labels", help="A column for labels instead of one a class.")
    ] = False,
    trivial: Annotated[
        str | None,
        typer.Option(
            help="Fill it in as a predictor that knows nothing of the audio would: majority, "
            "detector or uniform."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write an empty predictions file to fill in.

    Every utterance of the track, no answers.

    Example: cfbench template --protocol lists/ --out predictions.csv
    """
    from cfbench import api
    from cfbench.errors import CfbenchError, plural
    from cfbench.template import write_filled, write_template
    from cfbench.trivial import trivial_answers

    splits, wanted = options.split_list("--split", split), options.split_list("--tasks", tasks)
    if trivial is not None and (labels or wanted):
        raise CfbenchError(
            "--trivial answers every task of the track in its own way",
            "leave out --tasks and --labels",
        )
    found = api.read_protocol(protocol, track)
    if trivial is not None:
        answers = trivial_answers(found, trivial, splits)
        write_filled(answers, out, force)
        print_note(f"{out}: {plural(answers.height, 'utterance')}")
        return
    rows = write_template(found, out, splits, wanted, labels, force)
    print_note(f"{out}: {plural(rows, 'utterance')} to fill in")
