"""`cfbench data mini`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cfbench.cli import baseline_options as baseline
from cfbench.cli import data_download, data_index, data_push, data_verify, options
from cfbench.cli.console import print_json, results
from cfbench.content import EMBEDDED_TRACK

if TYPE_CHECKING:
    from cfbench.mini import store

app = typer.Typer(
    help="Clips: get CodecFake+, index and check what is there, publish it; those that ship.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.command("download")(data_download.download)
app.command("index")(data_index.index)
app.command("verify")(data_verify.verify)
app.command("push")(data_push.push)


@app.callback()
def _group() -> None:
    # Without it a group of one command would lose the command's name.
    return


@app.command("mini")
def mini(
    only: Annotated[
        str | None,
        typer.Option(
            help="Splits, separated by commas, or 'test' for those that are scored. Default: all.",
            show_default=False,
        ),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read every clip again, not only what changed.")
    ] = False,
    to: Annotated[
        Path | None,
        typer.Option(
            help="The folder. Default: in $CFBENCH_CACHE, or the platform's folder for caches.",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Processes that re-synthesise. Default: one a core."),
    ] = None,
    track: options.Track = EMBEDDED_TRACK,
    json: options.Json = False,
) -> None:
    """Unpack the clips of the embedded track, and check them.

    Recordings and the clips of the tests are shipped; spoofed clips of training are made from their
    sources by the codecs that ship too. Each then goes through a channel of its own. What is there
    already is not made again.

    Example: cfbench data mini --only test
    """
    from cfbench.cli.progress import bar
    from cfbench.mini import store
    from cfbench.tasks import find_track

    wanted = find_track(track)
    splits = options.split_list("--only", only)
    if splits is not None and "test" in splits:
        splits = [name for name in splits if name != "test"] + list(wanted.scored)
    with options.resumable(), bar() as shown:
        watch = baseline.unpacking(shown)
        there = store.unpack(wanted, splits, to, verify, workers, watch)
    if json:
        print_json(
            {
                "track": wanted.name,
                "version": wanted.version,
                "folder": str(there.folder),
                "splits": dict(there.splits),
                "bit_exact": there.exact,
                "within_tolerance": there.near,
                "largest_difference_db": round(there.difference, 3),
                "written": there.written,
                "read_again": there.read,
                "licences": dict(there.licences),
            }
        )
        return
    console = results()
    for line in describe(wanted.name, wanted.version, there):
        console.print(line, soft_wrap=True)


def describe(name: str, version: str, there: "store.Unpacked") -> list[str]:
    """What is on the disk now, a line each."""
    from cfbench.errors import plural
    from cfbench.mini.fingerprints import TOLERANCE

    total = there.exact + there.near
    counts = ", ".join(f"{split} {count:,}" for split, count in there.splits.items())
    checked = f"{there.exact:,} to the bit"
    if there.near:
        checked += (
            f", {there.near:,} within {TOLERANCE:g} dB of their fingerprint (16 mel bands by "
            f"0.4 s; the farthest {there.difference:.3f} dB)"
        )
    licences = ", ".join(f"{licence} {count:,}" for licence, count in there.licences.items())
    read = f", {there.read:,} read again" if there.read else ""
    return [
        f"{name} {version}: {plural(total, 'clip')} ({counts})",
        f"as they should be: {checked}",
        f"written now: {there.written:,}{read}",
        f"licences: {licences}; their texts, and whom to name: {there.folder / 'licences'}",
        f"clips: {there.folder}",
    ]
