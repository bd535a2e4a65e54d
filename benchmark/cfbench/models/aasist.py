"""The AASIST graph branch: from a map of spectral and temporal positions to classes.

It reads as figure 1 of Jung et al., AASIST (arXiv 2110.01200): two graphs, one of spectral and one
of temporal nodes; each attends to itself and is pooled; two parallel stacks of heterogeneous graph
attention join them around a master node (the paper's stack node); the larger of the stacks' values
counts (its max graph operation); the readout takes the largest absolute value and the mean over the
nodes, and the master node. How the two graphs are made from the encoder's map, by learned weights
where the paper takes maxima, is that of Tak et al. (arXiv 2202.12233).

Shapes: B clips, N nodes, D values a node; S spectral and T temporal nodes.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from cfbench.models.batch_norm import MapNorm, NodeNorm

NODE = 64
"""Values a node of the two homogeneous graphs, and channels of the encoder's map."""
HIDDEN = 32
"""Values a node of the heterogeneous graph."""
READOUT = 5 * HIDDEN
"""Values that the output layer sees: largest and mean of either graph, and the master node."""


class Dropouts(NamedTuple):
    """The four dropout rates of a branch.

    Attributes:
        nodes: Of what enters graph attention.
        pool: Of what graph pooling makes its scores from.
        stack: Of what leaves a stack.
        readout: Of what enters the output layer.
    """

    nodes: float = 0.2
    pool: float = 0.3
    stack: float = 0.2
    readout: float = 0.5


