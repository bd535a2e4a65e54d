"""`cfbench train`."""

from pathlib import Path
from typing import Annotated

import typer

from cfbench.cli import baseline_options as baseline
from cfbench.cli import options
from cfbench.cli.console import print_note


def train(
    recipe: Annotated[
        str, typer.Argument(help="A recipe by name (cfbench recipes), or FILE.toml.")
    ],
    *,
    audio: baseline.Audio = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="A folder for checkpoints and the trained model.")
    ],
    track: baseline.Track = None,
    protocol: options.Protocol = None,
    front_end: baseline.FrontEnd = None,
    change: baseline.Set = None,
    cpu: baseline.Cpu = False,
    workers: baseline.Workers = None,
) -> None:
    """Train a baseline; an interrupted run goes on where it was.

    Example: cfbench train M1_AUX_bal --audio CodecFake+ --protocol lists/ --out runs/m1
    """
    baseline.begin()
    from cfbench import steps
    from cfbench.cli.progress import bar
    from cfbench.environment import is_main_process
    from cfbench.tasks import find_track

    wanted = baseline.find_recipe(recipe, change, track)
    data = steps.Data(find_track(wanted.track), audio, protocol)
    with options.resumable(), bar() as shown:
        shown.begin(0, f"training {wanted.name}", "steps")
        model = steps.train(
            wanted,
            data,
            out,
            steps.Machine(cpu, workers),
            front_end,
            lambda progress: baseline.show_training(shown, progress),
            baseline.unpacking(shown),
        )
    baseline.end()
    if is_main_process():
        print_note(f"the trained model: {model}")
