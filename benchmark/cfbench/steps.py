"""The steps of a baseline: find lists and clips, train, predict."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from cfbench import api
from cfbench.audio import Clips as Found
from cfbench.audio import find_clips
from cfbench.environment import describe_environment
from cfbench.errors import CfbenchError, Problem, clip, name_some, plural
from cfbench.hub import weights as hub_weights
from cfbench.manifest.indexing import listing
from cfbench.manifest.joining import match
from cfbench.manifest.walking import walk
from cfbench.mini import store
from cfbench.protocol import Protocol, find_list, read_protocol
from cfbench.recipes import PredictionPrecision as Precision
from cfbench.recipes import Recipe
from cfbench.tasks import TASK_IDS, Track

if TYPE_CHECKING:
    from cfbench.inference import Joined, Outcome, Plan, Share
    from cfbench.material import Material, Progress
    from cfbench.predictor import Predictor


_UNWATCHED = store.Watch()


@dataclass(frozen=True)
class Machine:
    """Where a run computes.

    Attributes:
        cpu: Whether to leave a GPU alone.
        workers: Processes that decode audio, for each process that computes; None chooses.
    """

    cpu: bool = False
    workers: int | None = None

    @property
    def decoding(self) -> int:
        """How many processes decode: as said, or what keeps a processing unit fed."""
        if self.workers is not None:
            return self.workers
        from cfbench.processes import decoding_workers

        return decoding_workers(self.cpu)


@dataclass(frozen=True)
class Data:
    """Where a run's data is.

    Attributes:
        track: The track.
        audio: Folders below which clips are looked for; None for the clips that the track ships.
        protocol: A list or a folder of lists; None for what the track ships, or the folder that
            CFBENCH_PROTOCOLS names.
    """

    track: Track
    audio: Sequence[Path] | None = None
    protocol: Path | None = None

    @property
    def folders(self) -> Sequence[Path]:
        """Where clips are looked for.

        Raises:
            CfbenchError: Nobody has said so, and the track ships none.
        """
        if self.audio is not None:
            return self.audio
        if self.track.clips is None:
            raise CfbenchError(
                f"the clips of {self.track.name} are not shipped with cfbench",
                "--audio names the folder below which they are"
                + (f"; {self.track.obtain}" if self.track.obtain else ""),
            )
        return [store.clips_folder(self.track)]

    def unpack(self, splits: Sequence[str], watch: store.Watch = _UNWATCHED) -> None:
        """Have the clips of some splits on the disk, where the track ships them."""
        if self.audio is None and self.track.clips is not None:
            known = [name for name in splits if name in self.track.splits]
            store.unpack(self.track, known, watch=watch)

    def find(self, utt_ids: Sequence[str]) -> Found:
        """The audio files of utterances.

        First where the authors' code has them, which takes a listing of a few folders. What is
        not there is looked for anywhere below the folders: archives of the Hub have folders of
        their own.

        Raises:
            CfbenchError: A folder is not there, or an utterance has two files.
        """
        found = find_clips(self.folders, utt_ids, self.track.audio_folders)
        return self._find_deeper(found, utt_ids) if found.missing else found

    def _find_deeper(self, found: Found, utt_ids: Sequence[str]) -> Found:
        # A folder inside another is looked through with that one.
        roots = [
            folder
            for folder in {folder.resolve(): folder for folder in self.folders}.values()
            if not any(other.resolve() in folder.resolve().parents for other in self.folders)
        ]
        walked = walk(roots)
        ids = pl.Series(found.missing)
        at = match(listing(walked), ids, self.track)
        files: dict[str, str] = {}
        for row in (at >= 0).nonzero()[0]:
            utt_id = found.missing[at[row]]
            file = os.path.join(walked.roots[walked.root[row]], walked.paths[row])  # noqa: PTH118
            if utt_id in files:
                raise CfbenchError(
                    f"{clip(utt_id)} has more than one file: {files[utt_id]} and {file}",
                    "cfbench data index lists all such; keep one file an utterance",
                )
            files[utt_id] = file
        return found.with_files(files, utt_ids)

    def missing(self, utt_ids: Sequence[str]) -> Problem:
        """What is wrong where utterances have no audio file."""
        return Problem(
            f"{plural(len(utt_ids), 'utterance has|utterances have')} no audio file: "
            + name_some(utt_ids),
            "looked for UTTERANCE.wav, .flac and others anywhere below "
            + ", ".join(str(folder) for folder in self.folders),
        )


def read_scored(data: Data, splits: Sequence[str] | None = None) -> Protocol:
    """The utterances that are predicted and scored.

    Raises:
        CfbenchError: The protocol cannot be found or read, or has none of the splits.
    """
    protocol = read_all(data)
    return protocol.only(splits or protocol.scored)


def read_all(data: Data) -> Protocol:
    """All utterances that are known, in any split.

    Raises:
        CfbenchError: The protocol cannot be found or read.
    """
    protocol = api.read_protocol(data.protocol, data.track)
    if data.protocol is None:
        return protocol
    # Who names a list wants its utterances answered, and no others.
    return replace(protocol, held_back=protocol.held_back.clear())


def read_training(recipe: Recipe, data: Data) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows that a recipe trains on, and those on which it chooses its best epoch.

    Raises:
        CfbenchError: They are not there.
    """
    return (
        _training_rows(data, "train", recipe.data.train),
        _training_rows(data, "dev", recipe.data.dev),
    )