class SpectroTemporalAttention(nn.Module):
    """The encoder's map summed over time, and over frequency, by learned attention weights.

    All branches share it, and each makes two graphs of what it returns.
    """

    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Sequential(
            nn.Conv2d(NODE, 2 * NODE, 1), nn.SELU(), MapNorm(2 * NODE),
            nn.Conv2d(2 * NODE, NODE, 1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 64, S, T) to the nodes of two graphs, (B, S, 64) and (B, T, 64)."""
        score = self.score(x)  # (B, 64, S, T)
        spectral = (x * score.softmax(dim=-1)).sum(dim=-1)  # (B, 64, S): over time
        temporal = (x * score.softmax(dim=-2)).sum(dim=-2)  # (B, 64, T): over frequency
        return spectral.transpose(1, 2), temporal.transpose(1, 2)


class GraphAttention(nn.Module):
    """Graph attention: each node becomes a mixture of all nodes, plus a projection of itself.

    A node's share in the mixture comes from a learned score of the two nodes' product.

    Args:
        width_in: D_in.
        width_out: D_out.
        temperature: Divides the scores before the softmax.
        dropout: Of the nodes that come in.
    """

    def __init__(self, width_in: int, width_out: int, temperature: float, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.pair_projection = nn.Linear(width_in, width_out)
        self.pair_weight = nn.Parameter(torch.empty(width_out, 1))
        self.mixture_projection = nn.Linear(width_in, width_out)
        self.own_projection = nn.Linear(width_in, width_out)
        self.norm = NodeNorm(width_out)
        self.temperature = temperature
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights that are no layer's."""
        nn.init.xavier_normal_(self.pair_weight)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, D_in) to (B, N, D_out)."""
        x = self.dropout(x)
        score = recomputed(pair_scores, x, self.pair_projection, self.pair_weight)  # (B, N, N, 1)
        attention = (score.squeeze(-1) / self.temperature).softmax(dim=-1)  # (B, N, N)
        x = self.mixture_projection(attention @ x) + self.own_projection(x)  # (B, N, D_out)
        return nn.functional.selu(self.norm(x))


class HeterogeneousGraphAttention(nn.Module):
    """Graph attention over temporal and spectral nodes at once, and a master node that sees all.

    Which weight vector scores a pair depends on its kinds: both temporal, both spectral, or mixed.
    The master node takes a mixture of all nodes; they take nothing from it.

    Args:
        width_in: D_in.
        width_out: D_out.
        temperature: Divides the scores before the softmax.
        dropout: Of the nodes that come in; the master node has none.
    """

    def __init__(self, width_in: int, width_out: int, temperature: float, dropout: float) -> None:
        super().__init__()
        self.temporal_projection = nn.Linear(width_in, width_in)
        self.spectral_projection = nn.Linear(width_in, width_in)
        self.dropout = nn.Dropout(dropout)
        self.pair_projection = nn.Linear(width_in, width_out)
        self.temporal_weight = nn.Parameter(torch.empty(width_out, 1))
        self.spectral_weight = nn.Parameter(torch.empty(width_out, 1))
        self.mixed_weight = nn.Parameter(torch.empty(width_out, 1))
        self.mixture_projection = nn.Linear(width_in, width_out)
        self.own_projection = nn.Linear(width_in, width_out)
        self.norm = NodeNorm(width_out)

        self.master_pair_projection = nn.Linear(width_in, width_out)
        self.master_weight = nn.Parameter(torch.empty(width_out, 1))
        self.master_mixture_projection = nn.Linear(width_in, width_out)
        self.master_own_projection = nn.Linear(width_in, width_out)
        self.temperature = temperature
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights that are no layer's."""
        for weight in (
            self.temporal_weight, self.spectral_weight, self.mixed_weight, self.master_weight
        ):  # fmt: skip
            nn.init.xavier_normal_(weight)

    def forward(
        self, temporal: Tensor, spectral: Tensor, master: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(B, T, D_in), (B, S, D_in) and (B, 1, D_in) to the same with D_out."""
        times = temporal.shape[1]
        x = torch.cat(
            [self.temporal_projection(temporal), self.spectral_projection(spectral)], dim=1
        )  # (B, N, D_in), N = T + S
        x = self.dropout(x)

        weights = torch.cat([self.temporal_weight, self.spectral_weight, self.mixed_weight], dim=1)
        scores = recomputed(pair_scores, x, self.pair_projection, weights)  # (B, N, N, 3)
        is_temporal = torch.arange(x.shape[1], device=x.device) < times  # (N,)
        same_kind = is_temporal.unsqueeze(0) == is_temporal.unsqueeze(1)  # (N, N)
        score = torch.where(
            same_kind,
            torch.where(is_temporal.unsqueeze(0), scores[..., 0], scores[..., 1]),
            scores[..., 2],
        )  # (B, N, N)
        attention = (score / self.temperature).softmax(dim=-1)

        with_master = torch.tanh(self.master_pair_projection(x * master))  # (B, N, D_out)
        master_score = (with_master @ self.master_weight).transpose(1, 2)  # (B, 1, N)
        master_attention = (master_score / self.temperature).softmax(dim=-1)
        master = self.master_mixture_projection(master_attention @ x) + self.master_own_projection(
            master
        )  # (B, 1, D_out)

        x = self.mixture_projection(attention @ x) + self.own_projection(x)  # (B, N, D_out)
        x = nn.functional.selu(self.norm(x))
        return x[:, :times], x[:, times:], master


class GraphPool(nn.Module):
    """Keeps the half of the nodes with the highest scores, each multiplied by its score.

    Args:
        width: D.
        dropout: Of what the scores are made from.
    """

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.score = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, D) to (B, max(N // 2, 1), D), the best node first."""
        score = torch.sigmoid(self.score(self.dropout(x)))  # (B, N, 1)
        _, best = score.topk(max(x.shape[1] // 2, 1), dim=1)  # (B, N // 2, 1)
        return (x * score).gather(1, best.expand(-1, -1, x.shape[2]))


class Stack(nn.Module):
    """One of the two parallel stacks: two heterogeneous layers with pooling between them."""

    def __init__(self, dropouts: Dropouts) -> None:
        super().__init__()
        self.master = nn.Parameter(torch.empty(1, 1, NODE))
        self.attention1 = HeterogeneousGraphAttention(NODE, HIDDEN, 100.0, dropouts.nodes)
        self.pool_temporal = GraphPool(HIDDEN, dropouts.pool)
        self.pool_spectral = GraphPool(HIDDEN, dropouts.pool)
        self.attention2 = HeterogeneousGraphAttention(HIDDEN, HIDDEN, 100.0, dropouts.nodes)
        self.dropout = nn.Dropout(dropouts.stack)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the master node."""
        nn.init.normal_(self.master)

    def forward(self, temporal: Tensor, spectral: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, T, 64) and (B, S, 64) to (B, T // 2, 32), (B, S // 2, 32) and (B, 1, 32)."""
        master = self.master.expand(temporal.shape[0], -1, -1)
        temporal, spectral, master = self.attention1(temporal, spectral, master)
        temporal, spectral = self.pool_temporal(temporal), self.pool_spectral(spectral)
        added = self.attention2(temporal, spectral, master)
        first = (temporal, spectral, master)
        temporal, spectral, master = (
            self.dropout(x + more) for x, more in zip(first, added, strict=True)
        )
        return temporal, spectral, master


class GraphBranch(nn.Module):
    """One task's branch: a graph of each kind attends and is pooled, two stacks, a readout.

    Args:
        spectral_nodes: S; each has a learned position.
        classes: K.
        dropouts: The rates.
    """

    def __init__(self, spectral_nodes: int, classes: int, dropouts: Dropouts) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.empty(1, spectral_nodes, NODE))
        self.spectral_attention = GraphAttention(NODE, NODE, 2.0, dropouts.nodes)
        self.temporal_attention = GraphAttention(NODE, NODE, 2.0, dropouts.nodes)
        self.pool_spectral = GraphPool(NODE, dropouts.pool)
        self.pool_temporal = GraphPool(NODE, dropouts.pool)
        self.stacks = nn.ModuleList([Stack(dropouts), Stack(dropouts)])
        self.dropout = nn.Dropout(dropouts.readout)
        self.output = nn.Linear(READOUT, classes)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the positions."""
        nn.init.normal_(self.position)

    def forward(self, spectral: Tensor, temporal: Tensor) -> tuple[Tensor, Tensor]:
        """(B, S, 64) and (B, T, 64) to logits (B, K) and the readout (B, 160)."""
        spectral = self.spectral_attention(spectral + self.position)  # (B, S, 64)
        temporal = self.temporal_attention(temporal)  # (B, T, 64)
        spectral = self.pool_spectral(spectral)  # (B, S // 2, 64)
        temporal = self.pool_temporal(temporal)  # (B, T // 2, 64)

        one, other = (stack(temporal, spectral) for stack in self.stacks)
        temporal, spectral, master = (
            torch.maximum(a, b) for a, b in zip(one, other, strict=True)
        )  # (B, T // 4, 32), (B, S // 4, 32), (B, 1, 32)

        readout = torch.cat(
            [
                temporal.abs().amax(dim=1),
                temporal.mean(dim=1),
                spectral.abs().amax(dim=1),
                spectral.mean(dim=1),
                master.squeeze(1),
            ],
            dim=1,
        )  # (B, 160)
        return self.output(self.dropout(readout)), readout


def pair_scores(x: Tensor, projection: nn.Linear, weights: Tensor) -> Tensor:
    """How each pair of nodes goes together: tanh of the projected product, weighted.

    Args:
        x: Nodes, (B, N, D_in).
        projection: D_in to D_out.
        weights: (D_out, W), a column a kind of score.

    Returns:
        (B, N, N, W).
    """
    nodes = x.shape[1]
    # A pair's product does not depend on its order: each pair is looked at once, P = N (N + 1) / 2.
    first, second = torch.triu_indices(nodes, nodes, device=x.device)
    pairs = x.index_select(1, first) * x.index_select(1, second)  # (B, P, D_in)
    scores = torch.tanh(projection(pairs)) @ weights  # (B, P, W)
    number = torch.empty(nodes, nodes, dtype=torch.long, device=x.device)
    number[first, second] = number[second, first] = torch.arange(len(first), device=x.device)
    return scores.index_select(1, number.flatten()).unflatten(1, (nodes, nodes))


def recomputed(function: Callable[..., Tensor], *arguments: object) -> Tensor:
    """Call `function`, and keep nothing of what it made for the backward pass.

    The products of all pairs of nodes are the largest tensors of a branch, half of B x N x N x D;
    in training they are made again when their gradient is wanted.
    """
    if not torch.is_grad_enabled():
        return function(*arguments)
    return checkpoint(function, *arguments, use_reentrant=False, preserve_rng_state=False)
