"""Checkpoints in the authors' format, of any geometry, and what their model computes of them.

Written from the papers and from the names of the keys, apart from `cfbench.models`, so that the two
can be held against each other. Everything is plain functions over a dictionary of tensors.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # as everyone calls it

BRANCHES = {
    "bin": ("binary_branch", 2),
    "vq": ("multiclass_branch_qs", 4),
    "aux": ("multiclass_branch_as", 4),
    "dec": ("multiclass_branch_ds", 3),
}
"""The name of each task's branch, and its classes."""

VARIANTS = {
    "S_BIN": ("bin",),
    "S_VQ": ("vq",),
    "S_AUX": ("aux",),
    "S_DEC": ("dec",),
    "D_VQ": ("bin", "vq"),
    "D_AUX": ("bin", "aux"),
    "D_DEC": ("bin", "dec"),
    "M1": ("bin", "vq", "aux", "dec"),
    "M2": ("vq", "aux", "dec"),
}

Shapes = dict[str, tuple[int, ...]]
Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Geometry:
    """A front end as fairseq describes it; by default small, and otherwise like XLS-R's.

    Attributes:
        convolutions: Width, kernel, stride.
        layered: Layer norm in every convolution, not group norm in the first.
        stable: Layer norm before attention and feed-forward, not after them.
    """

    convolutions: tuple[tuple[int, int, int], ...] = (
        (8, 10, 5), (8, 3, 2), (8, 3, 2), (8, 3, 2), (8, 3, 2), (8, 2, 2), (8, 2, 2),
    )  # fmt: skip
    hidden: int = 32
    layers: int = 2
    heads: int = 16
    feed_forward: int = 24
    bias: bool = True
    layered: bool = True
    stable: bool = True
    positions: int = 16
    groups: int = 4
    activation: str = "gelu"

    def settings(self) -> dict[str, object]:
        """What fairseq writes beside such a model's weights."""
        return {
            "_name": "wav2vec2",
            "extractor_mode": "layer_norm" if self.layered else "default",
            "conv_bias": self.bias,
            "layer_norm_first": self.stable,
            "encoder_embed_dim": self.hidden,
            "encoder_layers": self.layers,
            "encoder_ffn_embed_dim": self.feed_forward,
            "encoder_attention_heads": self.heads,
            "activation_fn": self.activation,
            "conv_feature_layers": " + ".join(f"[{layer}]" for layer in self.convolutions),
            "conv_pos": self.positions,
            "conv_pos_groups": self.groups,
            "dropout": 0.0,
            "attention_dropout": 0.0,
            "activation_dropout": 0.0,
            "encoder_layerdrop": 0.0,
            "dropout_input": 0.0,
        }


def both(name: str, *shape: int) -> Shapes:
    """A weight and its bias."""
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def batch_norm_shapes(name: str, width: int) -> Shapes:
    statistics = {f"{name}.running_mean": (width,), f"{name}.running_var": (width,)}
    return {**both(name, width), **statistics, f"{name}.num_batches_tracked": ()}


