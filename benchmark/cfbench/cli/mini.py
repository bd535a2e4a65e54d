"""`cfbench mini`: how the embedded track is made. Users of the track need none of it."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cfbench.environment import same_kernels, share_cores

if TYPE_CHECKING:
    from cfbench.cli.progress import Bar

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.callback()
def settle() -> None:
    """Make the embedded track anew: speech, codecs, clips. For its makers."""
    # Before torch and numpy are loaded; the processes that train inherit it.
    os.environ.update(same_kernels())
    share_cores()


Corpus = Annotated[Path, typer.Option(help="The corpus' folder.")]
Work = Annotated[Path, typer.Option(help="The folder of trained codecs.")]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Processes, of one thread each. Default: one a core.")
]
CORPUS, WORK = Path("runs/mini/corpus"), Path("runs/mini/codecs")


@app.command("speech")
def speech(
    packages: Annotated[Path, typer.Argument(help="The folder of the .deb files.")],
    corpus: Corpus = CORPUS,
) -> None:
    """Make the speech corpus out of Debian packages, whose names and digests are pinned.

    Example: cfbench mini speech runs/mini/packages
    """
    from cfbench.mini import speech as rooms

    for path in rooms.build(packages, corpus):
        typer.echo(str(path))


@app.command("packages")
def packages() -> None:
    """The packages, as `apt-get download` wants them."""
    from cfbench.mini.speech import packages as pinned

    for package in pinned():
        typer.echo(f"{package.package}={package.version}")


@app.command("teach")
def teach(corpus: Corpus = CORPUS) -> None:
    """Have the teachers listen to the corpus: the targets of distillation and disentanglement."""
    from cfbench.cli.progress import bar
    from cfbench.mini import teaching

    with bar() as shown:
        typer.echo(str(teaching.teach(corpus, _share(shown, "teachers listen"))))


@app.command("codecs")
def codecs(
    settings: Annotated[Path, typer.Option(help="The folder of the codecs' settings.")] = Path(
        "tasks/mini/codecs"
    ),
    corpus: Corpus = CORPUS,
    work: Work = WORK,
    only: Annotated[
        list[str] | None, typer.Option(help="Train these, and what they start from.")
    ] = None,
    workers: Workers = None,
) -> None:
    """Train the codecs and the models that generate speech; those that are trained stay.

    Example: cfbench mini codecs --only svq-none-freq
    """
    from cfbench.mini import foundry

    def done(name: str, left: int) -> None:
        typer.echo(f"{name}: trained, {left} to go", err=True)

    made = foundry.forge(corpus, settings, work, only or (), workers, done)
    if not only:
        made += foundry.forge_generators(corpus, work, workers, done)
    for path in made:
        typer.echo(str(path))


@app.command("measure")
def measure(corpus: Corpus = CORPUS, work: Work = WORK) -> None:
    """Measure every codec, and write its card."""
    from cfbench.mini import cards

    for told in cards.measure_all(corpus, work):
        typer.echo(f"{told.name}: {told.mel_distance:.2f} dB")


@app.command("track")
def track(
    secret: Annotated[
        Path, typer.Argument(help="A file whose text decides draws and names of test clips.")
    ],
    corpus: Corpus = CORPUS,
    work: Work = WORK,
    clips: Annotated[
        Path, typer.Option(help="Where all clips go, and labels.csv with the secret labels.")
    ] = Path("runs/mini/clips"),
    out: Annotated[Path, typer.Option(help="The track's folder.")] = Path("tasks/mini"),
    workers: Workers = None,
) -> None:
    """Make the clips of all splits, and the files that ship.

    Example: cfbench mini track runs/mini/secret.txt
    """
    from cfbench.cli.progress import bar
    from cfbench.mini import making

    with bar() as shown:
        labels = making.assemble(
            corpus,
            work,
            secret.read_text(encoding="utf-8").strip(),
            clips,
            out,
            workers,
            _share(shown, "clips"),
        )
    typer.echo(str(labels))


@app.command("picture")
def picture(
    codecs: Annotated[Path, typer.Option(help="The folder of the codecs.")] = Path(
        "tasks/mini/codecs"
    ),
    out: Annotated[Path, typer.Option("--out", "-o", help="The PNG.")] = Path(
        "docs/mini-spectrograms.png"
    ),
) -> None:
    """Draw one sentence of a voice of the tests through all codecs."""
    from cfbench.mini import figures, making

    figures.draw_spectrograms(making.one_sentence(codecs), out)
    typer.echo(str(out))


@app.command("findings")
def findings(
    folder: Annotated[Path, typer.Option("--runs", help="The folder of the runs.")] = Path(
        "runs/findings"
    ),
    out: Annotated[Path, typer.Option("--out", "-o", help="The report's folder.")] = Path("docs"),
    baselines: Annotated[
        Path, typer.Option(help="The folder of the runs of cfbench run-baseline.")
    ] = Path("runs"),
    epochs: Annotated[
        int, typer.Option(min=1, help="For which variants of the neural system are trained.")
    ] = 12,
    only: Annotated[list[str] | None, typer.Option(help="Train these variants.")] = None,
) -> None:
    """Ask the paper's questions of the embedded track: train variants, and write the report.

    Example: cfbench run-baseline && cfbench mini findings
    """
    from cfbench.cli import baseline_options as baseline
    from cfbench.cli.progress import bar
    from cfbench.errors import CfbenchError
    from cfbench.mini import findings as rooms
    from cfbench.runs import Watch
    from cfbench.scorecard import read_scorecard

    baseline.begin()
    published = {}
    for name in (rooms.CLASSICAL, rooms.NEURAL):
        path = baselines / name / "scorecard.json"
        if not path.is_file():
            raise CfbenchError(f"{path}: no such file", "run the baselines first: run-baseline")
        published[name] = read_scorecard(path)
    with bar() as shown:

        def begin(variant: rooms.Variant) -> None:
            typer.echo(f"{variant.name}: {variant.title}", err=True)

        def step(name: str) -> None:
            shown.begin(0, name, "steps" if name == "train" else "clips")

        watch = Watch(
            step,
            lambda progress: baseline.show_training(shown, progress),
            lambda total, share: baseline.show_share(shown, total, share),
            shown.advance,
            baseline.unpacking(shown),
        )
        cards = rooms.investigate(folder, epochs, only or (), rooms.Watch(begin, watch))
    baseline.end()
    typer.echo(str(rooms.report(cards, published, out)))


def _share(shown: "Bar", what: str) -> Callable[[float], None]:
    """A report of a share of the whole, on a bar."""
    shown.begin(100, what, "%")
    done = 0

    def advance(share: float) -> None:
        nonlocal done
        more = int(share * 100) - done
        done += more
        shown.advance(more)

    return advance
