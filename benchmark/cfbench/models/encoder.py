"""The RawNet2-style residual encoder between front end and graph branches.

Sources: Jung et al., RawNet2 (arXiv 2004.00526) and Tak et al. (arXiv 2011.01108) for the blocks;
Jung et al., AASIST (arXiv 2110.01200), figure 1, for the two-dimensional form used here.
"""

from itertools import pairwise

from torch import Tensor, nn

from cfbench.models.batch_norm import MapNorm

CHANNELS = (32, 32, 64, 64, 64, 64)
"""Output channels of the six residual blocks."""


class ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut; height and width stay as they are.

    AASIST normalises and activates what enters the first convolution too. In the code that trained
    the published models the result of that step is thrown away, so this block does not have it.

    Args:
        channels_in: C_in.
        channels_out: C_out; a 1x3 convolution fits the shortcut where it differs from C_in.
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, (2, 3), padding=(1, 1))
        self.norm = MapNorm(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, (2, 3), padding=(0, 1))
        self.shortcut: nn.Module = nn.Identity()
        if channels_in != channels_out:
            self.shortcut = nn.Conv2d(channels_in, channels_out, (1, 3), padding=(0, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, S, T) to (B, C_out, S, T)."""
        y = self.conv1(x)  # (B, C_out, S + 1, T): the kernel is two high
        y = nn.functional.selu(self.norm(y))
        y = self.conv2(y)  # (B, C_out, S, T)
        return y + self.shortcut(x)


class ResidualEncoder(nn.Module):
    """Front-end features to a map of 64 channels over spectral and temporal positions.

    Args:
        features: F, the width of the front end's features.
        projected: How many spectral values they are projected to; a third of them remain.
    """

    def __init__(self, features: int, projected: int = 128) -> None:
        super().__init__()
        self.projection = nn.Linear(features, projected)
        self.norm_in = MapNorm(1)
        widths = (1, *CHANNELS)
        self.blocks = nn.Sequential(*(ResidualBlock(i, o) for i, o in pairwise(widths)))
        self.norm_out = MapNorm(CHANNELS[-1])

    def forward(self, features: Tensor) -> Tensor:
        """(B, frames, F) to (B, 64, S, T), S = projected // 3 and T = frames // 3."""
        x = self.projection(features)  # (B, frames, 128)
        x = x.transpose(1, 2).unsqueeze(1)  # (B, 1, 128, frames): one image
        x = nn.functional.max_pool2d(x, 3)  # (B, 1, S, T)
        x = nn.functional.selu(self.norm_in(x))
        x = self.blocks(x)  # (B, 64, S, T)
        return nn.functional.selu(self.norm_out(x))