def front_end_shapes(geometry: Geometry) -> Shapes:
    """Under fairseq's names, with what is left over from pre-training."""
    shapes: Shapes = {"mask_emb": (geometry.hidden,)}
    before = 1
    for index, (width, kernel, _) in enumerate(geometry.convolutions):
        name = f"feature_extractor.conv_layers.{index}"
        shapes[f"{name}.0.weight"] = (width, before, kernel)
        if geometry.bias:
            shapes[f"{name}.0.bias"] = (width,)
        if geometry.layered:
            shapes |= both(f"{name}.2.1", width)
        elif index == 0:
            shapes |= both(f"{name}.2", width)
        before = width
    hidden = geometry.hidden
    if before != hidden:
        shapes |= both("post_extract_proj", hidden, before)
    shapes["quantizer.vars"] = (1, 6, 4)
    shapes |= both("quantizer.weight_proj", 6, before)
    shapes |= both("project_q", 6, 8)
    shapes["encoder.pos_conv.0.bias"] = (hidden,)
    shapes["encoder.pos_conv.0.weight_g"] = (1, 1, geometry.positions)
    shapes["encoder.pos_conv.0.weight_v"] = (hidden, hidden // geometry.groups, geometry.positions)
    for index in range(geometry.layers):
        name = f"encoder.layers.{index}"
        for part in ("k_proj", "v_proj", "q_proj", "out_proj"):
            shapes |= both(f"{name}.self_attn.{part}", hidden, hidden)
        shapes |= both(f"{name}.self_attn_layer_norm", hidden)
        shapes |= both(f"{name}.fc1", geometry.feed_forward, hidden)
        shapes |= both(f"{name}.fc2", hidden, geometry.feed_forward)
        shapes |= both(f"{name}.final_layer_norm", hidden)
    return {
        **shapes,
        **both("encoder.layer_norm", hidden),
        **both("layer_norm", before),
        **both("final_proj", 6, hidden),
    }


def back_end_shapes(hidden: int, tasks: Sequence[str]) -> Shapes:
    """What stands on the front end: encoder, attention map, branches."""
    shapes = both("LL", 128, hidden)
    shapes |= batch_norm_shapes("first_bn", 1) | batch_norm_shapes("first_bn1", 64)
    before = 1
    for index, width in enumerate((32, 32, 64, 64, 64, 64)):
        name = f"encoder.{index}.0"
        if index:
            shapes |= batch_norm_shapes(f"{name}.bn1", before)
        shapes |= both(f"{name}.conv1", width, before, 2, 3)
        shapes |= batch_norm_shapes(f"{name}.bn2", width)
        shapes |= both(f"{name}.conv2", width, width, 2, 3)
        if width != before:
            shapes |= both(f"{name}.conv_downsample", width, before, 1, 3)
        before = width
    shapes |= both("attention.0", 128, 64, 1, 1) | batch_norm_shapes("attention.2", 128)
    shapes |= both("attention.3", 64, 128, 1, 1)
    for task_id in tasks:
        branch, classes = BRANCHES[task_id]
        shapes |= {f"{branch}.{key}": shape for key, shape in branch_shapes(classes).items()}
    return shapes


def branch_shapes(classes: int) -> Shapes:
    shapes: Shapes = {"pos_S": (1, 42, 64), "master1": (1, 1, 64), "master2": (1, 1, 64)}
    for name in ("GAT_layer_S", "GAT_layer_T"):
        shapes[f"{name}.att_weight"] = (64, 1)
        for part in ("att_proj", "proj_with_att", "proj_without_att"):
            shapes |= both(f"{name}.{part}", 64, 64)
        shapes |= batch_norm_shapes(f"{name}.bn", 64)
    for number, width in (("11", 64), ("12", 32), ("21", 64), ("22", 32)):
        name = f"HtrgGAT_layer_ST{number}"
        shapes |= {f"{name}.att_weight{kind}": (32, 1) for kind in ("11", "22", "12", "M")}
        for part in ("proj_type1", "proj_type2"):
            shapes |= both(f"{name}.{part}", width, width)
        for part in ("att_proj", "proj_with_att", "proj_without_att"):
            shapes |= both(f"{name}.{part}", 32, width) | both(f"{name}.{part}M", 32, width)
        shapes |= batch_norm_shapes(f"{name}.bn", 32)
    for name, width in (("pool_S", 64), ("pool_T", 64)):
        shapes |= both(f"{name}.proj", 1, width)
    for name in ("pool_hS1", "pool_hT1", "pool_hS2", "pool_hT2"):
        shapes |= both(f"{name}.proj", 1, 32)
    return {**shapes, **both("out_layer", classes, 160)}


def checkpoint(geometry: Geometry, tasks: Sequence[str], seed: int = 0) -> dict[str, Tensor]:
    """A state_dict of the authors' model."""
    front = {f"ssl_model.model.{key}": shape for key, shape in front_end_shapes(geometry).items()}
    return filled({**front, **back_end_shapes(geometry.hidden, tasks)}, seed)


def filled(shapes: Shapes, seed: int = 0) -> dict[str, Tensor]:
    """Random values of a size with which everything has an effect on what comes out."""
    return {key: drawn_for(key, shape, seed) for key, shape in shapes.items()}


def drawn_for(key: str, shape: tuple[int, ...], seed: int) -> Tensor:
    if key.endswith("num_batches_tracked"):
        return torch.tensor(3)
    generator = torch.Generator().manual_seed(zlib.crc32(key.encode()) + seed)
    drawn = torch.randn(shape, generator=generator)
    if key.endswith("running_var"):
        return 0.5 + drawn.abs()
    if "att_weight" in key:
        return 5 * drawn
    if key.endswith(("pos_S", "master1", "master2", "mask_emb", "vars")):
        return drawn
    if key.endswith(("bias", "running_mean")):
        return 0.2 * drawn
    if key.endswith("weight_g") or len(shape) == 1:
        return 1 + 0.2 * drawn
    return drawn / (drawn[0].numel() ** 0.5)


def front_end(state: Tensors, geometry: Geometry, waves: Tensor) -> Tensor:
    """wav2vec 2.0 (arXiv 2006.11477) without masks: (B, samples) to (B, frames, hidden)."""

    def norm(x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"])

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def attend(x: Tensor, name: str) -> Tensor:
        q, k, v = (
            linear(x, f"{name}.{part}").unflatten(-1, (geometry.heads, -1)).transpose(1, 2)
            for part in ("q_proj", "k_proj", "v_proj")
        )
        share = (q @ k.transpose(2, 3) / q.shape[-1] ** 0.5).softmax(dim=-1)
        return linear((share @ v).transpose(1, 2).flatten(2), f"{name}.out_proj")

    def feed(x: Tensor, name: str) -> Tensor:
        act = getattr(F, geometry.activation)
        return linear(act(linear(x, f"{name}.fc1")), f"{name}.fc2")

    x = waves.unsqueeze(1)
    for index, (width, _, stride) in enumerate(geometry.convolutions):
        name = f"feature_extractor.conv_layers.{index}"
        x = F.conv1d(x, state[f"{name}.0.weight"], state.get(f"{name}.0.bias"), stride)
        if geometry.layered:
            x = norm(x.transpose(1, 2), f"{name}.2.1").transpose(1, 2)
        elif index == 0:
            x = F.group_norm(x, width, state[f"{name}.2.weight"], state[f"{name}.2.bias"])
        x = F.gelu(x)
    x = norm(x.transpose(1, 2), "layer_norm")
    if "post_extract_proj.weight" in state:
        x = linear(x, "post_extract_proj")

    direction = state["encoder.pos_conv.0.weight_v"]
    length = direction.square().sum(dim=(0, 1), keepdim=True).sqrt()
    weight = state["encoder.pos_conv.0.weight_g"] * direction / length
    place = F.conv1d(
        x.transpose(1, 2), weight, state["encoder.pos_conv.0.bias"],
        padding=geometry.positions // 2, groups=geometry.groups,
    )  # fmt: skip
    x = x + F.gelu(place[..., : x.shape[1]]).transpose(1, 2)

    if not geometry.stable:
        x = norm(x, "encoder.layer_norm")
    for index in range(geometry.layers):
        name = f"encoder.layers.{index}"
        first, second = f"{name}.self_attn_layer_norm", f"{name}.final_layer_norm"
        if geometry.stable:
            x = x + attend(norm(x, first), f"{name}.self_attn")
            x = x + feed(norm(x, second), name)
        else:
            x = norm(x + attend(x, f"{name}.self_attn"), first)
            x = norm(x + feed(x, name), second)
    return norm(x, "encoder.layer_norm") if geometry.stable else x


class BackEnd:
    """What stands on the front end (arXiv 2110.01200, 2202.12233), without dropout.

    Args:
        state: The checkpoint's tensors.
        training: Whether batch normalisation takes the batch's own statistics.
    """

    def __init__(self, state: Tensors, training: bool = False) -> None:
        self.state = state
        self.training = training

    def __call__(self, features: Tensor) -> dict[str, Tensor]:
        """(B, frames, hidden) to logits by task."""
        x = self.linear(features, "LL").transpose(1, 2).unsqueeze(1)
        x = F.selu(self.norm(F.max_pool2d(x, 3), "first_bn"))
        for index in range(6):
            x = self.block(x, f"encoder.{index}.0")
        x = F.selu(self.norm(x, "first_bn1"))
        score = self.norm(F.selu(self.convolve(x, "attention.0")), "attention.2")
        score = self.convolve(score, "attention.3")
        return {
            task_id: self.branch(x, score, branch)
            for task_id, (branch, _) in BRANCHES.items()
            if f"{branch}.pos_S" in self.state
        }

    def linear(self, x: Tensor, name: str) -> Tensor:
        return x @ self.state[f"{name}.weight"].T + self.state[f"{name}.bias"]

    def norm(self, x: Tensor, name: str) -> Tensor:
        """Over all but dimension 1."""
        picked = [
            self.state[f"{name}.{part}"].view(1, -1, *[1] * (x.ndim - 2))
            for part in ("running_mean", "running_var", "weight", "bias")
        ]
        mean, variance, weight, bias = picked
        if self.training:
            others = [axis for axis in range(x.ndim) if axis != 1]
            mean = x.mean(dim=others, keepdim=True)
            variance = (x - mean).square().mean(dim=others, keepdim=True)
        return (x - mean) / (variance + 1e-5).sqrt() * weight + bias

    def convolve(self, x: Tensor, name: str, padding: tuple[int, int] = (0, 0)) -> Tensor:
        weight, bias = self.state[f"{name}.weight"], self.state[f"{name}.bias"]
        return F.conv2d(x, weight, bias, padding=padding)

    def block(self, x: Tensor, name: str) -> Tensor:
        y = F.selu(self.norm(self.convolve(x, f"{name}.conv1", (1, 1)), f"{name}.bn2"))
        y = self.convolve(y, f"{name}.conv2", (0, 1))
        if f"{name}.conv_downsample.weight" in self.state:
            x = self.convolve(x, f"{name}.conv_downsample", (0, 1))
        return y + x

    def branch(self, x: Tensor, score: Tensor, name: str) -> Tensor:
        spectral = (x * score.softmax(dim=3)).sum(dim=3).transpose(1, 2)
        temporal = (x * score.softmax(dim=2)).sum(dim=2).transpose(1, 2)
        spectral = self.attend(spectral + self.state[f"{name}.pos_S"], f"{name}.GAT_layer_S")
        temporal = self.attend(temporal, f"{name}.GAT_layer_T")
        nodes = (self.pool(temporal, f"{name}.pool_T"), self.pool(spectral, f"{name}.pool_S"))
        stacks = [self.stack(*nodes, name, number) for number in "12"]
        temporal, spectral, master = (torch.maximum(a, b) for a, b in zip(*stacks, strict=True))
        readout = torch.cat(
            [
                temporal.abs().amax(dim=1),
                temporal.mean(dim=1),
                spectral.abs().amax(dim=1),
                spectral.mean(dim=1),
                master,
            ],
            dim=1,
        )
        return self.linear(readout, f"{name}.out_layer")

    def stack(
        self, temporal: Tensor, spectral: Tensor, name: str, number: str
    ) -> tuple[Tensor, Tensor, Tensor]:
        master = self.state[f"{name}.master{number}"][0].expand(len(temporal), -1)
        layer = f"{name}.HtrgGAT_layer_ST{number}"
        temporal, spectral, master = self.attend_mixed(temporal, spectral, master, f"{layer}1")
        temporal = self.pool(temporal, f"{name}.pool_hT{number}")
        spectral = self.pool(spectral, f"{name}.pool_hS{number}")
        more = self.attend_mixed(temporal, spectral, master, f"{layer}2")
        return temporal + more[0], spectral + more[1], master + more[2]

    def attend(self, x: Tensor, name: str) -> Tensor:
        pairs = torch.einsum("bid,bjd->bijd", x, x)
        score = self.linear(pairs, f"{name}.att_proj").tanh() @ self.state[f"{name}.att_weight"]
        return self.mix(x, score[..., 0] / 2, name)

    def attend_mixed(
        self, temporal: Tensor, spectral: Tensor, master: Tensor, name: str
    ) -> tuple[Tensor, Tensor, Tensor]:
        times = temporal.shape[1]
        temporal = self.linear(temporal, f"{name}.proj_type1")
        spectral = self.linear(spectral, f"{name}.proj_type2")
        x = torch.cat([temporal, spectral], dim=1)
        pairs = torch.einsum("bid,bjd->bijd", x, x)
        pairs = self.linear(pairs, f"{name}.att_proj").tanh()
        own, other, across = (
            (pairs @ self.state[f"{name}.att_weight{kind}"])[..., 0] for kind in ("11", "22", "12")
        )
        above = torch.cat([own[:, :times, :times], across[:, :times, times:]], dim=2)
        below = torch.cat([across[:, times:, :times], other[:, times:, times:]], dim=2)
        score = torch.cat([above, below], dim=1) / 100

        with_master = self.linear(x * master.unsqueeze(1), f"{name}.att_projM").tanh()
        share = (with_master @ self.state[f"{name}.att_weightM"] / 100).softmax(dim=1)
        mixture = (share * x).sum(dim=1)
        master = self.linear(mixture, f"{name}.proj_with_attM") + self.linear(
            master, f"{name}.proj_without_attM"
        )
        x = self.mix(x, score, name)
        return x[:, :times], x[:, times:], master

    def mix(self, x: Tensor, score: Tensor, name: str) -> Tensor:
        mixture = score.softmax(dim=2) @ x
        x = self.linear(mixture, f"{name}.proj_with_att") + self.linear(
            x, f"{name}.proj_without_att"
        )
        return F.selu(self.norm(x.transpose(1, 2), f"{name}.bn").transpose(1, 2))

    def pool(self, x: Tensor, name: str) -> Tensor:
        score = self.linear(x, f"{name}.proj").sigmoid()
        kept = score[..., 0].argsort(dim=1, descending=True)[:, : max(x.shape[1] // 2, 1)]
        return torch.stack(
            [(nodes * weight)[rows] for nodes, weight, rows in zip(x, score, kept, strict=True)]
        )
