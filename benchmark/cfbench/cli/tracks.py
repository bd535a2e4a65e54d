"""`cfbench tracks list|show`."""

from typing import Annotated

import typer

from cfbench.cli import options
from cfbench.cli.console import heading, plain_table, print_json, results

app = typer.Typer(
    help="On whom it is measured: datasets with splits.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("list")
def list_tracks(json: options.Json = False) -> None:
    """List the tracks that ship with cfbench."""
    from cfbench.tasks import find_track, track_names

    tracks = [find_track(name) for name in track_names()]
    if json:
        print_json([track.model_dump(mode="json") for track in tracks])
        return
    table = plain_table("name", "title", "version", "scored", "protocol")
    for track in tracks:
        table.add_row(
            track.name,
            track.title,
            track.version,
            ", ".join(track.scored),
            "shipped" if track.protocol else "to be obtained",
        )
    results().print(table)


@app.command("show")
def show_track(
    name: Annotated[
        str, typer.Argument(help="codecfake-plus, or a track file.", show_default=False)
    ],
    json: options.Json = False,
) -> None:
    """Show a track.

    Its splits, subsets and groups, and the protocols that are published for it.
    """
    from cfbench.tasks import find_track

    track = find_track(name)
    if json:
        print_json(track.model_dump(mode="json"))
        return
    console = results()
    console.print(heading(track.title, f" ({track.name}, version {track.version})"))
    console.print(track.description)
    console.print(f"tasks: {', '.join(track.tasks)}; scored: {', '.join(track.scored)}")
    for task in track.own_tasks:
        console.print(f"  {task.id}, its own: {task.question} {', '.join(task.class_names)}")
    splits = plain_table("split", "title", "group", "subsets")
    for split_name, split in track.splits.items():
        subsets = "; ".join(f"{s.name}: {', '.join(s.sources)}" for s in split.subsets)
        splits.add_row(split_name, split.title, split.group, subsets)
    console.print(splits)
    if track.published:
        published = plain_table("published protocol", "split", "rows", "digest", right=("rows",))
        for version in track.published:
            published.add_row(version.name, version.split, f"{version.rows:,}", version.digest)
        console.print(published)
    for line in (track.obtain, track.homepage, track.licence and f"licence: {track.licence}"):
        if line:
            console.print(line)
    if track.reference:
        console.print(f"{track.reference.text}. {track.reference.url}")
