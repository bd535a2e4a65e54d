"""`cfbench predict`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cfbench.cli import baseline_options as baseline
from cfbench.cli import options

if TYPE_CHECKING:
    from cfbench.inference import Share


def predict(
    *,
    model: Annotated[
        str, typer.Option(help="A model's folder, or the id of a repository on the Hub.")
    ],
    audio: baseline.Audio = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The predictions file: .parquet, .csv, ....")
    ],
    track: options.Track = options.DEFAULT_TRACK,
    protocol: options.Protocol = None,
    split: options.Split = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Clips a batch.")] = 16,
    part_size: Annotated[
        int, typer.Option(min=1, help="Clips that are kept when the run is interrupted.")
    ] = 256,
    precision: baseline.Precision = "fp32",
    compile: baseline.Compile = False,
    cpu: baseline.Cpu = False,
    workers: baseline.Workers = None,
    shard: Annotated[
        str | None,
        typer.Option(help="Do a share of the work: 2/4 is the second of four; any launcher."),
    ] = None,
    strict: baseline.Strict = False,
    overwrite: baseline.Overwrite = False,
) -> None:
    """Predict the utterances of a track with a trained model.

    An interrupted run goes on where it was; clips that cannot be read are listed at the end, with
    exit code 1.

    Example: cfbench predict --model runs/M1_AUX_bal/train/model --audio CodecFake+ --protocol
    lists/ --out predictions.parquet
    """
    baseline.begin()
    from cfbench import steps
    from cfbench.cli.progress import bar
    from cfbench.tasks import find_track

    data = steps.Data(find_track(track), audio, protocol)
    wanted = steps.read_scored(data, options.split_list("--split", split))
    how = steps.Prediction(out, batch_size, part_size, precision, compile, strict, overwrite, shard)
    with options.resumable(), bar() as shown:

        def start(total: int, share: "Share") -> None:
            baseline.show_share(shown, total, share)

        done = steps.predict(
            model,
            wanted,
            data,
            how,
            steps.Machine(cpu, workers),
            start,
            shown.advance,
            baseline.unpacking(shown),
        )
    baseline.end()
    raise typer.Exit(baseline.report_prediction(done, out))
