"""`cfbench convert-checkpoint`."""

from pathlib import Path
from typing import Annotated

import typer

from cfbench.cli import baseline_options as baseline
from cfbench.cli.console import print_note


def convert_checkpoint(
    checkpoint: Annotated[
        str,
        typer.Argument(
            help="One of the authors' checkpoints: a .pth file, or its address on the Hub "
            "(OWNER/REPO/PATH.pth).",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Argument(help="The folder to write.", show_default=False)],
    config: Annotated[
        Path | None,
        typer.Option(
            help="The front end's configuration where it is not XLS-R 300M's: JSON of fairseq or "
            "of transformers. Strides and heads are not in the weights."
        ),
    ] = None,
) -> None:
    """Convert one of the authors' checkpoints to a folder that transformers reads.

    Nothing in the file is executed; a key that is missing or unknown is an error that names it.

    Example: cfbench convert-checkpoint M1_AUX_bal.pth M1_AUX_bal
    """
    baseline.begin()
    from cfbench.checkpoints import replace_folder
    from cfbench.errors import CfbenchError
    from cfbench.hub import weights as hub_weights
    from cfbench.models import authors
    from cfbench.models.fairseq import read_config

    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise CfbenchError(f"{out}: is there already", "name a folder that is not")
    front_end = read_config(config) if config is not None else None
    path = hub_weights.fetch(checkpoint) if hub_weights.is_address(checkpoint) else Path(checkpoint)
    model = authors.convert(path, front_end)
    replace_folder(out, model.save_pretrained)
    count = sum(value.numel() for value in model.parameters())
    print_note(f"{out}: {', '.join(model.config.tasks)}; {count / 1e6:,.1f} million parameters")
