"""`cfbench tasks list|show`."""

from typing import TYPE_CHECKING, Annotated

import typer

from cfbench.cli import options
from cfbench.cli.console import heading, plain_table, print_json, results

if TYPE_CHECKING:
    from cfbench.tasks import Task

app = typer.Typer(
    help="What is measured: the four tasks, and those that a track brings.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_Track = Annotated[
    str | None,
    typer.Option(help="The tasks that this track asks, its own too. Default: the four."),
]


@app.command("list")
def list_tasks(track: _Track = None, json: options.Json = False) -> None:
    """List the tasks."""
    tasks = _tasks(track)
    if json:
        print_json([task.model_dump(mode="json") for task in tasks.values()])
        return
    table = plain_table("id", "name", "title", "kind", "classes", "headline")
    for task in tasks.values():
        table.add_row(
            task.id, task.name, task.title, task.kind, ", ".join(task.class_names), task.headline
        )
    results().print(table)


@app.command("show")
def show_task(
    name: Annotated[str, typer.Argument(help="vq, vector_quantization, ...", show_default=False)],
    track: _Track = None,
    json: options.Json = False,
) -> None:
    """Show a task.

    Its classes, their columns and aliases, and which codecs and generators are in them.
    """
    from cfbench.tasks import TRACING_IDS, find_task, load_taxonomy

    task = find_task(name, _tasks(track))
    if json:
        print_json(task.model_dump(mode="json"))
        return
    console = results()
    console.print(heading(task.title, f" ({task.id}, version {task.version}): {task.question}"))
    asked = ", of some utterances only" if task.partial else ""
    metrics = f"; of scores: {', '.join(task.metrics)}" if task.metrics else ""
    console.print(f"{task.kind}{asked}{metrics}")
    console.print(
        f"headline: {task.headline}"
        + (
            f"; {task.headline_for_labels} where only labels are given"
            if task.headline_for_labels != task.headline
            else ""
        )
    )
    table = plain_table("class", "column", "meaning", "also read")
    for cls in task.classes:
        table.add_row(cls.name, cls.column, f"{cls.title}. {cls.meaning}", ", ".join(cls.aliases))
    console.print(table)
    if task.id in TRACING_IDS:
        makers = plain_table("class", "codecs (CoRS)", "generators (CoSG)")
        taxonomy = load_taxonomy()
        for cls in task.classes[1:]:
            makers.add_row(
                cls.name,
                *(
                    ", ".join(m.id for m in group if getattr(m, task.id) == cls.name)
                    for group in (taxonomy.codecs, taxonomy.generators)
                ),
            )
        console.print(makers)
    if task.reference:
        console.print(f"{task.reference.text}. {task.reference.url}")


def _tasks(track: str | None) -> "dict[str, Task]":
    """The tasks that a track asks, by id; without a track those that ship."""
    from cfbench.tasks import find_track, load_tasks

    if track is None:
        return dict(load_tasks())
    return {task.id: task for task in find_track(track).asked}
