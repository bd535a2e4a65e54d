"""Options of the commands that train or predict, and what they all do first."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cfbench.cli.console import print_note

if TYPE_CHECKING:
    from cfbench.cli.progress import Bar
    from cfbench.inference import Share
    from cfbench.material import Progress
    from cfbench.mini.store import Watch
    from cfbench.recipes import Recipe
    from cfbench.steps import Predicted

PredictionPrecision = Literal["fp32", "bf16", "fp16", "int8"]
# As in `recipes`, which takes longer to import than the help takes to show.

Audio = Annotated[
    list[Path] | None,
    typer.Option(
        "--audio",
        help="A folder below which the clips are; may be given more than once. Default: the clips "
        "that the track ships.",
        show_default=False,
    ),
]
Track = Annotated[
    str | None,
    typer.Option(
        help="A track instead of the recipe's: a name (cfbench tracks list), or a track file.",
        show_default=False,
    ),
]
Cpu = Annotated[bool, typer.Option("--cpu", help="Leave a GPU alone.")]
Workers = Annotated[
    int | None,
    typer.Option(
        min=0, help="Processes that decode audio. Default: 1 on a CPU, up to 16 for each GPU."
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change a setting of the recipe: --set training.epochs=2."),
]
FrontEnd = Annotated[
    str | None,
    typer.Option(
        help="Weights of the front end instead of the recipe's: an id on the Hub, a folder that "
        "transformers wrote, or fairseq's xlsr2_300m.pt."
    ),
]
Precision = Annotated[
    PredictionPrecision, typer.Option(help="Of the front end; int8 on a CPU only.")
]
Compile = Annotated[
    bool, typer.Option("--compile", help="Use torch.compile: slow to start, faster afterwards.")
]
Strict = Annotated[
    bool, typer.Option("--strict", help="Stop at the first clip that cannot be read.")
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace predictions that were made in another way.")
]


def begin() -> None:
    """Make sure that torch is there, and keep transformers from talking beside us.

    Raises:
        CfbenchError: What the baselines need is not installed.
    """
    from cfbench.environment import require_baseline, share_cores

    require_baseline()
    share_cores()
    from cfbench.models.wav2vec2_aasist import quieten

    quieten()


def end() -> None:
    """Part from the other processes of a launcher."""
    from cfbench.processes import leave

    leave()


def find_recipe(name: str, overrides: Sequence[str] | None, track: str | None) -> "Recipe":
    """The recipe that a command was given, with what it changes.

    Raises:
        CfbenchError: There is no such recipe, or a setting breaks the schema.
    """
    from cfbench.recipes import find_recipe

    recipe = find_recipe(name, overrides or [])
    if track is None:
        return recipe
    # A file is known by one name, wherever the command is given.
    place = str(Path(track).resolve()) if track.endswith(".toml") else track
    return recipe.model_copy(update={"track": place})


def unpacking(bar: "Bar") -> "Watch":
    """What shows on a bar how the clips of a track are unpacked."""
    from cfbench.mini.store import Watch

    return Watch(
        lambda total, what: bar.begin(total, what, "clips"), lambda done: bar.advance(done)
    )


def show_training(bar: "Bar", progress: "Progress") -> None:
    """Move a bar on, and say how an epoch ended."""
    numbers = progress.numbers
    if (bar.total, bar.what) != (progress.steps, progress.phase):
        # What was read and built before is no part of the speed.
        bar.begin(progress.steps, progress.phase, "steps")
    done = progress.step - bar.done
    note = f"loss {numbers['train_loss']:.4f}" if "train_loss" in numbers else progress.doing
    bar.advance(done, done if progress.resumed else 0, note)
    for line in progress.notes:
        print_note(line)
    if progress.resumed:
        print_note(f"going on at step {progress.step:,} of {progress.steps:,}")
    if "dev_loss" in numbers:
        print_note(
            f"epoch {progress.epoch + 1} of {progress.epochs}: dev loss {numbers['dev_loss']:.4f}, "
            f"dev macro-F1 {100 * numbers['dev_macro_f1']:.1f}"
        )


def show_share(bar: "Bar", total: int, share: "Share") -> None:
    """Begin to count the clips of a share; where there are several, say which it is."""
    from cfbench.errors import plural

    if share.count > 1:
        print_note(f"share {share.index + 1} of {share.count}: {plural(total, 'clip')}")
    bar.begin(total, "predicting", "clips")


def report_prediction(done: "Predicted", out: Path) -> int:
    """Say what was predicted and what was not.

    Returns:
        The exit code: 1 where clips are without an answer.
    """
    from cfbench.cli.console import print_problems
    from cfbench.errors import Problem, plural

    outcome, share = done.outcome, done.share
    who = f"share {share.index + 1} of {share.count}: " if share.count > 1 else ""
    if done.difference is not None:
        largest, changed, clips = done.difference
        print_note(
            f"int8 against fp32 on the first {plural(clips, 'clip')}: probabilities differ by up "
            f"to {largest:.4f}, {100 * changed:.1f} % of the decisions"
        )
    if outcome.resumed:
        print_note(f"{who}{plural(outcome.resumed, 'clip')} done before")
    if outcome.predicted:
        speed = outcome.predicted / outcome.seconds
        print_note(f"{who}{plural(outcome.predicted, 'clip')} predicted, {speed:,.1f} clips/s")
    if not done.main:
        return 0
    failures = dict(done.joined.failures)
    if not done.joined.complete:
        print_note(f"{out}: not yet; parts of other shares are missing")
    elif not failures:
        print_note(f"{out}: complete")
    else:
        print_note(
            f"{out}: written, {plural(len(failures), 'utterance is|utterances are')} lacking"
        )
    problems = [problem for utt_id, problem in failures.items() if utt_id not in done.missing]
    if done.missing:
        shown = "\n".join(f"  {utt_id}" for utt_id in done.missing)
        problems.append(
            Problem(
                f"{plural(len(done.missing), 'utterance has|utterances have')} no audio file:\n"
                f"{shown}",
                "they have no prediction",
            )
        )
    print_problems(problems)
    return 1 if problems else 0
