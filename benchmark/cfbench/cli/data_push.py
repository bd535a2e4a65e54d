"""`cfbench data push`."""

from pathlib import Path
from typing import Annotated

import typer

from cfbench.cli import baseline_options as baseline
from cfbench.cli import options
from cfbench.cli.console import print_note


def push(
    repo: Annotated[
        str, typer.Argument(help="OWNER/NAME of the dataset repository.", show_default=False)
    ],
    audio: baseline.Audio = None,
    manifest: Annotated[
        Path | None,
        typer.Option(help="What cfbench data index has written.", show_default=False),
    ] = None,
    track: options.Track = options.DEFAULT_TRACK,
    protocol: options.Protocol = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="Splits, separated by commas. Default: all that the protocol or manifest has.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Where the files are written and stay. Default: NAME-parquet."
        ),
    ] = None,
    shard_size: Annotated[
        float, typer.Option(min=0.001, help="MB of clips in a shard, at most.")
    ] = 500,
    private: Annotated[
        bool, typer.Option("--private", help="Make a repository that only its owner sees.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Send nothing; write files only where --out is given.")
    ] = False,
) -> None:
    """Pack clips into Parquet shards with a dataset card, and upload them to the Hub.

    Without a login or a network the files are written and kept. See the licence of what you push.

    Example: cfbench data push me/codecfake-plus-test --manifest manifest.parquet --dry-run
    """
    from cfbench import api, dataset_shards
    from cfbench.cli.progress import bar
    from cfbench.errors import CfbenchError, plural
    from cfbench.hub.failures import NotConnected, about
    from cfbench.manifest.table import read_manifest
    from cfbench.tasks import find_track

    about(repo)
    wanted = find_track(track)
    splits = options.split_list("--split", split)
    if splits is None and manifest is not None:
        there = set(read_manifest(manifest).said.get("splits", {}))
        splits = [name for name in wanted.splits if name in there]
    elif splits is None:
        splits = list(api.read_protocol(protocol, wanted).splits)
    if not splits:
        raise CfbenchError(f"{manifest}: has no splits", "index with a protocol")
    limit = int(shard_size * 1e6)
    packing = dataset_shards.plan_packing(wanted, splits, audio, protocol, manifest, limit)
    for name, (rows, size) in packing.splits().items():
        count = sum(shard.split == name for shard in packing.shards)
        typer.echo(f"{name}: {rows:,} clips, {size / 1e6:,.1f} MB in {plural(count, 'shard')}")
    if dry_run and out is None:
        print_note(f"not sent to {repo}, and not written: --dry-run; --out FOLDER writes the files")
        return
    folder = out or Path(f"{repo.rpartition('/')[2]}-parquet")
    with options.resumable(), bar() as shown:
        shown.begin(sum(rows for rows, _ in packing.splits().values()), "packing", "clips")
        files = dataset_shards.pack(packing, folder, shown.advance)
        typer.echo(f"packed: {folder}")
        if dry_run:
            print_note(f"not sent to {repo}: --dry-run")
            return
        shown.begin(len(packing.shards), "sending", "shards")
        try:
            done = dataset_shards.send(repo, packing, files, private, shown.advance)
        except NotConnected as error:
            print_note(f"not sent to {repo}: {error.problems[0].message}")
            if error.problems[0].hint:
                print_note(error.problems[0].hint)
            return
    typer.echo(done.url)
