"""The command line: one small module a command group; no logic.

Modules here import nothing heavy at the top: `cfbench --help` must not wait for polars.
"""

import typer

from cfbench.cli import (
    compare,
    convert_checkpoint,
    data,
    leaderboard,
    mini,
    predict,
    protocol,
    push,
    recipes,
    report,
    run_baseline,
    score,
    show,
    submit,
    tasks,
    template,
    tracks,
    train,
    validate,
    verify,
)

app = typer.Typer(
    name="cfbench",
    help="Benchmark for tracing codec-based deepfake speech to its source.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # the styled help would take half of the time to show it
    pretty_exceptions_enable=False,
)
app.command("score")(score.score)
app.command("show")(show.show)
app.command("validate")(validate.validate)
app.command("template")(template.template)
app.command("schema")(score.schema)
app.command("compare")(compare.compare)
app.command("report")(report.report)
app.command("submit")(submit.submit)
app.command("verify")(verify.verify)
app.command("push")(push.push)
app.command("run-baseline")(run_baseline.run_baseline)
app.command("train")(train.train)
app.command("predict")(predict.predict)
app.command("recipes")(recipes.recipes)
app.command("convert-checkpoint")(convert_checkpoint.convert_checkpoint)
app.add_typer(leaderboard.app, name="leaderboard")
app.add_typer(data.app, name="data")
app.add_typer(mini.app, name="mini")
app.add_typer(protocol.app, name="protocol")
app.add_typer(tasks.app, name="tasks")
app.add_typer(tracks.app, name="tracks")


@app.callback(invoke_without_command=True)
def _version(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", help="Print the version and leave."),
) -> None:
    if version:
        import cfbench

        typer.echo(f"cfbench {cfbench.__version__}")
        raise typer.Exit
