"""The authors' checkpoints, and XLS-R checkpoints of fairseq, as models of this package.

The key names are those of the public repository ResponsibleGenAI/CodecFake-Source-Tracing
(Wav2Vec2-AASIST) and of fairseq's wav2vec 2.0. Nothing in a checkpoint is executed: only tensors
and plain data are unpickled.
"""

import argparse
import ast
import json
import pickle
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import Wav2Vec2Config, Wav2Vec2Model

from cfbench.errors import CfbenchError, Problem, name_some, plural
from cfbench.models.wav2vec2_aasist import (
    NO_MASKING,
    XLSR_300M,
    Wav2Vec2Aasist,
    Wav2Vec2AasistConfig,
)

FRONT_END = "ssl_model.model."
"""What the front end's keys start with in the authors' checkpoints."""

BRANCHES: Mapping[str, str] = {
    "bin": "binary_branch",
    "vq": "multiclass_branch_qs",
    "aux": "multiclass_branch_as",
    "dec": "multiclass_branch_ds",
}
"""The authors' name of each task's branch; a model has those of its tasks."""

PRETRAINING = ("mask_emb", "quantizer.", "project_q.", "final_proj.")
"""Keys of the front end that only its pre-training uses."""

_HEAVY_STRIDES = (5, 2, 2, 2, 2, 2, 2)

# One group a pattern; the replacement is the name in transformers' Wav2Vec2Model.
_FRONT_END_KEYS = (
    (r"feature_extractor\.conv_layers\.(\d+)\.0\.", r"feature_extractor.conv_layers.\1.conv."),
    (r"feature_extractor\.conv_layers\.(\d+)\.2\.(?:1\.)?",
     r"feature_extractor.conv_layers.\1.layer_norm."),
    (r"layer_norm\.", "feature_projection.layer_norm."),
    (r"post_extract_proj\.", "feature_projection.projection."),
    (r"encoder\.pos_conv\.0\.weight_g$",
     "encoder.pos_conv_embed.conv.parametrizations.weight.original0"),
    (r"encoder\.pos_conv\.0\.weight_v$",
     "encoder.pos_conv_embed.conv.parametrizations.weight.original1"),
    (r"encoder\.pos_conv\.0\.bias$", "encoder.pos_conv_embed.conv.bias"),
    (r"encoder\.layers\.(\d+)\.self_attn\.", r"encoder.layers.\1.attention."),
    (r"encoder\.layers\.(\d+)\.self_attn_layer_norm\.", r"encoder.layers.\1.layer_norm."),
    (r"encoder\.layers\.(\d+)\.fc1\.", r"encoder.layers.\1.feed_forward.intermediate_dense."),
    (r"encoder\.layers\.(\d+)\.fc2\.", r"encoder.layers.\1.feed_forward.output_dense."),
    (r"encoder\.layers\.(\d+)\.final_layer_norm\.", r"encoder.layers.\1.final_layer_norm."),
    (r"encoder\.layer_norm\.", "encoder.layer_norm."),
)  # fmt: skip

_ENCODER_KEYS = (
    (r"LL\.", "encoder.projection."),
    (r"first_bn\.", "encoder.norm_in."),
    (r"first_bn1\.", "encoder.norm_out."),
    (r"encoder\.(\d)\.0\.(conv1|conv2)\.", r"encoder.blocks.\1.\2."),
    (r"encoder\.(\d)\.0\.bn2\.", r"encoder.blocks.\1.norm."),
    (r"encoder\.(\d)\.0\.conv_downsample\.", r"encoder.blocks.\1.shortcut."),
    (r"attention\.", "attention.score."),
)

