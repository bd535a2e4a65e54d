"""`cfbench report`."""

from pathlib import Path
from typing import Annotated

import typer

from cfbench.cli import options
from cfbench.cli.console import print_note, working


def report(
    predictions: Annotated[
        Path,
        typer.Argument(help="Predictions, or the folder of a submission.", show_default=False),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The page.")] = Path("report.html"),
    figures: Annotated[
        Path | None,
        typer.Option(
            help="The folder of figures, SVG and PNG. Default: beside the page, PAGE-figures.",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            help="What the system is called. Default: as the submission or the file is.",
            show_default=False,
        ),
    ] = None,
    track: options.Track = options.DEFAULT_TRACK,
    protocol: options.Protocol = None,
    split: options.Split = None,
    tasks: options.Tasks = None,
    format: options.Format = "auto",
    logits: options.Logits = False,
    allow_missing: options.AllowMissing = False,
    bootstrap: options.Bootstrap = 1000,
    seed: options.Seed = 0,
    errors: Annotated[
        int,
        typer.Option(min=0, max=1000, help="Most confident errors to name, a task and split."),
    ] = 10,
) -> None:
    """Write one system's result as a page, with figures for a paper.

    The page is one file that asks nothing of the network: tables with intervals, confusion
    matrices, sources, DET curves and threshold transfer, calibration, the most confident errors.

    Example: cfbench report predictions.csv --protocol lists/ -o report.html
    """
    from cfbench.errors import plural
    from cfbench.report.build import write_report

    with working("reporting"):
        done = write_report(
            predictions,
            output,
            figures,
            name,
            protocol=protocol,
            track=track,
            splits=options.split_list("--split", split),
            tasks=options.split_list("--tasks", tasks),
            format=format,
            logits=logits,
            allow_missing=allow_missing,
            bootstrap=bootstrap,
            seed=seed,
            errors=errors,
        )
    for note in done.notes:
        print_note(note)
    print_note(f"the report is in {done.page}")
    print_note(f"{plural(done.count, 'figure')}, as SVG and PNG, in {done.figures}")
