"""Batch normalisation that can take its statistics over the batches of all processes.

torch's own SyncBatchNorm does this on GPUs only.
"""

import torch
import torch.distributed.nn
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
    mean = torch.distributed.nn.all_reduce(flat.sum(dim=0)) / count  # (C,)
    variance = torch.distributed.nn.all_reduce((flat - mean).square().sum(dim=0)) / count
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
