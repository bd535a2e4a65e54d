"""Options of the commands that train or predict, and what they all do first."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cfbench.cli.console import print_note

if TYPE_CHECKING:
    from cfbench.cli.progress import Bar
    from cfbench.runs import Predicted
    from cfbench.training import Progress

PredictionPrecision = Literal["fp32", "bf16", "fp16", "int8"]
# As in `recipes`, which takes longer to import than the help takes to show.

Audio = Annotated[
    list[Path],
    typer.Option(
        "--audio", help="A folder below which the clips are; may be given more than once."
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


def show_training(bar: "Bar", progress: "Progress") -> None:
    """Move a bar on, and say how an epoch ended."""
    numbers = progress.numbers
    done = progress.step - bar.done
    note = f"loss {numbers['train_loss']:.4f}" if "train_loss" in numbers else ""
    bar.total = progress.steps
    bar.advance(done, done if progress.resumed else 0, note)
    if progress.resumed:
        print_note(f"going on at step {progress.step:,} of {progress.steps:,}")
    if "dev_loss" in numbers:
        print_note(
            f"epoch {progress.epoch + 1} of {progress.epochs}: dev loss {numbers['dev_loss']:.4f}, "
            f"dev macro-F1 {100 * numbers['dev_macro_f1']:.1f}"
        )


def report_prediction(done: "Predicted", out: Path) -> int:
    """Say what was predicted and what was not.

    Returns:
        The exit code: 1 where clips are without an answer.
    """
    from cfbench.cli.console import print_problems
    from cfbench.errors import Problem, plural

    outcome = done.outcome
    if not done.main:
        return 0
    if done.difference is not None:
        largest, changed, clips = done.difference
        print_note(
            f"int8 against fp32 on the first {plural(clips, 'clip')}: probabilities differ by up "
            f"to {largest:.4f}, {100 * changed:.1f} % of the decisions"
        )
    speed = outcome.predicted / outcome.seconds if outcome.seconds else 0.0
    if outcome.resumed:
        print_note(f"{plural(outcome.resumed, 'clip')} had been predicted before")
    if outcome.predicted:
        print_note(f"{plural(outcome.predicted, 'clip')} predicted, {speed:,.1f} clips/s")
    if outcome.complete:
        print_note(f"{out}: complete" if not outcome.failures else f"{out}: written")
    else:
        print_note(f"{out}: not yet; the parts of other shards are missing")
    problems = list(outcome.failures.values())
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
