"""Options that several commands share."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from cfbench.cli.console import print_note
from cfbench.content import DEFAULT_TRACK as DEFAULT_TRACK
from cfbench.errors import CfbenchError

Track = Annotated[
    str,
    typer.Option(help="A track by name (cfbench tracks list), or the path of a track file."),
]
Protocol = Annotated[
    Path | None,
    typer.Option(
        help="A list, or a folder of lists. Default: what the track ships, else "
        "the folder that CFBENCH_PROTOCOLS names.",
        show_default=False,
    ),
]
Split = Annotated[
    str | None,
    typer.Option(
        help="One split, id or ood, or several separated by commas. Default: all that the track "
        "scores."
    ),
]
Tasks = Annotated[
    str | None,
    typer.Option(
        help="Tasks, separated by commas: bin,vq,aux,dec, or the track's own. Default: all given."
    ),
]
Format = Annotated[
    str, typer.Option(help="auto, csv, tsv, parquet, jsonl, or authors (their score files).")
]
Logits = Annotated[
    bool, typer.Option("--logits", help="The numbers are logits, not probabilities.")
]
AllowMissing = Annotated[
    bool,
    typer.Option(
        "--allow-missing", help="Score utterances without a prediction as wrong, and say so."
    ),
]
Under = Annotated[
    str, typer.Option(help="The folder of the entries in a repository; empty for none.")
]
UNDER = "submissions"
Bootstrap = Annotated[
    int,
    typer.Option(min=0, max=100_000, help="Resamples for intervals; 0 leaves intervals out."),
]
Seed = Annotated[int, typer.Option(min=0, help="Of the resamples.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]

EXAMPLES = {"--tasks": "bin,vq", "--split": "id", "--only": "test"}


@contextmanager
def resumable() -> Iterator[None]:
    """Say, when the user interrupts, that the work is not lost; exit code 130."""
    try:
        yield
    except KeyboardInterrupt:
        print_note("interrupted; the same command again goes on where it was")
        raise typer.Exit(130) from None


def split_list(option: str, text: str | None) -> list[str] | None:
    """The words of an option like `--tasks bin,vq`; None where it was not given.

    Raises:
        CfbenchError: It was given, and is empty.
    """
    if text is None:
        return None
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words:
        raise CfbenchError(f"{option} is empty", f"for example {option} {EXAMPLES[option]}")
    return words
