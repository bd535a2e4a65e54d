"""`cfbench tasks list|show`."""

from typing import Annotated

import typer

from cfbench.cli import options
from cfbench.cli.console import heading, plain_table, print_json, results

app = typer.Typer(
    help="What is measured: the four tasks.", no_args_is_help=True, rich_markup_mode=None
)


@app.command("list")
def list_tasks(json: options.Json = False) -> None:
    """List the tasks."""
    from cfbench.tasks import load_tasks

    tasks = load_tasks()
    if json:
        print_json([task.model_dump(mode="json") for task in tasks.values()])
        return
    table = plain_table("id", "name", "title", "classes", "headline")
    for task in tasks.values():
        table.add_row(task.id, task.name, task.title, ", ".join(task.class_names), task.headline)
    results().print(table)


@app.command("show")
def show_task(
    name: Annotated[str, typer.Argument(help="vq, vector_quantization, ...", show_default=False)],
    json: options.Json = False,
) -> None:
    """Show a task.

    Its classes, their columns and aliases, and which codecs and generators are in them.
    """
    from cfbench.tasks import TRACING_IDS, find_task, load_taxonomy

    task = find_task(name)
    if json:
        print_json(task.model_dump(mode="json"))
        return
    console = results()
    console.print(heading(task.title, f" ({task.id}, version {task.version}): {task.question}"))
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
    console.print(f"{task.reference.text}. {task.reference.url}")