_BRANCH_KEYS = (
    (r"pos_S$", "position"),
    (r"GAT_layer_S\.", "spectral_attention."),
    (r"GAT_layer_T\.", "temporal_attention."),
    (r"pool_S\.proj\.", "pool_spectral.score."),
    (r"pool_T\.proj\.", "pool_temporal.score."),
    (r"out_layer\.", "output."),
    (r"master([12])$", lambda m: f"stacks.{int(m[1]) - 1}.master"),
    (r"HtrgGAT_layer_ST([12])([12])\.", lambda m: f"stacks.{int(m[1]) - 1}.attention{m[2]}."),
    (r"pool_hS([12])\.proj\.", lambda m: f"stacks.{int(m[1]) - 1}.pool_spectral.score."),
    (r"pool_hT([12])\.proj\.", lambda m: f"stacks.{int(m[1]) - 1}.pool_temporal.score."),
)

# Within a graph layer; the heterogeneous one calls its first kind of node, temporal, type 1.
_LAYER_KEYS = (
    (r"att_weightM$", "master_weight"),
    (r"att_weight11$", "temporal_weight"),
    (r"att_weight22$", "spectral_weight"),
    (r"att_weight12$", "mixed_weight"),
    (r"att_weight$", "pair_weight"),
    (r"att_projM\.", "master_pair_projection."),
    (r"att_proj\.", "pair_projection."),
    (r"proj_with_attM\.", "master_mixture_projection."),
    (r"proj_without_attM\.", "master_own_projection."),
    (r"proj_with_att\.", "mixture_projection."),
    (r"proj_without_att\.", "own_projection."),
    (r"proj_type1\.", "temporal_projection."),
    (r"proj_type2\.", "spectral_projection."),
    (r"bn\.", "norm."),
)

# The first normalisation of a residual block: the authors' code throws its result away.
_DISCARDED = re.compile(r"encoder\.[1-5]\.0\.bn1\.")


def convert(path: str | Path, front_end: Wav2Vec2Config | None = None) -> Wav2Vec2Aasist:
    """Read one of the authors' checkpoints.

    Args:
        path: A `.pth` file that holds a state_dict with their key names.
        front_end: What the weights do not tell: convolution strides and attention heads (sizes
            are read from the weights and must agree). XLS-R 300M's if None.

    Returns:
        The model, with the tasks whose branches the checkpoint has.

    Raises:
        CfbenchError: Not a checkpoint, or keys are missing, surplus or of another shape.
    """
    state = read_state(path)
    tasks = [task_id for task_id, name in BRANCHES.items() if _has(state, name + ".")]
    if not tasks or not _has(state, FRONT_END):
        raise CfbenchError(
            f"{path}: none of the authors' Wav2Vec2-AASIST checkpoints: it has no keys "
            + (f"of a branch ({', '.join(BRANCHES.values())})" if not tasks else f"{FRONT_END}*"),
            f"it has {name_some(sorted(state))}; an XLS-R checkpoint is given as a recipe's front"
            " end, not converted",
        )
    inner = {k.removeprefix(FRONT_END): v for k, v in state.items() if k.startswith(FRONT_END)}
    config = Wav2Vec2AasistConfig(
        front_end=front_end_config(inner, front_end, str(path)), tasks=tasks
    )
    renamed: dict[str, Tensor] = {}
    origins: dict[str, str] = {}
    strange = []
    for key, value in state.items():
        name = _authors_name(key)
        if name is None:
            strange.append(key)
        elif name:
            renamed[name] = value
            origins[name] = key
    model = Wav2Vec2Aasist(config)
    # The task weights belong to the authors' loss, which their checkpoints do not hold.
    renamed["task_weights"] = model.task_weights.detach()
    _load(model, renamed, origins, strange, str(path))
    model.eval()
    return model


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
    content = _read(path)
    state = _state(content, path)
    if not _has(state, "feature_extractor."):
        raise CfbenchError(
            f"{path}: no wav2vec 2.0 checkpoint of fairseq: it has no keys feature_extractor.*",
            f"it has {name_some(sorted(state))}",
        )
    config = front_end_config(state, fairseq_config(content), str(path))
    config.update({**(settings or {}), **NO_MASKING})
    renamed: dict[str, Tensor] = {}
    origins: dict[str, str] = {}
    strange = []
    for key, value in state.items():
        if key.startswith(PRETRAINING):
            continue
        name = _renamed(key, _FRONT_END_KEYS)
        if name is None:
            strange.append(key)
        else:
            renamed[name] = value
            origins[name] = key
    model = Wav2Vec2Model(config)
    _load(model, renamed, origins, strange, str(path))
    return model


