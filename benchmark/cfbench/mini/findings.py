"""The paper's questions, asked of the embedded track: trains variants of baselines, and reports.

What is compared differs in one thing only. Everything that the report says of a number comes out of
the runs' scorecards, which stay in the runs' folders.

Source of the questions: Chen et al., Codec-Based Deepfake Source Tracing via Neural Audio Codec
Taxonomy, Interspeech 2025, arXiv 2505.12994.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cfbench import content, files, runs
from cfbench.mini import levels, store
from cfbench.mini.figures import Point, draw_points
from cfbench.mini.resynthesis import read_pcm, write_flac
from cfbench.recipes import find_recipe
from cfbench.scorecard import Number, Scorecard, read_scorecard
from cfbench.steps import Data, Machine, read_scored
from cfbench.tasks import TRACING_IDS, find_track

CLASSICAL, NEURAL = "log-mel-logistic-mini", "wav2vec2-aasist-mini"

SHORT = (
    "training.epochs={epochs}",
    "data.redraw=true",
    "data.samples=16384",
    "augmentation.crop=16384",
    "data.windows=3",
    "training.weights=fp32",
)
"""How the variants of the neural system differ from its recipe: they are trained for less long, on
excerpts of 1 s, draw their balanced half anew each epoch, and are not rounded, since they do not
ship."""


@dataclass(frozen=True)
class Variant:
    """A system that is trained and scored.

    Attributes:
        name: Of its run's folder.
        title: In the report.
        recipe: What it starts from.
        changes: What it changes of it.
        without_silence: The name of a trained variant; it answers the tests' clips without their
            silence.
    """

    name: str
    title: str
    recipe: str = NEURAL
    changes: Sequence[str] = ()
    without_silence: str = ""


@dataclass(frozen=True)
class Question:
    """What some variants are compared for."""

    title: str
    variants: Sequence[Variant]
    reading: str


def _neural(name: str, title: str, balance: str, tasks: Sequence[str] = ()) -> Variant:
    changes = [f"data.balance={balance}"]
    if tasks:
        changes.append(f"model.tasks={list(tasks)!r}".replace("'", '"'))
    return Variant(name, title, changes=tuple(changes))


_AUX = _neural("multi-aux", "multi-task, AUX-balanced", "aux")
_CLASSICAL = Variant(
    "classical-listed", "log-mel + logistic, all clips", CLASSICAL, ("data.balance=as-listed",)
)

QUESTIONS: Mapping[str, Question] = {
    "balance": Question(
        "Which balancing generalises best?",
        (
            _neural("multi-vq", "multi-task, VQ-balanced", "vq"),
            _AUX,
            _neural("multi-dec", "multi-task, DEC-balanced", "dec"),
            *(
                Variant(
                    f"classical-{task_id}",
                    f"log-mel + logistic, {task_id.upper()}-balanced",
                    CLASSICAL,
                    (f"data.balance={task_id}",),
                )
                for task_id in TRACING_IDS
            ),
        ),
        "The track is a full factorial: each class of a task has as many codecs as any other, so "
        "all balancings draw from nearly the same mixture. On CodecFake+, whose codecs fill 11 of "
        "18 cells unevenly, a balancing also decides which codecs are heard.",
    ),
    "tasks": Question(
        "Do single-, dual- and multi-task training differ?",
        (
            *(
                _neural(f"single-{task_id}", f"single-task, {task_id.upper()}", "aux", (task_id,))
                for task_id in TRACING_IDS
            ),
            *(
                _neural(f"dual-{task_id}", f"dual-task, BIN + {task_id.upper()}", "aux",
                        ("bin", task_id))
                for task_id in TRACING_IDS
            ),
            _AUX,
        ),
        "All draw the AUX-balanced half, so that they hear the same clips; a single-task system "
        "has the encoder to itself. The front end is the same for all, pre-trained and frozen.",
    ),
    "silence": Question(
        "How much is lost when silence is removed?",
        (
            _CLASSICAL,
            Variant("classical-silence", "the same, tests without silence", CLASSICAL,
                    _CLASSICAL.changes, _CLASSICAL.name),
            _AUX,
            Variant("multi-silence", "the same, tests without silence", NEURAL, _AUX.changes,
                    _AUX.name),
        ),
        "Frames of 20 ms more than 35 dB below the clip's loudest, before the channel adds its "
        "noise, are cut out of the tests' clips; training heard them whole. Clips were trimmed at "
        "both ends before anything else, so that what is cut are pauses.",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Watch:
    """Whom the work tells how it gets on."""

    variant: Callable[[Variant], None] = lambda variant: None
    run: runs.Watch = field(default_factory=runs.Watch)


def investigate(
    folder: Path, epochs: int, only: Sequence[str] = (), watch: Watch = Watch()
) -> dict[str, Scorecard]:
    """Train, answer and score all variants; those that are done stay.

    Args:
        folder: Of the runs.
        epochs: For which the variants of the neural system are trained.
        only: Names of variants; all where none is given.
        watch: Told how it gets on.

    Returns:
        Scorecards by the names of variants, of all that are there.

    Raises:
        CfbenchError: What a run raises.
    """
    cards = {}
    for variant in all_variants():
        path = folder / variant.name / "scorecard.json"
        if not path.is_file() and (not only or variant.name in only):
            watch.variant(variant)
            runs.run(_run(variant, folder, epochs), watch.run)
        if path.is_file():
            cards[variant.name] = read_scorecard(path)
    return cards


def all_variants() -> list[Variant]:
    """Each once, what others need first."""
    found = {v.name: v for question in QUESTIONS.values() for v in question.variants}
    return sorted(found.values(), key=lambda variant: bool(variant.without_silence))


def _run(variant: Variant, folder: Path, epochs: int) -> runs.Run:
    changes = list(variant.changes)
    if variant.recipe == NEURAL:
        changes += [one.format(epochs=epochs) for one in SHORT]
    recipe = find_recipe(variant.recipe, (*changes, 'model.checkpoint=""'))
    track, audio, model = find_track(recipe.track), None, None
    if variant.without_silence:
        audio = [_silence_removed(Data(track), folder / "without-silence")]
        model = str(folder / variant.without_silence / "train" / "model")
    # What the front end learns without labels is the same for all: it is learned once.
    first = next(v for v in all_variants() if v.recipe == NEURAL)
    taught = sorted((folder / first.name / "train").glob("front-end-*"))
    return runs.Run(
        recipe,
        Data(track, audio),
        folder / variant.name,
        model,
        front_end=str(taught[0]) if taught and variant.recipe == NEURAL else None,
        machine=Machine(cpu=True),
    )


def _silence_removed(data: Data, folder: Path) -> Path:
    """The tests' clips without their silence."""
    wanted = read_scored(data)
    data.unpack(wanted.scored)
    clips = store.clips_folder(data.track)
    folder.mkdir(parents=True, exist_ok=True)
    # Where nobody speaks is heard before the channel, whose noise fills the pauses.
    for utt_id, quiet in store.shipped_clips(data.track, wanted.answerable()).items():
        active = levels.active_frames(levels.as_samples(quiet))
        frames = read_pcm(clips / f"{utt_id}.flac")[: len(active) * levels.FRAME]
        cut = frames.reshape(-1, levels.FRAME)[active].ravel()
        place = folder / f"{utt_id}.flac"
        # A file that is touched would have its answer anew.
        if not place.is_file() or not np.array_equal(read_pcm(place), cut):
            write_flac(place, cut)
    return folder


