"""`cfbench leaderboard init`."""

from pathlib import Path
from typing import Annotated

import typer

from cfbench.cli import options
from cfbench.cli.console import print_note, working
from cfbench.cli.push import print_files


def init(
    repo: Annotated[
        str,
        typer.Argument(help="OWNER/NAME of the dataset repository of entries.", show_default=False),
    ],
    space: Annotated[
        str | None, typer.Option(help="OWNER/NAME of a Space that shows it. Default: none.")
    ] = None,
    track: options.Track = options.DEFAULT_TRACK,
    title: Annotated[str | None, typer.Option(help="Of the pages.")] = None,
    private: Annotated[
        bool, typer.Option("--private", help="Make what only its owner sees.")
    ] = False,
    package: Annotated[
        str | None,
        typer.Option(help="Install cfbench from this address (git+https://...) in the Space."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write the files into this folder: dataset/, space/."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Send nothing.")] = False,
) -> None:
    """Make a leaderboard on the Hub: a dataset repository for entries, and a Space that shows it.

    What is there already stays. Without a network or a login the exit code is 1: what would have
    been made is printed, and --out writes the files.

    Example: cfbench leaderboard init OWNER/results --space OWNER/leaderboard --out new
    """
    from cfbench.founding import found

    with working("sending"):
        done = found(
            repo, space=space, track=track, title=title, private=private, package=package,
            out=out, dry_run=dry_run,
        )  # fmt: skip
    if done.created is None:
        typer.echo(f"dataset repository {repo}:")
        print_files(done.files)
    else:
        typer.echo(done.created.url)
        for path in done.created.written:
            print_note(f"{path}: written")
        for path in done.created.kept:
            print_note(f"{path}: was there, and stays as it is")
    if done.space is not None and done.space.address:
        typer.echo(done.space.address)
    elif done.space is not None:
        typer.echo(f"Space {space}:")
        print_files(done.space.files)
    if out is not None:
        print_note(f"the files are in {out}")
    if not done.why:
        return
    print_note(f"not sent: {done.why}")
    if out is None:
        print_note("--out FOLDER writes the files")
    raise typer.Exit(0 if dry_run else 1)
