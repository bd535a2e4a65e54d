"""wav2vec 2.0 checkpoints of fairseq, such as XLS-R's, as a Wav2Vec2Model of transformers.

What the weights do not tell (strides, attention heads, where layers normalise) comes from a
configuration: fairseq's own beside the weights or as JSON, one of transformers, or XLS-R 300M's.
"""

import argparse
import ast
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import Wav2Vec2Config, Wav2Vec2Model

from cfbench.errors import CfbenchError, Problem, clip, name_some
from cfbench.models.state_dicts import empty, fill, has, read_file, tensors_of, translated
from cfbench.models.wav2vec2_aasist import NO_MASKING, XLSR_300M, wav2vec2_config

PRETRAINING = ("mask_emb", "quantizer.", "project_q.", "target_glu.", "final_proj.")
"""What only pre-training uses; a checkpoint may have it or not."""

NO_DROPOUT: Mapping[str, Any] = {
    "hidden_dropout": 0.0,
    "activation_dropout": 0.0,
    "attention_dropout": 0.0,
    "feat_proj_dropout": 0.0,
    "layerdrop": 0.0,
}
"""fairseq trains its large models without dropout."""

XLSR_KERNELS = (10, 3, 3, 3, 3, 2, 2)
"""Of the convolutions whose strides are 5, 2, 2, 2, 2, 2, 2."""

MOST_CONVOLUTIONS = 64
"""A configuration with more is no configuration; the published models have seven."""

# transformers' words and fairseq's, where they differ; the first that fits counts.
_WORDS = {
    "feature_projection.layer_norm.": "layer_norm.",
    "feature_projection.projection.": "post_extract_proj.",
    "encoder.pos_conv_embed.conv.parametrizations.weight.original0": "encoder.pos_conv.0.weight_g",
    "encoder.pos_conv_embed.conv.parametrizations.weight.original1": "encoder.pos_conv.0.weight_v",
    "encoder.pos_conv_embed.conv.bias": "encoder.pos_conv.0.bias",
}
_LAYER = {
    "attention.": "self_attn.",
    "layer_norm.": "self_attn_layer_norm.",
    "feed_forward.intermediate_dense.": "fc1.",
    "feed_forward.output_dense.": "fc2.",
}
_CONVOLUTION = {"conv.": "0.", "layer_norm.": "2.1."}
_CONVOLUTION_BY_GROUP = {"conv.": "0.", "layer_norm.": "2."}


def is_fairseq(path: str | Path) -> bool:
    """Whether a path looks like a fairseq checkpoint rather than a folder of transformers."""
    return Path(path).suffix in (".pt", ".pth")


def read_fairseq(path: str | Path, settings: Mapping[str, Any] | None = None) -> Wav2Vec2Model:
    """Read a wav2vec 2.0 checkpoint of fairseq (`xlsr2_300m.pt`) as a front end.

    What the weights do not tell is taken from what the checkpoint says of itself, or else from
    XLS-R 300M.

    Args:
        path: The file.
        settings: Of Wav2Vec2Config, that differ.

    Raises:
        CfbenchError: Not such a checkpoint, or keys are missing, surplus or of another shape.
    """
    where = str(path)
    content = read_file(path)
    state = tensors_of(content, where)
    if not has(state, "feature_extractor."):
        raise CfbenchError(
            f"{where}: no wav2vec 2.0 checkpoint of fairseq: it has no keys feature_extractor.*",
            "a trained model of the authors' is converted: cfbench convert-checkpoint"
            if has(state, "ssl_model.")
            else f"it has {name_some(sorted(state))}",
        )
    state = front_end_tensors(state)
    config = config_of(state, fairseq_config(content, where), where)
    config = wav2vec2_config({**config.to_dict(), **(settings or {}), **NO_MASKING}, where)
    model = empty(lambda: Wav2Vec2Model(config), where)
    fill(model, state, fairseq_names(model), where)
    return model


