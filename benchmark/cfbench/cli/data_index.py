"""`cfbench data index`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cfbench.cli import options
from cfbench.cli.console import plain_table, print_json, print_note, results

if TYPE_CHECKING:
    from cfbench.cli.progress import Bar
    from cfbench.manifest.findings import Report
    from cfbench.manifest.indexing import Watch
    from cfbench.protocol import Protocol
    from cfbench.tasks import Track

Folders = Annotated[
    list[Path] | None,
    typer.Argument(
        help="Folders below which the clips are, in any layout. Default: the folder of the track's "
        "name that cfbench data download makes, or the clips that the track ships.",
        show_default=False,
        metavar="[DIR]...",
    ),
]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Processes that read. Default: one a core.")
]
FollowLinks = Annotated[
    bool, typer.Option("--follow-links", help="Follow links that lead out of the folder.")
]


def index(
    folders: Folders = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="The manifest.")] = Path(
        "manifest.parquet"
    ),
    track: options.Track = options.DEFAULT_TRACK,
    protocol: options.Protocol = None,
    no_protocol: Annotated[
        bool, typer.Option("--no-protocol", help="Files only: no utterances, no labels.")
    ] = False,
    headers_only: Annotated[
        bool,
        typer.Option("--headers-only", help="Read no file whole: no digests, no duplicates."),
    ] = False,
    workers: Workers = None,
    shard: Annotated[
        str | None,
        typer.Option(
            help="Do a share of the work: 2/4 is the second of four; env: as torchrun or Slurm say."
        ),
    ] = None,
    merge: Annotated[
        bool, typer.Option("--merge", help="Join the shares that lie beside --out.")
    ] = False,
    follow_links: FollowLinks = False,
    clip_names: Annotated[
        Path | None,
        typer.Option(
            help="A CSV of the authors' and the Hub's names of clips. Default: made where needed.",
            show_default=False,
        ),
    ] = None,
    clip_order: Annotated[
        Literal["list", "name"] | None,
        typer.Option(
            help="By what the Hub has counted clips, where their samples cannot tell.",
            show_default=False,
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Make a manifest of the clips below a folder, and lay the protocol beside it.

    Says what is missing, broken, doubled or not in the protocol; exit code 1 if something that is
    scored is missing or broken. What has not changed is not read again; an interrupted run goes on
    where it was.

    Example: cfbench data index CodecFake+ --protocol lists/ --out manifest.parquet
    """
    from cfbench.cli.progress import bar
    from cfbench.errors import CfbenchError
    from cfbench.manifest import making
    from cfbench.manifest.share import Share
    from cfbench.tasks import find_track

    wanted = find_track(track)
    making.check_out(out, wanted.name)
    if merge and (shard is not None or folders):
        raise CfbenchError("--merge joins shares: it takes neither folders nor --shard")
    how = making.How(
        not headers_only,
        workers,
        follow_links,
        clip_names,
        clip_order,
        lists_beside(protocol),
    )
    if shard is not None:
        share = Share.parse(shard)
        with options.resumable(), bar() as shown:
            place, read, kept = making.make_share(
                find_folders(folders, wanted), out, share, how, watching(shown)
            )
        if json:
            print_json({"shard": str(share), "manifest": str(place), "read": read, "kept": kept})
        else:
            told = f"share {share}: {read + kept:,} files, {read:,} read now: {place}"
            results().print(told, soft_wrap=True)
        return
    known = None if no_protocol else read_protocol(protocol, wanted)
    if merge:
        made = making.merge(known, out, how)
    else:
        with options.resumable(), bar() as shown:
            roots = find_folders(folders, wanted)
            made = making.make_manifest(roots, known, out, how, watching(shown))
    if json:
        print_json(
            {**made.report.as_dict(), "manifest": str(out), "read": made.read, "kept": made.kept}
        )
    else:
        print_report(made.report)
        if not merge:
            print_note(f"read now: {made.read:,}; as an earlier run found them: {made.kept:,}")
        results().print(f"manifest: {out}", soft_wrap=True)
    raise typer.Exit(0 if made.report.sound else 1)


def find_folders(folders: list[Path] | None, track: "Track") -> list[Path]:
    """The folders that were named, or that of the track's clips.

    Raises:
        CfbenchError: None were named, and there is none.
    """
    from cfbench import steps

    downloaded = Path(track.name)
    if not folders and track.clips is None and downloaded.is_dir():
        return [downloaded]

    return list(steps.Data(track, folders or None).folders)


def read_protocol(protocol: Path | None, track: "Track") -> "Protocol":
    """The protocol that was named, or that the track or the environment has.

    Raises:
        CfbenchError: It cannot be found or read.
    """
    from cfbench import api
    from cfbench.errors import CfbenchError, Problem

    try:
        return api.read_protocol(protocol, track)
    except CfbenchError as error:
        if protocol is None:
            said = Problem("--no-protocol does without: files only, and no labels")
            raise CfbenchError.of([*error.problems, said]) from None
        raise


def lists_beside(protocol: Path | None) -> list[Path]:
    """Folders in which lists of names may lie."""
    from cfbench import api

    folder = api.protocol_folder(protocol)
    return [folder] if folder is not None else []


def watching(bar: "Bar") -> "Watch":
    """What shows on a bar how an index gets on."""
    from cfbench.manifest.indexing import Watch

    def start(total: int, known: int) -> None:
        bar.begin(total, "reading", "files")
        bar.advance(known, known)

    bar.begin(0, "looking for files", "files")
    return Watch(lambda found: bar.advance(found - bar.done), start, bar.advance)


def print_report(report: "Report") -> None:
    """Print counts and findings for people."""
    from cfbench.errors import clip, plural, printable

    console = results()
    told = report.counts
    where = " and ".join(clip(root, 200) for root in told["roots"])
    others = sum(told["other_files"].values())
    beside = f" (and {plural(others, 'file')} of other kinds)" if others else ""
    console.print(
        f"{plural(told['files'], 'audio file')}, {told['hours']:,.2f} hours, "
        f"{told['bytes'] / 1e9:,.3f} GB below {where}{beside}",
        soft_wrap=True,
    )
    if "splits" in told:
        right = ("utterances", "with a file")
        table = plain_table("split", *right, right=right)
        for name, counts in told["splits"].items():
            table.add_row(name, f"{counts['utterances']:,}", f"{counts['found']:,}")
        console.print(table)
    for finding in report.findings:
        console.print(printable(f"{finding.level}: {finding}"), soft_wrap=True)
        if finding.hint:
            console.print(f"  {clip(finding.hint, 400)}", soft_wrap=True)
