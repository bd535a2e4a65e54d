"""`cfbench leaderboard serve` and `deploy`: the web app, here or as a Space of the Hub."""

from pathlib import Path
from typing import Annotated

import typer

from cfbench.cli import options
from cfbench.cli.console import print_note, working


def serve(
    folder: Annotated[
        Path, typer.Argument(help="The folder that holds the submissions.", show_default=False)
    ],
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where it listens.")] = 7860,
    host: Annotated[
        str, typer.Option(help="Where it listens. The default is reached from this machine only.")
    ] = "127.0.0.1",
    track: options.Track = options.DEFAULT_TRACK,
    protocol: options.Protocol = None,
    hidden: Annotated[
        Path | None, typer.Option(help="A table of the labels that the track holds back.")
    ] = None,
    reveal: Annotated[
        str | None,
        typer.Option(help="Day (UTC) from which results on these are shown: 2027-01-31."),
    ] = None,
    state: Annotated[
        Path | None, typer.Option(help="What the app keeps. Default: .space in the folder.")
    ] = None,
) -> None:
    """Run the leaderboard's web app on a folder of submissions.

    It shows them, scores uploads, and writes entries into the folder after the same checks.

    Example: cfbench leaderboard serve submissions --track example
    """
    from cfbench.space.app import LOCAL, serve
    from cfbench.space.settings import make_settings

    settings = make_settings(
        {
            "board": folder,
            "state": state or folder / ".space",
            "track": track,
            "protocol": protocol,
            "hidden": hidden,
            "reveal": reveal,
        },
        "the options",
    )
    if host not in LOCAL:
        print_note("everybody who reaches this machine can write entries into the folder")
    shown = f"[{host}]" if ":" in host and not host.startswith("[") else host
    print_note(f"the leaderboard is at http://{shown}:{port} until Ctrl-C")
    serve(settings, host, port)


def deploy(
    space: Annotated[str, typer.Argument(help="OWNER/NAME of the Space.", show_default=False)],
    results: Annotated[str, typer.Option(help="OWNER/NAME of the dataset repository of entries.")],
    private: Annotated[
        str | None,
        typer.Option(help="OWNER/NAME of the private dataset repository: hidden labels, results."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="A space.toml to start from: title, owners, limits.")
    ] = None,
    track: Annotated[str | None, typer.Option(help="A track by name.")] = None,
    title: Annotated[str | None, typer.Option(help="Of the page.")] = None,
    reveal: Annotated[
        str | None,
        typer.Option(help="Day (UTC) from which results on hidden labels are shown: 2027-01-31."),
    ] = None,
    package: Annotated[
        str | None,
        typer.Option(help="Install cfbench from this address (git+https://...) in the Space."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write the files into this folder too.")
    ] = None,
    only_me: Annotated[
        bool, typer.Option("--private-space", help="Make a Space that only its owner sees.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Send nothing.")] = False,
) -> None:
    """Make the leaderboard's web app a Space of the Hub, or bring it up to date.

    Without a network or a login it says what it would have sent, and ends with 1.

    Example: cfbench leaderboard deploy me/leaderboard --results me/results --dry-run --out space
    """
    from cfbench.space.deploy import deploy
    from cfbench.space.settings import deployable

    settings = deployable(
        config,
        {"results": results, "private": private, "track": track, "title": title, "reveal": reveal},
    )
    with working("sending"):
        done = deploy(space, settings, out=out, dry_run=dry_run, private=only_me, package=package)
    for path, content in sorted(done.files.items()):
        typer.echo(f"{path}: {len(content):,} bytes")
    if done.folder is not None:
        print_note(f"the files are in {done.folder}")
    if done.why:
        print_note(f"not sent to {space}: {done.why}")
        if done.folder is None:
            print_note("--out FOLDER writes the files")
        if not dry_run:
            raise typer.Exit(1)
    else:
        typer.echo(done.address)