def read_config(path: Path) -> Wav2Vec2Config:
    """Read a front end's configuration: JSON of fairseq's settings, or of transformers.

    Raises:
        CfbenchError: It is neither.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CfbenchError(f"{path}: the configuration cannot be read: {error}") from None
    if not isinstance(content, Mapping):
        raise CfbenchError(f"{path}: no configuration: a JSON object is wanted")
    if content.get("model_type") == "wav2vec2":
        return wav2vec2_config(content, str(path))
    found = fairseq_config(content, str(path))
    if found is not None:
        return found
    raise CfbenchError(
        f"{path}: no configuration of a wav2vec 2.0 model",
        "it has conv_feature_layers (fairseq), or model_type wav2vec2 (transformers)",
    )


def fairseq_config(
    content: Mapping[str, Any], where: str = "the configuration"
) -> Wav2Vec2Config | None:
    """What a fairseq checkpoint, or its configuration as JSON, says of its model; None if nothing.

    Args:
        content: With the model's settings at the top, or inside: `args`, `cfg.model`.
        where: The file, for messages.

    Raises:
        CfbenchError: The settings are not complete, or make no model.
    """
    said = _settings(content)
    if said is None:
        return None
    sizes = {
        "hidden_size": "encoder_embed_dim",
        "num_hidden_layers": "encoder_layers",
        "num_attention_heads": "encoder_attention_heads",
        "intermediate_size": "encoder_ffn_embed_dim",
    }
    lacking = [name for name in sizes.values() if name not in said]
    if lacking:
        raise CfbenchError(f"{where}: the settings of fairseq lack {', '.join(lacking)}")
    convolutions = _convolutions(said["conv_feature_layers"], where)
    layered = said.get("extractor_mode", "default") == "layer_norm"
    return wav2vec2_config(
        {
            **{ours: said[theirs] for ours, theirs in sizes.items()},
            "conv_dim": [width for width, _, _ in convolutions],
            "conv_kernel": [kernel for _, kernel, _ in convolutions],
            "conv_stride": [stride for _, _, stride in convolutions],
            "conv_bias": bool(said.get("conv_bias", False)),
            "feat_extract_norm": "layer" if layered else "group",
            "do_stable_layer_norm": bool(said.get("layer_norm_first", False)),
            "hidden_act": said.get("activation_fn", "gelu"),
            "num_conv_pos_embeddings": said.get("conv_pos", 128),
            "num_conv_pos_embedding_groups": said.get("conv_pos_groups", 16),
            "hidden_dropout": said.get("dropout", 0.1),
            "activation_dropout": said.get("activation_dropout", 0.0),
            "attention_dropout": said.get("attention_dropout", 0.1),
            "feat_proj_dropout": said.get("dropout_input", 0.0),
            "layerdrop": said.get("encoder_layerdrop", 0.0),
            **NO_MASKING,
        },
        where,
    )


def front_end_tensors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A front end's tensors without those of its pre-training, and with a projection.

    fairseq has no projection between convolutions and transformer where their widths are equal;
    transformers always has one, which then changes nothing.

    Args:
        state: Under fairseq's names.
    """
    kept = {key: value for key, value in state.items() if not key.startswith(PRETRAINING)}
    norms = [kept.get(f"{name}.weight") for name in ("layer_norm", "encoder.layer_norm")]
    widths = {None if norm is None else norm.numel() for norm in norms}
    width = widths.pop() if len(widths) == 1 else None
    if width is not None and not has(kept, "post_extract_proj."):
        kept["post_extract_proj.weight"] = torch.eye(width)
        kept["post_extract_proj.bias"] = torch.zeros(width)
    return kept


def fairseq_names(model: Wav2Vec2Model) -> dict[str, str]:
    """Fairseq's name of each of a front end's tensors."""
    by_group = model.config.feat_extract_norm == "group"
    convolution = _CONVOLUTION_BY_GROUP if by_group else _CONVOLUTION
    names = {}
    for name in model.state_dict():
        if numbered := re.match(r"encoder\.layers\.\d+\.", name):
            word, rest = translated(name[numbered.end() :], _LAYER)
            names[name] = numbered[0] + word + rest
        elif numbered := re.match(r"feature_extractor\.conv_layers\.\d+\.", name):
            word, rest = translated(name[numbered.end() :], convolution)
            names[name] = numbered[0] + word + rest
        else:
            word, rest = translated(name, _WORDS)
            names[name] = word + rest
    return names


def config_of(
    state: Mapping[str, Tensor], said: Wav2Vec2Config | None, where: str
) -> Wav2Vec2Config:
    """The configuration of a front end: sizes from its weights, the rest as `said`.

    Args:
        state: The front end's tensors, under fairseq's names.
        said: Convolution strides, attention heads, dropouts; XLS-R 300M's if None.
        where: The file, for messages.

    Raises:
        CfbenchError: What is said contradicts the weights, or nothing is and they are not XLS-R's.
    """
    assumed = Wav2Vec2Config(**{**XLSR_300M, **NO_DROPOUT}) if said is None else said
    settings = assumed.to_dict()
    read = _sizes(state, settings)
    problems = []
    if said is not None:
        problems = [
            Problem(
                f"{where}: the front end's {name} is {value}, the configuration says "
                f"{settings[name]}",
                "give the configuration that belongs to these weights",
            )
            for name, value in read.items()
            if _plain(settings[name]) != value
        ]
    elif read["conv_kernel"] != list(XLSR_KERNELS) or read["feat_extract_norm"] != "layer":
        norm = {"layer": "layer by layer", "group": "by group"}[read["feat_extract_norm"]]
        problems = [
            Problem(
                f"{where}: the front end has {len(read['conv_kernel'])} convolutions, kernels "
                f"{read['conv_kernel']}, normalised {norm}; XLS-R has "
                f"{len(XLSR_KERNELS)}, {list(XLSR_KERNELS)}, layer by layer",
                "strides and the rest are not in the weights: give a configuration",
            )
        ]
    width, heads = read["hidden_size"], settings["num_attention_heads"]
    if heads < 1 or width % heads:
        problems.append(
            Problem(
                f"{where}: {heads} attention heads do not divide {width} values",
                "the number of heads is not in the weights: give a configuration",
            )
        )
    if problems:
        raise CfbenchError.of(problems)
    return wav2vec2_config({**settings, **read, **NO_MASKING}, where)


