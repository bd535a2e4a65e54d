"""A recipe's model before it is trained: its front end from wherever the weights are."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from transformers import Wav2Vec2Config, Wav2Vec2Model

from cfbench.errors import CfbenchError, did_you_mean, name_some
from cfbench.material import class_weights
from cfbench.models.fairseq import is_fairseq, read_fairseq
from cfbench.models.state_dicts import empty
from cfbench.models.wav2vec2_aasist import (
    FEWEST_FRAMES,
    NO_MASKING,
    XLSR_300M,
    Wav2Vec2Aasist,
    Wav2Vec2AasistConfig,
    front_end_frames,
    wav2vec2_config,
)
from cfbench.recipes import Recipe

XLSR = "facebook/wav2vec2-xls-r-300m"
"""The id on the Hub of the reference system's front end."""

_WHERE = "model.front_end.config"


def build(recipe: Recipe, weights: str | None = None) -> Wav2Vec2Aasist:
    """The model of a recipe, before it is trained.

    Args:
        recipe: Of a Wav2Vec2-AASIST.
        weights: Where the front end's weights are, if not where the recipe says: an id on the
            Hub, a folder, or a checkpoint of fairseq.

    Raises:
        CfbenchError: The front end cannot be loaded.
    """
    wanted = recipe.model.front_end
    _check_settings(wanted.config)
    place = weights or wanted.weights
    settings = {**wanted.config, **NO_MASKING}
    front_end: Wav2Vec2Model | None = None
    if not place:
        config = wav2vec2_config(settings, _WHERE)
    elif is_fairseq(place):
        front_end = read_fairseq(place, settings)
    else:
        front_end = _load_front_end(place, settings)
    if front_end is not None:
        config = front_end.config
    whole = Wav2Vec2AasistConfig(
        front_end=config,
        tasks=recipe.model.tasks,
        class_weights=class_weights(recipe),
        learned_task_weights=recipe.training.learned_task_weights,
        dropouts=recipe.model.dropouts,
        pre_emphasis=recipe.model.pre_emphasis,
        samples=recipe.data.samples,
        windows=recipe.data.windows,
    )
    crop = recipe.augmentation.crop
    if crop and front_end_frames(config, crop) < FEWEST_FRAMES:
        raise CfbenchError(
            f"augmentation.crop: {crop:,} samples make {front_end_frames(config, crop)} of the "
            f"{FEWEST_FRAMES} frames that the encoder needs",
            "draw longer excerpts",
        )
    try:
        model = Wav2Vec2Aasist(whole)
    except (ValueError, TypeError, RuntimeError, ZeroDivisionError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CfbenchError(
            f"{_WHERE}: makes no model: {reason}",
            "the settings are those of transformers' Wav2Vec2Config",
        ) from None
    if front_end is not None:
        model.front_end.load_state_dict(front_end.state_dict())
    return model


def front_end_config(recipe: Recipe, weights: str | None = None) -> Wav2Vec2Config | None:
    """The configuration of a recipe's front end, as far as it is known without a download.

    Args:
        recipe: Of a Wav2Vec2-AASIST.
        weights: See `build`.

    Returns:
        The configuration; None where it comes with weights that have not been downloaded.

    Raises:
        CfbenchError: The recipe has a setting that there is not.
    """
    wanted = recipe.model.front_end
    _check_settings(wanted.config)
    place = weights or wanted.weights
    settings = {**wanted.config, **NO_MASKING}
    if not place:
        return wav2vec2_config(settings, _WHERE)
    if place == XLSR or Path(place).name.startswith("xlsr2_300m"):
        return wav2vec2_config({**XLSR_300M, **settings}, _WHERE)
    try:
        return Wav2Vec2Config.from_pretrained(place, local_files_only=True, **settings)
    except (OSError, ValueError):
        return None


def count_parameters(
    recipe: Recipe, weights: str | None = None, part: Literal["all", "heads"] = "all"
) -> int | None:
    """How many parameters a recipe's model has; None where that takes a download to know.

    Args:
        recipe: Of a Wav2Vec2-AASIST.
        weights: See `build`.
        part: "heads" leaves out the front end.
    """
    config = front_end_config(recipe, weights)
    if config is None:
        return None
    model = empty(lambda: Wav2Vec2Aasist(Wav2Vec2AasistConfig(config, recipe.model.tasks)), _WHERE)
    front_end = sum(value.numel() for value in model.front_end.parameters())
    whole = sum(value.numel() for value in model.parameters())
    return whole if part == "all" else whole - front_end


def _check_settings(settings: Mapping[str, Any]) -> None:
    known = list(Wav2Vec2Config().to_dict())
    for name in settings:
        if name not in known:
            raise CfbenchError(
                f"{_WHERE}: Wav2Vec2Config has no '{name}'{did_you_mean(name, known)}",
                "the settings are those of transformers' Wav2Vec2Config",
            )


def _load_front_end(place: str, settings: Mapping[str, Any]) -> Wav2Vec2Model:
    try:
        loaded: Any = Wav2Vec2Model.from_pretrained(
            place, output_loading_info=True, ignore_mismatched_sizes=True, **settings
        )
    except (OSError, ValueError, RuntimeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CfbenchError(
            f"{place}: the front end cannot be loaded: {reason}",
            "give an id on the Hub, a folder that transformers wrote, or a checkpoint of fairseq "
            "(.pt): --front-end",
        ) from None
    model, info = loaded
    if info["missing_keys"] or info["mismatched_keys"]:
        absent = [*sorted(info["missing_keys"]), *map(str, info["mismatched_keys"])]
        raise CfbenchError(
            f"{place}: no weights of a Wav2Vec2 model for {name_some(absent)}",
            "a front end that would start at random must be asked for: leave its weights empty",
        )
    if Path(place).is_dir():
        # Where a folder stood on this machine is no part of the model that is saved.
        model.config.name_or_path = ""
    return model
