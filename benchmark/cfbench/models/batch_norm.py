"""Batch normalisation that can take its statistics over the batches of all processes.

torch's own SyncBatchNorm does this on GPUs only.
"""

from typing import Any

import torch
from torch import Tensor, nn


class MapNorm(nn.BatchNorm2d):
    """Batch normalisation of each channel of a map, (B, C, S, T)."""

    shared = False

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, S, T) to the same."""
        if self.training and self.shared:
            return shared_batch_norm(self, x.movedim(1, -1)).movedim(-1, 1)
        return super().forward(x)


class NodeNorm(nn.BatchNorm1d):
    """Batch normalisation of each of a node's values, over all nodes of all clips."""

    shared = False

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, D) to the same."""
        if self.training and self.shared:
            return shared_batch_norm(self, x)
        return super().forward(x.flatten(0, 1)).view_as(x)


class SumOverProcesses(torch.autograd.Function):
    """The sum of a tensor over all processes, through which gradients flow to all of them."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Any shape to the same."""
        return _summed(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """Each process's summand counts in the sums of all."""
        return _summed(gradients[0])


def _summed(x: Tensor) -> Tensor:
    x = x.clone(memory_format=torch.contiguous_format)
    torch.distributed.all_reduce(x)
    return x


def share_batch_norm(model: nn.Module) -> None:
    """Have every batch normalisation of a model take its statistics over all processes."""
    for module in model.modules():
        if isinstance(module, MapNorm | NodeNorm):
            module.shared = True


def shared_batch_norm(norm: MapNorm | NodeNorm, x: Tensor) -> Tensor:
    """Normalise by mean and variance over all processes, and keep the running statistics.

    Each process must hold the same number of values; gradients flow through the statistics.

    Args:
        norm: Whose parameters and running statistics.
        x: (..., C).

    Returns:
        The same shape.
    """
    flat = x.reshape(-1, x.shape[-1])  # (n, C)
    count = flat.shape[0] * torch.distributed.get_world_size()
    mean = SumOverProcesses.apply(flat.sum(dim=0)) / count  # (C,)
    variance = SumOverProcesses.apply((flat - mean).square().sum(dim=0)) / count  # (C,)
    with torch.no_grad():
        assert norm.running_mean is not None  # noqa: S101  # for the type checker
        assert norm.running_var is not None  # noqa: S101
        assert norm.num_batches_tracked is not None  # noqa: S101
        momentum = norm.momentum or 0.0
        norm.running_mean.lerp_(mean, momentum)
        norm.running_var.lerp_(variance * count / (count - 1), momentum)
        norm.num_batches_tracked.add_(1)
    y = (flat - mean) * torch.rsqrt(variance + norm.eps)
    return (y * norm.weight + norm.bias).view_as(x)
