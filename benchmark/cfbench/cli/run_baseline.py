"""`cfbench run-baseline`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cfbench.cli import baseline_options as baseline
from cfbench.cli import options
from cfbench.cli.console import print_note, print_problems, results

if TYPE_CHECKING:
    from cfbench.inference import Share
    from cfbench.material import Progress
    from cfbench.runs import Run


def run_baseline(
    recipe: Annotated[
        str, typer.Argument(help="A recipe by name (cfbench recipes), or FILE.toml.")
    ],
    audio: baseline.Audio,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="The run's folder. Default: runs/RECIPE.", show_default=False
        ),
    ] = None,
    track: baseline.Track = None,
    protocol: options.Protocol = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="A trained model, instead of training: a folder, an id on the Hub, one of the "
            "authors' checkpoints (file or address), or 'published' for the recipe's own."
        ),
    ] = None,
    front_end: baseline.FrontEnd = None,
    steps: Annotated[
        str, typer.Option(help="Which steps to do, separated by commas.")
    ] = "train,predict,score",
    change: baseline.Set = None,
    precision: Annotated[
        baseline.PredictionPrecision | None,
        typer.Option(help="Of prediction. Default: the recipe's.", show_default=False),
    ] = None,
    compile: baseline.Compile = False,
    cpu: baseline.Cpu = False,
    workers: baseline.Workers = None,
    strict: baseline.Strict = False,
    overwrite: baseline.Overwrite = False,
    allow_missing: options.AllowMissing = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say what would happen, what it needs and what is missing."),
    ] = False,
) -> None:
    """Run a baseline: train it, predict, score.

    The run's folder holds everything; run again, and it goes on where it was interrupted.

    Example: cfbench run-baseline M1_AUX_bal --audio CodecFake+ --protocol lists/ --dry-run
    """
    from cfbench.errors import CfbenchError, plural

    wanted_steps = [word.strip() for word in steps.split(",") if word.strip()]
    baseline.begin()
    from cfbench import runs
    from cfbench.cli.progress import bar
    from cfbench.cli.render import render_scorecard
    from cfbench.steps import Data, Machine, Prediction
    from cfbench.tasks import find_track

    strange = [name for name in wanted_steps if name not in runs.STEPS]
    if strange or not wanted_steps:
        raise CfbenchError(
            f"--steps {steps}: no step is called so", f"steps are {', '.join(runs.STEPS)}"
        )
    wanted = baseline.find_recipe(recipe, change, track)
    what = runs.Run(
        recipe=wanted,
        data=Data(find_track(wanted.track), audio, protocol),
        folder=out or Path("runs") / wanted.name,
        model=model,
        front_end=front_end,
        steps=wanted_steps,
        machine=Machine(cpu, workers),
        prediction=Prediction(
            Path(),
            wanted.prediction.batch_size,
            256,
            precision or wanted.prediction.precision,
            compile,
            strict,
            overwrite,
        ),
        allow_missing=allow_missing,
    )
    if dry_run:
        _show_plan(what)
        return
    with baseline.resumable(), bar() as shown:

        def step(name: str) -> None:
            shown.begin(0, f"{name}: {wanted.name}", "steps" if name == "train" else "clips")

        def train(progress: "Progress") -> None:
            baseline.show_training(shown, progress)

        def start(total: int, share: "Share") -> None:
            baseline.show_share(shown, total, share)

        done = runs.run(what, runs.Watch(step, train, start, shown.advance))
    baseline.end()
    predicted = done.predicted
    code = 0 if predicted is None else baseline.report_prediction(predicted, what.predictions)
    if done.scorecard is not None:
        render_scorecard(done.scorecard, results())
        print_note(f"{what.scorecard}: the scorecard; cfbench show draws it again")
    elif "score" in wanted_steps and predicted is not None and predicted.joined.failures:
        lacking = plural(len(predicted.joined.failures), "utterance")
        print_note(
            f"not scored: {lacking} without a prediction; --allow-missing scores them as wrong"
        )
    raise typer.Exit(code)


def _show_plan(what: "Run") -> None:
    from cfbench.dry_run import describe

    plan = describe(what)
    for line in plan.lines:
        results().print(line, soft_wrap=True)
    print_problems(plan.missing)
    raise typer.Exit(1 if plan.missing else 0)
