"""`cfbench leaderboard`: rank submissions, show them, publish them."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cfbench.cli import found, options, review, space
from cfbench.cli.console import heading, plain_table, print_note, results, working

if TYPE_CHECKING:
    from rich.console import Console

    from cfbench.leaderboard.ranking import Board

app = typer.Typer(help="Rank submissions.", no_args_is_help=True, rich_markup_mode=None)

app.command("serve")(space.serve)
app.command("deploy")(space.deploy)
app.command("init")(found.init)
app.command("review")(review.review)

_WRITTEN = "leaderboard.json, leaderboard.csv, leaderboard.md and the page, index.html"


@app.command("build")
def build(
    source: Annotated[
        str,
        typer.Argument(
            help="The folder that holds the submissions, or OWNER/NAME of a dataset repository.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help=f"Write {_WRITTEN}, into this folder.")
    ] = None,
    track: Annotated[
        str | None, typer.Option(help="Only this track, by name or file. Default: all.")
    ] = None,
    protocol: options.Protocol = None,
    again: Annotated[
        bool, typer.Option("--again", help="Verify every submission, receipts or not.")
    ] = False,
    claimed: Annotated[
        bool, typer.Option("--claimed", help="Verify nothing: take what has no receipt as claimed.")
    ] = False,
    revision: Annotated[
        str | None, typer.Option(help="Of the repository. Default: its main branch.")
    ] = None,
    under: options.Under = options.UNDER,
    json: options.Json = False,
) -> None:
    """Rank submissions: a table a task and an overall one.

    Submissions without a receipt are verified first. Places are tiers: systems that a paired
    bootstrap does not tell apart share one.

    Example: cfbench leaderboard build submissions --out site
    """
    from cfbench.leaderboard.build import build as built
    from cfbench.leaderboard.site import write_site
    from cfbench.leaderboard.sources import opened
    from cfbench.review import board_verifier
    from cfbench.tasks import find_track

    own = [] if track is None else [task.id for task in find_track(track).own_tasks]
    if own:
        print_note(f"{', '.join(own)}: of the track's own, and not ranked: the four tasks are")

    verify = None if claimed else board_verifier(track, protocol)
    with working("building the leaderboard"), opened(source, under, revision) as found:
        if found.commit is not None:
            print_note(f"{source} at commit {found.commit}")
        boards = built(found.folder, verify, track, again)
        if out is not None:
            write_site(boards, out)
    if json:
        sys.stdout.write("".join(board.to_json() for board in boards))
        return
    console = results()
    for board in boards:
        render(board, console)
    if out is not None:
        print_note(f"{_WRITTEN}, are in {out}")


def render(board: "Board", console: "Console") -> None:
    """Print a board's tables."""
    from cfbench.errors import clip, plural
    from cfbench.leaderboard.build import cells, column_title, header, legend

    console.print(heading(board.title, f" (track {board.track}, version {board.track_version})"))
    for split in board.splits:
        console.print(
            f"  {split}: {plural(board.utterances[split], 'utterance')}, "
            f"{plural(board.groups[split], 'group')} ({board.group_units[split]}); protocol "
            f"{board.protocol[split][:12]}"
        )
    for table in board.tables:
        title = f"{table.title}: {column_title(table)}"
        drawn = plain_table(*header(table, board.splits), title=title)
        for row in table.rows:
            drawn.add_row(
                *(clip(cell) for cell in cells(row, table, board.splits)),
                style="" if row.kind == "system" else "dim",
            )
        console.print(drawn)
    for line in legend(board):
        console.print(line, style="dim")
    for slug, why in board.refused.items():
        print_note(f"{slug} is not ranked: {clip(why, 300)}")