def is_fairseq(path: str | Path) -> bool:
    """Whether a path looks like a fairseq checkpoint rather than a folder of transformers."""
    return Path(path).suffix in (".pt", ".pth")


def read_state(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint, by key.

    Raises:
        CfbenchError: There is no such file, or it holds anything but tensors and plain data.
    """
    return _state(_read(path), path)


def front_end_config(
    state: Mapping[str, Tensor], said: Wav2Vec2Config | None, where: str
) -> Wav2Vec2Config:
    """The configuration of a front end: sizes from its weights, the rest as `said`.

    Args:
        state: The front end's tensors under fairseq's keys.
        said: Convolution strides, attention heads, dropouts; XLS-R 300M's if None.
        where: The file, for messages.

    Raises:
        CfbenchError: What is said contradicts the weights.
    """
    settings: dict[str, Any] = {**XLSR_300M, **NO_DROPOUT}
    if said is not None:
        settings = said.to_dict()
    try:
        read = _sizes(state)
    except KeyError as error:
        raise CfbenchError(
            f"{where}: the front end has no key {error}", "is the file complete?"
        ) from None
    problems = []
    if said is not None:
        problems = [
            Problem(
                f"{where}: the front end's {name} is {found}, the configuration says "
                f"{settings[name]}",
                "give the configuration that belongs to these weights",
            )
            for name, found in read.items()
            if _plain(settings[name]) != _plain(found)
        ]
    elif len(read["conv_dim"]) != len(_HEAVY_STRIDES):
        problems = [
            Problem(
                f"{where}: the front end has {len(read['conv_dim'])} convolutions, XLS-R has 7",
                "their strides are not in the weights: give a configuration",
            )
        ]
    settings |= {**read, **NO_MASKING}
    if settings["hidden_size"] % settings["num_attention_heads"]:
        problems.append(
            Problem(
                f"{where}: {settings['num_attention_heads']} attention heads do not divide "
                f"{settings['hidden_size']} values",
                "the number of heads is not in the weights: give a configuration",
            )
        )
    if problems:
        raise CfbenchError.of(problems)
    return Wav2Vec2Config(**settings)


NO_DROPOUT: Mapping[str, Any] = {
    "hidden_dropout": 0.0,
    "activation_dropout": 0.0,
    "attention_dropout": 0.0,
    "feat_proj_dropout": 0.0,
    "layerdrop": 0.0,
}
"""fairseq trains its large models without dropout."""


def fairseq_config(content: Mapping[str, Any]) -> Wav2Vec2Config | None:
    """What a fairseq checkpoint, or its configuration as JSON, says of its model; None if nothing.

    Args:
        content: With the model's settings at the top, under `cfg.model` or under `args`.
    """
    cfg = content.get("cfg")
    said = cfg.get("model") if isinstance(cfg, Mapping) else content.get("args") or content
    if isinstance(said, argparse.Namespace):
        said = vars(said)
    if not isinstance(said, Mapping) or "conv_feature_layers" not in said:
        return None
    convolutions = _convolutions(said["conv_feature_layers"])
    layered = said.get("extractor_mode", "default") == "layer_norm"
    return Wav2Vec2Config(
        hidden_size=said["encoder_embed_dim"],
        num_hidden_layers=said["encoder_layers"],
        num_attention_heads=said["encoder_attention_heads"],
        intermediate_size=said["encoder_ffn_embed_dim"],
        conv_dim=[width for width, _, _ in convolutions],
        conv_kernel=[kernel for _, kernel, _ in convolutions],
        conv_stride=[stride for _, _, stride in convolutions],
        conv_bias=bool(said.get("conv_bias", False)),
        feat_extract_norm="layer" if layered else "group",
        do_stable_layer_norm=bool(said.get("layer_norm_first", False)),
        hidden_act=said.get("activation_fn", "gelu"),
        num_conv_pos_embeddings=said.get("conv_pos", 128),
        num_conv_pos_embedding_groups=said.get("conv_pos_groups", 16),
        hidden_dropout=said.get("dropout", 0.1),
        activation_dropout=said.get("activation_dropout", 0.0),
        attention_dropout=said.get("attention_dropout", 0.1),
        feat_proj_dropout=said.get("dropout_input", 0.0),
        layerdrop=said.get("encoder_layerdrop", 0.0),
        **NO_MASKING,
    )


def read_config(path: Path) -> Wav2Vec2Config:
    """Read a front end's configuration: JSON of fairseq's settings, or of transformers.

    Raises:
        CfbenchError: It is neither.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CfbenchError(f"{path}: the configuration cannot be read: {error}") from None
    if not isinstance(content, Mapping):
        raise CfbenchError(f"{path}: no configuration: a JSON object is wanted")
    found = fairseq_config({"args": content})
    if found is not None:
        return found
    if content.get("model_type") == "wav2vec2":
        return Wav2Vec2Config(**content)
    raise CfbenchError(
        f"{path}: no configuration of a wav2vec 2.0 model",
        "it has conv_feature_layers (fairseq), or model_type wav2vec2 (transformers)",
    )


def _read(path: str | Path) -> Mapping[str, Any]:
    path = Path(path)
    if not path.is_file():
        raise CfbenchError(f"{path}: no such file", "give a checkpoint (.pth, .pt)")
    try:
        # Older fairseq checkpoints keep their settings in a namespace, which is plain data too.
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=_zipped(path))
    except pickle.UnpicklingError as error:
        raise CfbenchError(
            f"{path}: holds more than tensors and plain data: {_first_line(error)}",
            "cfbench does not execute what is in a file; save its state_dict with torch.save in "
            "the environment that made it",
        ) from None
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise CfbenchError(
            f"{path}: not a checkpoint of torch, or cut short: {_first_line(error)}",
            "compare its size and digest with where it came from",
        ) from None
    if not isinstance(content, Mapping):
        raise CfbenchError(f"{path}: holds a {type(content).__name__}", "give a state_dict")
    return content


