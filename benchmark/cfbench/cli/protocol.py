"""`cfbench protocol show|check`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cfbench.cli import options
from cfbench.cli.console import heading, plain_table, print_json, print_note, results
from cfbench.errors import clip

if TYPE_CHECKING:
    from cfbench.protocol import Protocol

app = typer.Typer(
    help="Who the utterances are, and what is true of them.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_Path = Annotated[Path, typer.Argument(help="A list, or a folder of lists.", show_default=False)]


@app.command("show")
def show_protocol(
    path: _Path, track: options.Track = options.DEFAULT_TRACK, json: options.Json = False
) -> None:
    """Print how many utterances there are.

    Of each split, source and class.
    """
    protocol, summary = _read(path, track)
    if json:
        print_json(summary)
        return
    console = results()
    for name, split in summary["splits"].items():
        group = protocol.track.splits[name].group
        told = (
            f": {split['utterances']:,} utterances, {split['groups']:,} groups ({group}), "
            f"{len(split['sources'])} sources"
        )
        console.print(heading(name, told))
        classes = plain_table("task", "classes")
        for task_id, counts in split["classes"].items():
            classes.add_row(task_id, ", ".join(f"{c} {n:,}" for c, n in counts.items()))
        console.print(classes)
        made = [task.id for task in protocol.track.asked if task.id != "bin"]
        counted = {"spoof": "spoof", "bonafide": "bona fide"}
        if "bin" not in protocol.track.tasks:
            counted = {"utterances": "utterances"}
        sources = plain_table(
            "source", "subset", *counted.values(), *made, right=list(counted.values())
        )
        for row in split["sources"]:
            sources.add_row(
                clip(row["source"]),
                clip(row["subset"] or ""),
                *(f"{row[count]:,}" for count in counted),
                *(row[task_id] or "" for task_id in made),
            )
        console.print(sources)
    _print_digests(protocol)


@app.command("check")
def check_protocol(
    path: _Path, track: options.Track = options.DEFAULT_TRACK, json: options.Json = False
) -> None:
    """Check a protocol, and say whether it is a published one."""
    protocol, summary = _read(path, track)
    if json:
        print_json(summary)
        return
    for name, split in summary["splits"].items():
        classes = "; ".join(
            f"{task_id} " + ", ".join(f"{c} {n:,}" for c, n in counts.items())
            for task_id, counts in split["classes"].items()
        )
        typer.echo(
            f"{name}: {split['utterances']:,} utterances of {len(split['sources'])} sources: "
            f"{classes}"
        )
    _print_digests(protocol)
    typer.echo("no problems")


def _read(path: Path, track: str) -> "tuple[Protocol, dict[str, Any]]":
    from cfbench.protocol import read_protocol, summarise
    from cfbench.tasks import find_track

    protocol = read_protocol(path, find_track(track))
    for note in protocol.notes:
        print_note(note)
    return protocol, summarise(protocol)


def _print_digests(protocol: "Protocol") -> None:
    for name, digest in protocol.digests.items():
        published = protocol.track.published_name(name, digest)
        told = " (not a published version)" if protocol.track.published else ""
        if published:
            told = f" (published: {published})"
        typer.echo(f"{name}: digest {digest}{told}")