def report(cards: Mapping[str, Scorecard], published: Mapping[str, Scorecard], out: Path) -> Path:
    """Write findings.md and its pictures.

    Args:
        cards: Of `investigate`.
        published: Of the track's own baselines, by recipe.
        out: A folder.

    Returns:
        findings.md.
    """
    text = content.text("tasks/mini/findings-head.md").rstrip() + "\n"
    text += "\n".join(_drop(published, out)) + "\n"
    for name, question in QUESTIONS.items():
        asked = [variant for variant in question.variants if variant.name in cards]
        if asked:
            text += "\n".join(_section(name, question, asked, cards, out)) + "\n"
    text += "\n".join(_factors(published, out)) + "\n"
    text += "\n" + content.text("tasks/mini/findings-tail.md")
    out.mkdir(parents=True, exist_ok=True)
    files.write_text(out / "findings.md", text)
    return out / "findings.md"


def _drop(cards: Mapping[str, Scorecard], out: Path) -> Iterator[str]:
    yield "\n## Does F1 stay high in domain, and fall out of domain?\n"
    yield from _table(list(cards.items()))
    yield ""
    yield f"![In domain against out of domain]({_picture('drop', list(cards.items()), out)})"


def _section(
    name: str,
    question: Question,
    variants: Sequence[Variant],
    cards: Mapping[str, Scorecard],
    out: Path,
) -> Iterator[str]:
    asked = [(variant.title, cards[variant.name]) for variant in variants]
    yield f"\n## {question.title}\n"
    yield from _table(asked)
    yield ""
    yield f"![{question.title}]({_picture(name, asked, out)})"
    yield ""
    yield question.reading
    yield ""
    titles = {variant.name: variant.title for variant in variants}
    for task_id in TRACING_IDS:
        known = [v for v in variants if task_id in cards[v.name].tasks]
        points = {v.name: _point(cards[v.name], task_id, "ood") for v in known}
        cuts = [variant for variant in known if variant.without_silence in points]
        for cut in cuts:
            before, after = points[cut.without_silence], points[cut.name]
            yield (
                f"- {task_id.upper()}, out of domain, {titles[cut.without_silence]}: "
                f"{_said(before)} with the pauses, {_said(after)} without; the intervals "
                + ("overlap." if _overlap(before, after) else "are apart.")
            )
        if cuts:
            continue
        # A question about training compares what differs in training only.
        for recipe in dict.fromkeys(variant.recipe for variant in known):
            rivals = {titles[v.name]: points[v.name] for v in known if v.recipe == recipe}
            if len(rivals) > 1:
                yield _best(task_id, rivals)


