"""Training the classical baseline by a recipe."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cfbench.checkpoints import clean_up, replace_folder, run_digest
from cfbench.clips import Augment, Clips, load
from cfbench.errors import CfbenchError
from cfbench.files import write_text
from cfbench.material import Material, Progress, class_indices, class_weights
from cfbench.models.log_mel import LogMelBaseline
from cfbench.models.spectrum import FeatureSettings, features
from cfbench.processes import this_process
from cfbench.recipes import Recipe
from cfbench.sampling import draw

_BATCH = 64


def train_classical(
    recipe: Recipe,
    material: Material,
    folder: Path,
    workers: int,
    report: Callable[[Progress], None] = lambda progress: None,
) -> Path:
    """Train on the utterances that a recipe draws, unless an earlier call has.

    It takes minutes on the largest lists, so an interrupted call begins anew. Of several processes
    the first one trains.

    Args:
        recipe: Of a `log-mel-logistic`.
        material: On what; the development set is not used, since nothing is chosen.
        folder: Where the model's folder is made.
        workers: Processes that decode.
        report: Called after each batch of clips.

    Returns:
        The folder of the model.

    Raises:
        CfbenchError: A clip cannot be decoded, a task has one class only, or `folder` holds
            another model.
    """
    state = this_process(cpu=True)
    if state.is_main_process:
        _train(recipe, material, folder, workers, report)
    state.wait_for_everyone()
    return folder / "model"


def _train(
    recipe: Recipe,
    material: Material,
    folder: Path,
    workers: int,
    report: Callable[[Progress], None],
) -> None:
    made, final = folder / "trained.json", folder / "model"
    digest = run_digest(recipe, material, "")
    if made.is_file() or final.is_dir():
        if _said(made) != {"digest": digest}:
            raise CfbenchError(
                f"{folder}: holds a model of another recipe or other data",
                "name another folder, or remove this one",
            )
        if final.is_dir():
            return
    clean_up(folder)
    data, how = recipe.data, recipe.training
    subset = draw(material.train, data.balance, how.seed)
    drawn = subset.frame
    labels = class_indices(drawn, recipe.model.tasks)
    utt_ids = drawn["utt_id"].to_list()
    augmented = Augment(recipe.augmentation.rawboost, how.seed, 0)
    paths = [material.paths[utt_id] for utt_id in utt_ids]
    clips = Clips(utt_ids, paths, data.samples, augmented)
    batches = [
        list(range(start, min(start + _BATCH, len(utt_ids))))
        for start in range(0, len(utt_ids), _BATCH)
    ]
    settings = FeatureSettings(samples=data.samples)
    rows = []
    report(Progress(0, len(batches), 0, 1, {}, notes=subset.notes))
    for step, batch in enumerate(load(clips, batches, workers, pin=False), start=1):
        if batch.failed:
            raise CfbenchError.of(list(batch.failed.values()))
        rows.append(features(batch.waveforms.numpy(), settings))
        report(Progress(step, len(batches), 0, 1, {}))
    report(Progress(len(batches), len(batches), 0, 1, {}, doing="fitting"))
    model = LogMelBaseline.fit(
        np.concatenate(rows),
        labels,
        class_weights=class_weights(recipe),
        settings=settings,
        c=recipe.logistic.strength,
        max_iter=recipe.logistic.iterations,
        seed=how.seed,
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_text(made, json.dumps({"digest": digest}) + "\n")
    replace_folder(final, model.save_pretrained)


def _said(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
