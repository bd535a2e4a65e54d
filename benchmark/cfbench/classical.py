"""Training the classical baseline by a recipe."""

from pathlib import Path

import numpy as np

from cfbench.clips import Augment, Clips, load
from cfbench.errors import CfbenchError
from cfbench.models.log_mel import FeatureSettings, LogMelBaseline, features
from cfbench.recipes import Recipe
from cfbench.sampling import draw
from cfbench.training import Material, class_indices, class_weights

_BATCH = 64


def train_classical(recipe: Recipe, material: Material, folder: Path, workers: int) -> Path:
    """Train on the utterances that a recipe draws; takes seconds, so nothing is resumed.

    Args:
        recipe: Of a `log-mel-logistic`.
        material: On what; the development set is not used, since nothing is chosen.
        folder: Where the model's folder is made.
        workers: Processes that decode.

    Returns:
        The folder of the model.

    Raises:
        CfbenchError: A clip cannot be decoded, or a task has one class only.
    """
    data, how = recipe.data, recipe.training
    drawn = draw(material.train, data.balance, how.seed).frame
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
    for batch in load(clips, batches, workers, pin=False):
        if batch.failed:
            problem = next(iter(batch.failed.values()))
            raise CfbenchError(problem.message, problem.hint)
        rows.append(features(batch.waveforms.numpy(), settings))
    model = LogMelBaseline.fit(
        np.concatenate(rows),
        class_indices(drawn, recipe.model.tasks),
        class_weights=class_weights(recipe),
        settings=settings,
        c=recipe.logistic.strength,
        max_iter=recipe.logistic.iterations,
        seed=how.seed,
    )
    model.save_pretrained(folder / "model")
    return folder / "model"