def _best(task_id: str, points: Mapping[str, Point]) -> str:
    """Who does best out of domain, and from whom the intervals tell it apart."""
    best = max(points, key=lambda title: points[title][0])
    worse = [t for t in points if t != best and not _overlap(points[t], points[best])]
    apart = f"that of {' and that of '.join(worse)}" if worse else "none of the others"
    return (
        f"- {task_id.upper()}, out of domain: the highest is {best}, {_said(points[best])}; its "
        f"interval is apart from {apart}."
    )


def _overlap(one: Point, other: Point) -> bool:
    return one[1] <= other[2] and other[1] <= one[2]


def _factors(cards: Mapping[str, Scorecard], out: Path) -> Iterator[str]:
    yield "\n## One factor at a time\n"
    yield (
        "Clips of one codec, and how often each answer about it is right (%, with the 95 % "
        "interval over source utterances). Codecs of the first 18 rows differ from each other in "
        "one, two or three factors and in nothing else: same encoder, same training, same voices. "
        "Those below were never heard in training."
    )
    for system, card in cards.items():
        columns: dict[str, dict[str, dict[str, Point]]] = {}
        for task_id in TRACING_IDS:
            columns[task_id.upper()] = {
                split: _by_source(card, task_id, split) for split in ("id", "ood")
            }
        sources = sorted({s for series in columns.values() for p in series.values() for s in p},
                         key=lambda s: (s.startswith("gen-"), s.startswith("x"), s))  # fmt: skip
        path = out / "findings" / f"factors-{system}.svg"
        draw_points(sources, columns, path)
        yield f"\n### {system}\n"
        yield f"![Each codec's answers]({path.relative_to(out)})\n"
        yield "| codec | VQ | AUX | DEC |"
        yield "| --- | --- | --- | --- |"
        for source in sources:
            found = [
                next((p[source] for p in series.values() if source in p), None)
                for series in columns.values()
            ]
            yield f"| {source} | " + " | ".join(map(_said, found)) + " |"
        yield ""
        yield from _by_factor(card)


def _by_factor(card: Scorecard) -> Iterator[str]:
    """How well a task is answered where another factor is held at each of its values."""
    yield "Averages over the codecs in domain that share a value of one factor:\n"
    yield "| where | VQ | AUX | DEC |"
    yield "| --- | --- | --- | --- |"
    values = {
        task_id: {name: point[0] for name, point in _by_source(card, task_id, "id").items()}
        for task_id in TRACING_IDS
    }
    parts = {name: name.split("-") for name in values[TRACING_IDS[0]]}
    for place, factor in enumerate(("VQ", "AUX", "DEC")):
        for value in dict.fromkeys(part[place] for part in parts.values()):
            means = [
                np.mean([v for name, v in of_task.items() if parts[name][place] == value])
                for of_task in values.values()
            ]
            yield f"| {factor} = {value} | " + " | ".join(f"{100 * m:.1f}" for m in means) + " |"


def _table(asked: Sequence[tuple[str, Scorecard]]) -> Iterator[str]:
    yield "| system | task | id | ood | drop |"
    yield "| --- | --- | --- | --- | --- |"
    for title, card in asked:
        for task_id in (*TRACING_IDS, "bin"):
            if task_id in card.tasks:
                task = card.tasks[task_id]
                values = [_said(_point(card, task_id, split)) for split in ("id", "ood")]
                drop = _said(_triple(task.drop.number)) if task.drop else "-"
                metric = "EER" if task.headline == "eer" else "macro-F1"
                cells = (title, f"{task_id.upper()}, {metric}", *values, drop)
                yield "| " + " | ".join(cells) + " |"


def _picture(name: str, asked: Sequence[tuple[str, Scorecard]], out: Path) -> Path:
    columns = {
        task_id.upper(): {
            split: {
                title: _point(card, task_id, split)
                for title, card in asked
                if task_id in card.tasks
            }
            for split in ("id", "ood")
        }
        for task_id in TRACING_IDS
    }
    path = out / "findings" / f"{name}.svg"
    draw_points([title for title, _ in asked], columns, path)
    return path.relative_to(out)


def _point(card: Scorecard, task_id: str, split: str) -> Point:
    task = card.tasks[task_id]
    return _triple(task.splits[split].overall.metrics[task.headline])


def _by_source(card: Scorecard, task_id: str, split: str) -> dict[str, Point]:
    """How often the spoofs of each source are answered rightly."""
    return {
        source.source: _triple(source.spoof_accuracy)
        for source in card.tasks[task_id].splits[split].sources
        if source.spoofed and source.spoof_accuracy.value is not None
    }


def _triple(number: Number) -> Point:
    value = float("nan") if number.value is None else number.value
    interval = number.interval
    return (value, value, value) if interval is None else (value, interval.low, interval.high)


def _said(point: Point | None) -> str:
    if point is None:
        return "-"
    return "{:.1f} [{:.1f}, {:.1f}]".format(*(100 * one for one in point))
