"""`cfbench data verify`."""

from pathlib import Path
from typing import Annotated

import typer

from cfbench.cli import options
from cfbench.cli.console import print_json
from cfbench.cli.data_index import (
    Folders,
    FollowLinks,
    Workers,
    find_folders,
    lists_beside,
    print_report,
    watching,
)


def verify(
    folders: Folders = None,
    manifest: Annotated[
        Path | None,
        typer.Option(
            help="What cfbench data index has written. Default: the folders are looked at anew.",
            show_default=False,
        ),
    ] = None,
    track: options.Track = options.DEFAULT_TRACK,
    protocol: options.Protocol = None,
    sample: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Read and decode this many clips, always the same. Default: all.",
            show_default=False,
        ),
    ] = None,
    workers: Workers = None,
    follow_links: FollowLinks = False,
    json: options.Json = False,
) -> None:
    """Check all that scoring and training rely on: lists, manifest, files, sound.

    Whether the lists are published ones; whether files are there, whole and unchanged, decode, are
    16 kHz mono and of a likely length; whether utterances have the samples of others. Exit code 1
    if something that is scored is not in order.

    Example: cfbench data verify --manifest manifest.parquet --protocol lists/ --sample 1000
    """
    from cfbench import api
    from cfbench.cli.progress import bar
    from cfbench.data_audit import Asked, audit
    from cfbench.manifest.table import read_manifest
    from cfbench.tasks import find_track

    wanted = find_track(track)
    known = api.read_protocol(protocol, wanted)
    asked = Asked(sample, workers, lists_beside(protocol), follow_links)
    there = read_manifest(manifest) if manifest is not None else None
    roots = list(folders or []) if there is not None else find_folders(folders, wanted)
    with options.resumable(), bar() as shown:
        report = audit(known, there, roots, asked, watching(shown))
    if json:
        print_json(report.as_dict())
    else:
        print_report(report)
        typer.echo("in order" if report.sound else "not in order")
    raise typer.Exit(0 if report.sound else 1)
