"""Draws docs/score.svg: what `cfbench score` prints of the made-up example.

python tests/make_picture.py
"""

import io
import re
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme

import cfbench
from cfbench.cli.render import render_scorecard

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "score.svg"
COMMAND = "cfbench score tasks/example/predictions.csv --track example"
WIDTH = 122

# Dim rows stay readable on this background.
THEME = TerminalTheme(
    (250, 250, 248),
    (32, 32, 32),
    [
        (0, 0, 0),
        (170, 30, 30),
        (20, 120, 40),
        (150, 100, 0),
        (30, 70, 170),
        (130, 40, 130),
        (0, 110, 120),
        (90, 90, 90),
    ],
)


def draw() -> Console:
    """A console that has recorded the picture."""
    console = Console(
        record=True,
        width=WIDTH,
        markup=False,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
        highlight=False,
    )
    console.print(f"$ {COMMAND}")
    card = cfbench.score(ROOT / "tasks" / "example" / "predictions.csv", track="example")
    render_scorecard(card, console)
    return console


def as_svg(console: Console) -> str:
    """The picture, without fonts from elsewhere."""
    svg = console.export_svg(title="cfbench", theme=THEME, unique_id="score", clear=False)
    svg = re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    return svg.replace("<!-- Generated with Rich https://www.textualize.io -->", "")


if __name__ == "__main__":
    PICTURE.write_text(as_svg(draw()), encoding="utf-8", newline="\n")
