"""`cfbench run-baseline`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cfbench.cli import baseline_options as baseline
from cfbench.cli import options
from cfbench.cli.console import print_note, print_problems, results
from cfbench.content import EMBEDDED_TRACK

if TYPE_CHECKING:
    from cfbench.inference import Share
    from cfbench.material import Progress
    from cfbench.recipes import Recipe
    from cfbench.runs import Finished, Run


def run_baseline(
    recipe: Annotated[
        str | None,
        typer.Argument(
            help="A recipe by name (cfbench recipes), or FILE.toml. Default: those that the track "
            "names.",
            show_default=False,
        ),
    ] = None,
    audio: baseline.Audio = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="The run's folder; without a recipe, the folder of the runs. Default: "
            "runs/RECIPE.",
            show_default=False,
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
    train: Annotated[
        bool,
        typer.Option(
            "--train", help="Without a recipe: train what has a published model from the start."
        ),
    ] = False,
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

    The run's folder holds everything; run again, and it goes on where it was interrupted. Without a
    recipe all baselines of the embedded track run, and are compared.

    Example: cfbench run-baseline M1_AUX_bal --audio CodecFake+ --protocol lists/ --dry-run
    """
    from cfbench.errors import CfbenchError

    wanted_steps = [word.strip() for word in steps.split(",") if word.strip()]
    baseline.begin()
    from cfbench import runs
    from cfbench.cli.render import render_comparison, render_scorecard
    from cfbench.steps import Data, Machine, Prediction
    from cfbench.tasks import find_track

    strange = [name for name in wanted_steps if name not in runs.STEPS]
    if strange or not wanted_steps:
        raise CfbenchError(
            f"--steps {steps}: no step is called so", f"steps are {', '.join(runs.STEPS)}"
        )
    if model is not None and (train or recipe is None):
        raise CfbenchError(
            "--model belongs to one recipe, and replaces training",
            "name the recipe, and leave out --train",
        )
    recipes = (
        _recipes_of(track or EMBEDDED_TRACK, change)
        if recipe is None
        else [baseline.find_recipe(recipe, change, track)]
    )
    todo = [
        runs.Run(
            recipe=wanted,
            data=Data(find_track(wanted.track), audio or None, protocol),
            folder=_folder(out, wanted, recipe is None),
            model="published"
            if recipe is None and wanted.model.checkpoint and not train
            else model,
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
        for wanted in recipes
    ]
    if dry_run:
        raise typer.Exit(max(_show_plan(what) for what in todo))
    if recipe is None:
        for what in todo:
            # Better now than when the first ones have run.
            runs.check_folder(what)
            if what.model == "published":
                runs.published_model(what.recipe)
    finished = [_run(what) for what in todo]
    baseline.end()
    code = 0
    cards = {}
    for what, done in zip(todo, finished, strict=True):
        code = max(code, _report(what, done))
        if done.scorecard is not None:
            cards[what.recipe.name] = done.scorecard
            if recipe is not None:
                render_scorecard(done.scorecard, results())
            print_note(f"{what.scorecard}: the scorecard; cfbench show draws it again")
    if recipe is None and cards:
        render_comparison(cards, results())
    raise typer.Exit(code)


def _recipes_of(track: str, change: Sequence[str] | None) -> "list[Recipe]":
    """The recipes that a track names as its baselines."""
    from cfbench.errors import CfbenchError
    from cfbench.tasks import find_track

    names = find_track(track).baselines
    if not names:
        raise CfbenchError(
            f"{track} names no baselines", "name a recipe; cfbench recipes lists those that ship"
        )
    return [baseline.find_recipe(name, change, track) for name in names]


def _folder(out: Path | None, recipe: "Recipe", several: bool) -> Path:
    if out is None:
        return Path("runs") / recipe.name
    return out / recipe.name if several else out


def _run(what: "Run") -> "Finished":
    from cfbench import runs
    from cfbench.cli.progress import bar

    with options.resumable(), bar() as shown:

        def step(name: str) -> None:
            unit = "steps" if name == "train" else "clips"
            shown.begin(0, f"{name}: {what.recipe.name}", unit)

        def train(progress: "Progress") -> None:
            baseline.show_training(shown, progress)

        def start(total: int, share: "Share") -> None:
            baseline.show_share(shown, total, share)

        watch = runs.Watch(step, train, start, shown.advance, baseline.unpacking(shown))
        return runs.run(what, watch)


def _report(what: "Run", done: "Finished") -> int:
    """Say what a run has left; returns the exit code."""
    from cfbench.cli.score import note_held_back
    from cfbench.errors import plural

    predicted = done.predicted
    code = 0 if predicted is None else baseline.report_prediction(predicted, what.predictions)
    if done.scorecard is not None:
        note_held_back(done.scorecard)
    elif "score" in what.steps and predicted is not None and predicted.joined.failures:
        lacking = plural(len(predicted.joined.failures), "utterance")
        print_note(
            f"not scored: {lacking} without a prediction; --allow-missing scores them as wrong"
        )
    return code


def _show_plan(what: "Run") -> int:
    from cfbench.dry_run import describe

    plan = describe(what)
    for line in plan.lines:
        results().print(line, soft_wrap=True)
    print_problems(plan.missing)
    return 1 if plan.missing else 0
