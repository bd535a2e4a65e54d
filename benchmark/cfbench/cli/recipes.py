"""`cfbench recipes`."""

from typing import Annotated

import typer

from cfbench.cli import options
from cfbench.cli.console import plain_table, print_json, results


def recipes(
    name: Annotated[
        str | None,
        typer.Argument(help="Show one, complete; a name, or FILE.toml.", show_default=False),
    ] = None,
    json: options.Json = False,
) -> None:
    """List the recipes that ship with cfbench, or show one.

    Example: cfbench recipes M1_AUX_bal
    """
    from cfbench.recipes import find_recipe, recipe_names

    if name is not None:
        recipe = find_recipe(name)
        if json:
            print_json(recipe.model_dump(mode="json"))
            return
        print_recipe(recipe.model_dump(mode="json"))
        return
    found = [find_recipe(known) for known in recipe_names()]
    if json:
        print_json([recipe.model_dump(mode="json") for recipe in found])
        return
    table = plain_table("recipe", "what it is", "tasks", "balanced by", "trained model")
    for recipe in found:
        table.add_row(
            recipe.name,
            recipe.title,
            " ".join(recipe.model.tasks),
            recipe.data.balance,
            "published" if recipe.model.checkpoint else "",
        )
    results().print(table)


def print_recipe(data: dict[str, object]) -> None:
    """Print a recipe's settings, a line each, as `--set` takes them."""
    for line in _lines(data, ""):
        results().print(line, soft_wrap=True)


def _lines(data: dict[str, object], prefix: str) -> list[str]:
    lines: list[str] = []
    for key, value in data.items():
        if isinstance(value, dict):
            lines += _lines(value, f"{prefix}{key}.")
        else:
            import json

            lines.append(f"{prefix}{key} = {json.dumps(value, ensure_ascii=False)}")
    return lines