def check_asked(recipe: Recipe, track: Track) -> None:
    """Refuse a recipe for a track that does not ask what it answers.

    Raises:
        CfbenchError: Names the tasks.
    """
    lacking = [task_id for task_id in recipe.model.tasks if task_id not in track.tasks]
    if lacking:
        raise CfbenchError(
            f"{recipe.name}: answers {', '.join(lacking)}, which {track.name} does not ask: it "
            f"asks {', '.join(track.tasks)}",
            f"baselines answer {', '.join(TASK_IDS)} and no other task: choose those that the "
            "track asks (--set 'model.tasks=[...]'), or score predictions of another system",
        )


def _training_rows(data: Data, split: str, lists: Sequence[str]) -> pl.DataFrame:
    # A track's own table has its splits: lists that the environment names are of another track.
    own = data.protocol is None and data.track.protocol is not None
    folder = None if own else api.protocol_folder(data.protocol)
    path = find_list(folder, lists) if folder is not None else None
    found = (
        read_protocol(path, data.track)
        if path is not None
        else api.read_protocol(data.protocol, data.track)
    )
    if split not in found.splits:
        where = str(path or folder or f"the protocol of {data.track.name}")
        raise CfbenchError(
            f"{where}: no utterances of split {split}, which training needs",
            f"put {' or '.join(lists)} into the folder of the lists, or give a trained model: "
            f"--model; {data.track.obtain}"
            if lists and not own
            else "give them in the protocol's table, or give a trained model: --model",
        )
    return found.split(split)


def find_material(recipe: Recipe, data: Data) -> "Material":
    """What a recipe trains on, with its audio files.

    Raises:
        CfbenchError: Lists or audio files are missing.
    """
    from cfbench.material import Material

    train, dev = read_training(recipe, data)
    found = data.find([*train["utt_id"], *dev["utt_id"]])
    if found.missing:
        problem = data.missing(found.missing)
        raise CfbenchError(problem.message, problem.hint)
    return Material(train, dev, found.paths)


def train(
    recipe: Recipe,
    data: Data,
    folder: Path,
    machine: Machine = Machine(),
    front_end: str | None = None,
    report: "Callable[[Progress], None]" = lambda progress: None,
    unpacking: store.Watch = _UNWATCHED,
) -> Path:
    """Train a recipe, or go on where an earlier call was interrupted.

    Args:
        recipe: What and how.
        data: Lists and audio.
        folder: Where checkpoints are kept.
        machine: Where to compute.
        front_end: Where the front end's weights are, if not where the recipe says.
        report: Called as training gets on.
        unpacking: Told how clips that the track ships are unpacked.

    Returns:
        The folder of the trained model.
    """
    check_asked(recipe, data.track)
    _unpack_first(data, ("train", "dev"), machine, unpacking)
    material = find_material(recipe, data)
    if recipe.model.kind == "log-mel-logistic":
        from cfbench.classical import train_classical

        return train_classical(recipe, material, folder, machine.decoding, report)
    from cfbench.training import train as train_neural

    weights = front_end or recipe.model.front_end.weights
    if hub_weights.is_address(weights):
        weights = str(hub_weights.fetch(weights))
    return train_neural(
        recipe,
        material,
        folder,
        weights=weights,
        cpu=machine.cpu,
        workers=machine.decoding,
        report=report,
    )


def _unpack_first(data: Data, splits: Sequence[str], machine: Machine, watch: store.Watch) -> None:
    """Have the first of the processes unpack what a track ships; the others find it done."""
    if data.audio is None and data.track.clips is not None:
        from cfbench.processes import this_process

        with this_process(machine.cpu).main_process_first():
            data.unpack(splits, watch)


@dataclass(frozen=True)
class Prediction:
    """How a model predicts.

    Attributes:
        out: The predictions file.
        precision: Of a neural front end.
        compile: Whether torch.compile is used.
        strict: Stop at the first clip that cannot be read.
        overwrite: Replace predictions that were made in another way.
        shard: Which share of the work to do, `2/4`, where no launcher says so.
    """

    out: Path
    batch_size: int = 16
    part_size: int = 256
    precision: Precision = "fp32"
    compile: bool = False
    strict: bool = False
    overwrite: bool = False
    shard: str | None = None