def _zipped(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _state(content: Mapping[str, Any], path: str | Path) -> dict[str, Tensor]:
    inner = content.get("model", content)
    if not isinstance(inner, Mapping):
        inner = content
    state = {key: value for key, value in inner.items() if isinstance(value, Tensor)}
    if not state:
        raise CfbenchError(f"{path}: holds no tensors", "give a state_dict")
    # Saved from DataParallel every key starts so.
    if all(key.startswith("module.") for key in state):
        state = {key.removeprefix("module."): value for key, value in state.items()}
    return state


def _has(state: Iterable[str], prefix: str) -> bool:
    return any(key.startswith(prefix) for key in state)


def _authors_name(key: str) -> str | None:
    """Our name of one of the authors' keys; "" for what is left out, None for a stranger."""
    if key.startswith(FRONT_END):
        rest = key.removeprefix(FRONT_END)
        if rest.startswith(PRETRAINING):
            return ""
        name = _renamed(rest, _FRONT_END_KEYS)
        return None if name is None else f"front_end.{name}"
    if _DISCARDED.match(key):
        return ""
    for task_id, branch in BRANCHES.items():
        if key.startswith(branch + "."):
            name = _renamed(key.removeprefix(branch + "."), _BRANCH_KEYS)
            if name is None:
                return None
            layer, dot, rest = (
                name.rpartition(_attention(name)) if _attention(name) else ("", "", "")
            )
            if dot:
                inner = _renamed(rest, _LAYER_KEYS)
                if inner is None:
                    return None
                name = layer + dot + inner
            return f"branches.{task_id}.{name}"
    return _renamed(key, _ENCODER_KEYS)


def _attention(name: str) -> str:
    found = re.search(r"attention[12]?\.", name)
    return found[0] if found else ""


def _renamed(key: str, patterns: Iterable[tuple[str, Any]]) -> str | None:
    for pattern, replacement in patterns:
        found = re.match(pattern, key)
        if found:
            return re.sub(pattern, replacement, key, count=1)
    return None


def _load(
    model: torch.nn.Module,
    renamed: Mapping[str, Tensor],
    origins: Mapping[str, str],
    strange: list[str],
    where: str,
) -> None:
    expected = model.state_dict()
    missing = sorted(set(expected) - set(renamed))
    strange = sorted([*strange, *(origins[name] for name in set(renamed) - set(expected))])
    unlike = [
        f"{origins[name]} {tuple(renamed[name].shape)}, wanted {tuple(expected[name].shape)}"
        for name in sorted(set(renamed) & set(expected))
        if renamed[name].shape != expected[name].shape
    ]
    problems = []
    if missing:
        problems.append(
            Problem(
                f"{where}: {plural(len(missing), 'key is|keys are')} missing, which become: "
                + ", ".join(missing)
            )
        )
    if strange:
        problems.append(
            Problem(f"{where}: {plural(len(strange), 'key')} unknown: " + ", ".join(strange))
        )
    if unlike:
        problems.append(
            Problem(
                f"{where}: {plural(len(unlike), 'tensor')} of another shape: " + "; ".join(unlike)
            )
        )
    if problems:
        raise CfbenchError.of(problems)
    model.load_state_dict(renamed)


def _sizes(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Of a front end, what its weights tell: fairseq's keys."""
    kernels: list[Tensor] = []
    while f"feature_extractor.conv_layers.{len(kernels)}.0.weight" in state:
        kernels.append(state[f"feature_extractor.conv_layers.{len(kernels)}.0.weight"])
    layers = {m[1] for m in (re.match(r"encoder\.layers\.(\d+)\.", key) for key in state) if m}
    positions = state["encoder.pos_conv.0.weight_v"]
    return {
        "hidden_size": state["post_extract_proj.weight"].shape[0],
        "num_hidden_layers": len(layers),
        "intermediate_size": state["encoder.layers.0.fc1.weight"].shape[0],
        "conv_dim": [kernel.shape[0] for kernel in kernels],
        "conv_kernel": [kernel.shape[2] for kernel in kernels],
        "conv_bias": "feature_extractor.conv_layers.0.0.bias" in state,
        "feat_extract_norm": (
            "layer" if "feature_extractor.conv_layers.0.2.1.weight" in state else "group"
        ),
        "num_conv_pos_embeddings": positions.shape[2],
        "num_conv_pos_embedding_groups": positions.shape[0] // positions.shape[1],
    }


def _convolutions(text: Any) -> list[tuple[int, int, int]]:
    """Fairseq's `[(512, 10, 5)] + [(512, 3, 2)] * 4`: width, kernel and stride of each layer."""

    def value(node: ast.expr) -> Any:
        match node:
            case ast.BinOp(left, ast.Add(), right):
                return value(left) + value(right)
            case ast.BinOp(left, ast.Mult(), right):
                return value(left) * value(right)
            case _:
                return ast.literal_eval(node)

    if not isinstance(text, str):
        return [tuple(layer) for layer in text]
    try:
        return [tuple(layer) for layer in value(ast.parse(text.strip(), mode="eval").body)]
    except (ValueError, TypeError, SyntaxError) as error:
        raise CfbenchError(f"conv_feature_layers: '{text}' is not understood: {error}") from None


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, list | tuple) else value
