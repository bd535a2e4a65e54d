"""The authors' checkpoints as models of this package.

The key names are those of the public repository ResponsibleGenAI/CodecFake-Source-Tracing
(Wav2Vec2-AASIST), whose front end is fairseq's wav2vec 2.0.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn
from transformers import Wav2Vec2Config

from cfbench.errors import CfbenchError, name_some
from cfbench.models.encoder import CHANNELS
from cfbench.models.fairseq import (
    config_of,
    fairseq_config,
    fairseq_names,
    front_end_tensors,
    is_fairseq,
    read_config,
    read_fairseq,
)
from cfbench.models.state_dicts import empty, fill, has, read_file, tensors_of, translated
from cfbench.models.wav2vec2_aasist import Wav2Vec2Aasist, Wav2Vec2AasistConfig

__all__ = [
    "BRANCHES",
    "authors_names",
    "convert",
    "fairseq_config",
    "is_fairseq",
    "read_config",
    "read_fairseq",
]

FRONT_END = "ssl_model.model."
"""What the front end's keys start with."""

BRANCHES: Mapping[str, str] = {
    "bin": "binary_branch",
    "vq": "multiclass_branch_qs",
    "aux": "multiclass_branch_as",
    "dec": "multiclass_branch_ds",
}
"""The authors' name of each task's branch; a model has those of its tasks."""

DISCARDED = tuple(
    f"encoder.{block}.0.bn1.{name}"
    for block in range(1, len(CHANNELS))
    for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
)
"""The first normalisation of a residual block: the authors' code throws its result away."""

# Our words and theirs; the first that fits counts.
_SHARED = {
    "encoder.projection.": "LL.",
    "encoder.norm_in.": "first_bn.",
    "encoder.norm_out.": "first_bn1.",
    "attention.score.": "attention.",
}
_BLOCK = {"norm.": "bn2.", "shortcut.": "conv_downsample."}
_BRANCH = {
    "position": "pos_S",
    "spectral_attention.": "GAT_layer_S.",
    "temporal_attention.": "GAT_layer_T.",
    "pool_spectral.score.": "pool_S.proj.",
    "pool_temporal.score.": "pool_T.proj.",
    "stacks.0.master": "master1",
    "stacks.1.master": "master2",
    "stacks.0.attention1.": "HtrgGAT_layer_ST11.",
    "stacks.0.attention2.": "HtrgGAT_layer_ST12.",
    "stacks.1.attention1.": "HtrgGAT_layer_ST21.",
    "stacks.1.attention2.": "HtrgGAT_layer_ST22.",
    "stacks.0.pool_spectral.score.": "pool_hS1.proj.",
    "stacks.0.pool_temporal.score.": "pool_hT1.proj.",
    "stacks.1.pool_spectral.score.": "pool_hS2.proj.",
    "stacks.1.pool_temporal.score.": "pool_hT2.proj.",
    "output.": "out_layer.",
}
# Within a graph layer; type 1 are the temporal nodes of a heterogeneous one.
_GRAPH_LAYER = {
    "pair_weight": "att_weight",
    "temporal_weight": "att_weight11",
    "spectral_weight": "att_weight22",
    "mixed_weight": "att_weight12",
    "master_weight": "att_weightM",
    "pair_projection.": "att_proj.",
    "master_pair_projection.": "att_projM.",
    "mixture_projection.": "proj_with_att.",
    "own_projection.": "proj_without_att.",
    "master_mixture_projection.": "proj_with_attM.",
    "master_own_projection.": "proj_without_attM.",
    "temporal_projection.": "proj_type1.",
    "spectral_projection.": "proj_type2.",
    "norm.": "bn.",
}


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
    where = str(path)
    state = tensors_of(read_file(path), where)
    tasks = [task_id for task_id, name in BRANCHES.items() if has(state, name + ".")]
    if not tasks or not has(state, FRONT_END):
        lacks = f"{FRONT_END}*" if tasks else f"of a branch ({', '.join(BRANCHES.values())})"
        raise CfbenchError(
            f"{where}: none of the authors' Wav2Vec2-AASIST checkpoints: it has no keys {lacks}",
            "a wav2vec 2.0 checkpoint is given as the front end of a recipe, not converted"
            if has(state, "feature_extractor.")
            else f"it has {name_some(sorted(state))}",
        )
    inner = front_end_tensors(
        {k.removeprefix(FRONT_END): v for k, v in state.items() if k.startswith(FRONT_END)}
    )
    config = Wav2Vec2AasistConfig(config_of(inner, front_end, where), tasks)
    outer = {key: value for key, value in state.items() if not key.startswith(FRONT_END)}
    whole = {**{FRONT_END + key: value for key, value in inner.items()}, **outer}
    model = empty(lambda: Wav2Vec2Aasist(config), where)
    fill(model, whole, authors_names(model), where, DISCARDED)
    # The weights of the tasks belong to the authors' loss, which a checkpoint does not hold.
    model.task_weights = nn.Parameter(torch.full((len(tasks),), 1 / len(tasks)), False)
    model.eval()
    return model


def authors_names(model: Wav2Vec2Aasist) -> dict[str, str]:
    """The authors' name of each of a model's tensors but the task weights."""
    names = {
        f"front_end.{name}": FRONT_END + theirs
        for name, theirs in fairseq_names(model.front_end).items()
    }
    for name in model.state_dict():
        if name.startswith("branches."):
            _, task_id, rest = name.split(".", 2)
            layer, rest = translated(rest, _BRANCH)
            word, rest = translated(rest, _GRAPH_LAYER)
            names[name] = f"{BRANCHES[task_id]}.{layer}{word}{rest}"
        elif name.startswith("encoder.blocks."):
            _, _, block, rest = name.split(".", 3)
            word, rest = translated(rest, _BLOCK)
            names[name] = f"encoder.{block}.0.{word}{rest}"
        elif name.startswith(("encoder.", "attention.")):
            word, rest = translated(name, _SHARED)
            names[name] = word + rest
    return names