def _sizes(state: Mapping[str, Tensor], otherwise: Mapping[str, Any]) -> dict[str, Any]:
    """What a front end's weights tell of its configuration; `otherwise` where they are missing."""

    def size(key: str, axis: int, name: str, index: int | None = None) -> int:
        if key in state and state[key].ndim > axis:
            return state[key].shape[axis]
        value = otherwise[name]
        if index is None:
            return int(value)
        return int(value[index]) if index < len(value) else 0

    convolution = "feature_extractor.conv_layers"
    convolutions = range(_count(state, rf"{convolution}\.(\d{{1,6}})\."))
    positions = state.get("encoder.pos_conv.0.weight_v")
    groups = otherwise["num_conv_pos_embedding_groups"]
    if positions is not None and positions.ndim == 3 and positions.shape[1]:
        groups = positions.shape[0] // positions.shape[1]
    return {
        "hidden_size": size("encoder.layer_norm.weight", 0, "hidden_size"),
        "num_hidden_layers": _count(state, r"encoder\.layers\.(\d{1,6})\."),
        "intermediate_size": size("encoder.layers.0.fc1.weight", 0, "intermediate_size"),
        "conv_dim": [
            size(f"{convolution}.{index}.0.weight", 0, "conv_dim", index) for index in convolutions
        ],
        "conv_kernel": [
            size(f"{convolution}.{index}.0.weight", 2, "conv_kernel", index)
            for index in convolutions
        ],
        "conv_bias": any(re.fullmatch(rf"{convolution}\.\d+\.0\.bias", key) for key in state),
        "feat_extract_norm": "group" if has(state, f"{convolution}.0.2.weight") else "layer",
        "num_conv_pos_embeddings": size(
            "encoder.pos_conv.0.weight_v", 2, "num_conv_pos_embeddings"
        ),
        "num_conv_pos_embedding_groups": groups,
    }


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    """How many layers there are, by the highest number in a name: some may be missing."""
    numbers = {int(found[1]) for key in state if (found := re.match(pattern, key))}
    count = max(numbers, default=-1) + 1
    # Where most are missing, the highest is no layer's.
    return count if count <= 2 * len(numbers) else len(numbers)


def _settings(content: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The first mapping, from the top down, that has fairseq's settings of a model."""
    level: list[Mapping[str, Any]] = [content]
    for _ in range(4):
        for item in level:
            if "conv_feature_layers" in item:
                return item
        inside = [
            vars(value) if isinstance(value, argparse.Namespace) else value
            for item in level
            for value in item.values()
            if isinstance(value, Mapping | argparse.Namespace)
        ]
        level = list({id(item): item for item in inside}.values())
    return None


def _convolutions(said: Any, where: str) -> list[tuple[int, int, int]]:
    """Fairseq's `[(512, 10, 5)] + [(512, 3, 2)] * 4`: width, kernel and stride of each layer."""
    try:
        layers = (
            _listed(ast.parse(said.strip(), mode="eval").body) if isinstance(said, str) else said
        )
        found = [(width, kernel, stride) for width, kernel, stride in layers]
        if not 0 < len(found) <= MOST_CONVOLUTIONS:
            raise ValueError(f"{len(found):,} convolutions")
        if any(type(number) is not int or number < 1 for layer in found for number in layer):
            raise ValueError("a width, kernel or stride is no whole number from 1 on")
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        reason = clip(str(error) or type(error).__name__)
        raise CfbenchError(
            f"{where}: conv_feature_layers '{clip(str(said))}' is not understood: {reason}",
            "for example [(512,10,5)] + [(512,3,2)] * 4 + [(512,2,2)] * 2",
        ) from None
    return found


def _listed(node: ast.expr) -> list[Any]:
    """A list, or a sum of lists, or one so many times; nothing else, and never a long one."""
    match node:
        case ast.BinOp(left, ast.Add(), right):
            layers = [*_listed(left), *_listed(right)]
        case ast.BinOp(left, ast.Mult(), ast.Constant(times)) if type(times) is int:
            layers = _listed(left)
            if len(layers) * times > MOST_CONVOLUTIONS:
                raise ValueError(f"{len(layers) * times:,} convolutions")
            layers = layers * times
        case ast.List():
            layers = list(ast.literal_eval(node))
        case _:
            raise ValueError("it is no sum of lists")
    if len(layers) > MOST_CONVOLUTIONS:
        raise ValueError(f"{len(layers):,} convolutions")
    return layers


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, list | tuple) else value
