"""`cfbench data download`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cfbench.cli import options
from cfbench.cli.console import print_json, print_note, print_problems, results, working
from cfbench.cli.push import say_wait

if TYPE_CHECKING:
    from cfbench.cli.progress import Bar
    from cfbench.obtain import Done, Plan, Watch

_LINE = 12_500_000  # bytes/s: 100 Mbit/s
_UNPACKS = 30_000_000  # bytes/s of what comes out of xz on one core
_MB = 1_000_000


def download(
    release: Annotated[
        str,
        typer.Argument(help="A published dataset: codecfake-plus; or the path of a release file."),
    ],
    subset: Annotated[
        str | None,
        typer.Option(help="A part of it: labels, cosg or cors. Default: all.", show_default=False),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(
            help="The folder. Default: one of the dataset's name in the current folder.",
            show_default=False,
        ),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="A folder that holds the published files already. They are checked and read "
            "where they are, and nothing is downloaded.",
            show_default=False,
        ),
    ] = None,
    remove_archives: Annotated[
        bool,
        typer.Option(
            "--remove-archives/--keep-archives",
            help="Whether downloaded archives are removed once all is unpacked.",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what there is to do, and do not do it.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Download a published dataset, check it and unpack it.

    What is there already is not done again, and what was interrupted goes on. Exit code 1: not all
    is there, and the same command goes on.

    Example: cfbench data download codecfake-plus --subset cosg --to CodecFake+
    """
    from cfbench.cli.progress import bar
    from cfbench.errors import CfbenchError
    from cfbench.obtain import Incomplete, make_plan, obtain
    from cfbench.release import find_release

    if source is not None and remove_archives:
        raise CfbenchError(
            "--remove-archives removes what was downloaded, and --from downloads nothing",
            "leave one of them out",
        )
    wanted = find_release(release)
    with working("looking at what is there"):
        plan = make_plan(wanted, to or Path(wanted.name), subset, source)
    for line in _describe_plan(plan):
        print_note(line)
    plan.check_disk()
    if dry_run:
        if json:
            print_json(_plan_as_json(plan))
        return
    with options.resumable():
        try:
            with bar() as shown:
                done = obtain(plan, _watch(shown), remove_archives)
        except Incomplete as error:
            print_problems(error.problems)
            print_note("what is there is kept; the same command again goes on where it was")
            raise typer.Exit(1) from None
    if json:
        print_json(_as_json(plan, done))
        return
    console = results()
    for line in _describe(plan, done):
        console.print(line, soft_wrap=True)


def _watch(shown: "Bar") -> "Watch":
    from cfbench.obtain import Watch

    # Whole megabytes, lest the numbers be too long to read.
    rest = [0, 0]

    def begin(total: int, what: str) -> None:
        rest[:] = [0, 0]
        shown.begin(-(-total // _MB), what, "MB")

    def advance(done: int, free: int) -> None:
        whole, rest[0] = divmod(rest[0] + done, _MB)
        whole_free, rest[1] = divmod(rest[1] + free, _MB)
        if whole or whole_free:
            shown.advance(whole, whole_free)

    return Watch(begin=begin, advance=advance, wait=say_wait)


def _describe_plan(plan: "Plan") -> list[str]:
    """What there is to do, and what it needs, a line each."""
    from cfbench.errors import plural
    from cfbench.obtain import gigabytes

    release = plan.release
    lines = [f"{release.title}: {release.repo} at {release.revision[:8]}, into {plan.folder}"]
    if plan.to_download:
        lines.append(
            f"to download: {gigabytes(plan.to_download)}, in about "
            f"{_hours(plan.to_download / _LINE)} at 100 Mbit/s"
        )
    if plan.archives:
        lines.append(
            f"to unpack: about {plural(plan.clips, 'file')}, {gigabytes(plan.to_unpack)}, in about "
            f"{_hours(plan.to_unpack / _UNPACKS)} on one core"
        )
    if plan.needed:
        lines.append(f"disk: about {gigabytes(plan.needed)} needed, {gigabytes(plan.free)} free")
    return lines


def _hours(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    return f"{minutes} min" if minutes < 100 else f"{seconds / 3600:.1f} h"


def _describe(plan: "Plan", done: "Done") -> list[str]:
    """What is there now, a line each."""
    from cfbench.errors import plural
    from cfbench.obtain import gigabytes

    by = {"release": "as published", "hub": "as the Hub has it", "first seen": "recorded"}
    lines = []
    for name, file in done.files.items():
        gone = ", removed" if name in done.removed else ""
        lines.append(
            f"{name}: {file.bytes:,} bytes, sha256 {file.sha256[:16]}... {by[file.by]}{gone}"
        )
    for name, there in done.archives.items():
        where = plan.folder / name / there.top
        lines.append(
            f"{name}: {plural(there.files, 'file')}, {gigabytes(there.size)}, written now "
            f"{there.written:,}; clips: {where}"
        )
    return [*lines, f"downloaded now: {gigabytes(done.downloaded)}", f"folder: {plan.folder}"]


def _plan_as_json(plan: "Plan") -> dict[str, object]:
    return {
        "release": plan.release.name,
        "repo": plan.release.repo,
        "revision": plan.release.revision,
        "folder": str(plan.folder),
        "files": [file.path for file in plan.files],
        "archives": [archive.name for archive in plan.archives],
        "unpacked": sorted(plan.ready),
        "bytes_to_download": plan.to_download,
        "bytes_to_unpack": plan.to_unpack,
        "bytes_needed": plan.needed,
        "bytes_free": plan.free,
    }


def _as_json(plan: "Plan", done: "Done") -> dict[str, object]:
    return {
        "release": plan.release.name,
        "repo": plan.release.repo,
        "revision": plan.release.revision,
        "folder": str(plan.folder),
        "files": {
            name: {"bytes": file.bytes, "sha256": file.sha256, "checked_against": file.by}
            for name, file in done.files.items()
        },
        "archives": {
            name: {
                "folder": str(plan.folder / name),
                "clips": str(plan.folder / name / there.top),
                "files": there.files,
                "bytes": there.size,
                "written": there.written,
            }
            for name, there in done.archives.items()
        },
        "bytes_downloaded": done.downloaded,
        "removed": list(done.removed),
    }