@dataclass(frozen=True)
class Predicted:
    """What `predict` did.

    Attributes:
        outcome: Counts and time of this process.
        joined: Whether the file is complete, and which clips have no answer and why.
        missing: Those of them that have no audio file.
        share: Which share of the work this process did.
        main: Whether this is the process that reports.
        difference: In int8, against fp32 on the first clips: the largest difference of a
            probability, the share of decisions that changed, and the number of clips.
    """

    outcome: "Outcome"
    joined: "Joined"
    missing: Sequence[str]
    share: "Share"
    main: bool
    difference: tuple[float, float, int] | None = None


def predict(
    model: str,
    protocol: Protocol,
    data: Data,
    how: Prediction,
    machine: Machine = Machine(),
    start: Callable[[int, "Share"], None] = lambda total, share: None,
    advance: Callable[[int, int], None] = lambda done, resumed: None,
    unpacking: store.Watch = _UNWATCHED,
) -> Predicted:
    """Predict a track's utterances, or go on where an earlier call was interrupted.

    Args:
        model: A folder, or the id of a repository on the Hub.
        protocol: Whose utterances.
        data: Where their audio is.
        how: Precision and the like.
        machine: Where to compute.
        start: Called with the number of clips of this process, and its share.
        advance: Called with the number of clips done, and how many an earlier call had done.
        unpacking: Told how clips that the track ships are unpacked.

    Raises:
        CfbenchError: No model, no audio, or with `strict` a clip that cannot be read.
    """
    from cfbench import inference
    from cfbench.predictor import load_predictor
    from cfbench.processes import this_process

    asked = inference.Share.parse(how.shard) if how.shard is not None else None
    state = this_process(machine.cpu)
    share = inference.Share(state.process_index, state.num_processes)
    if asked is not None:
        if share.count > 1:
            raise CfbenchError(
                f"--shard {how.shard}, but a launcher has started {share.count} processes",
                "leave one of them out",
            )
        share = asked
    _unpack_first(data, protocol.splits, machine, unpacking)
    utt_ids = protocol.answerable()
    found = data.find(utt_ids)
    if not found.paths or (how.strict and found.missing):
        problem = data.missing(found.missing)
        raise CfbenchError(problem.message, problem.hint)
    predictor, said = load_predictor(model, state.device, how.precision, how.compile)
    if not set(predictor.tasks) & set(protocol.track.tasks):
        raise CfbenchError(
            f"{model}: answers {', '.join(predictor.tasks)}, and {protocol.track.name} asks "
            f"{', '.join(protocol.track.tasks)}",
            f"models of cfbench answer {', '.join(TASK_IDS)} and no other task",
        )
    plan = inference.Plan(
        utt_ids=utt_ids,
        paths=[found.paths.get(utt_id) for utt_id in utt_ids],
        out=how.out,
        batch_size=how.batch_size,
        part_size=max(how.part_size // how.batch_size, 1) * how.batch_size,
        workers=machine.decoding,
        strict=how.strict,
        made_by={**said, "track": protocol.track.name, "device": state.device.type},
    )
    with state.main_process_first():
        complete = inference.prepare(plan, how.overwrite and state.is_main_process)
    mine = sum(len(plan.rows(part)) for part in range(share.index, plan.parts, share.count))
    start(mine, share)
    if complete:
        outcome, joined = inference.Outcome(0, mine, 0.0), inference.Joined(True, {})
        return Predicted(outcome, joined, found.missing, share, state.is_main_process)
    difference = None
    if how.precision == "int8" and state.is_main_process:
        difference = _difference(model, plan, predictor)
    outcome = inference.predict(plan, predictor, share, advance)
    state.wait_for_everyone()
    joined = inference.Joined(False, {})
    if state.is_main_process:
        joined = inference.join(plan, describe_environment())
    state.wait_for_everyone()
    return Predicted(outcome, joined, found.missing, share, state.is_main_process, difference)


def _difference(
    model: str, plan: "Plan", predictor: "Predictor"
) -> tuple[float, float, int] | None:
    """How far a predictor is from the same model in fp32; None where no clip can be read."""
    from cfbench import inference
    from cfbench.clips import Clips, load
    from cfbench.predictor import load_predictor

    rows = [row for row, path in enumerate(plan.paths) if path is not None][: plan.batch_size]
    exact, _ = load_predictor(model, predictor.device)
    clips = Clips(plan.utt_ids, plan.paths, predictor.samples, windows=predictor.windows)
    for batch in load(clips, [rows], 0, False):
        if len(batch.rows):
            largest, changed = inference.compare(exact(batch.waveforms), predictor(batch.waveforms))
            return largest, changed, len(batch.rows)
    return None
