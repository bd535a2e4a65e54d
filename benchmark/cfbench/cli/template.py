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
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write an empty predictions file to fill in.

    Every utterance of the track, no answers.

    Example: cfbench template --protocol lists/ --out predictions.csv
    """
    from cfbench import api
    from cfbench.errors import plural
    from cfbench.template import write_template

    found = api.read_protocol(protocol, track)
    rows = write_template(
        found,
        out,
        options.split_list("--split", split),
        options.split_list("--tasks", tasks),
        labels,
        force,
    )
    print_note(f"{out}: {plural(rows, 'utterance')} to fill in")
