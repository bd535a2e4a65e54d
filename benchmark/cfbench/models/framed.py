"""The front end's convolutions as matrix products over overlapping frames, for processors.

With time in front of channels, what a convolution sees of a signal at one place lies in one piece
of memory, and the next place begins one stride later. So the convolution is one matrix product over
a strided view, without a copy, and the normalisation that follows needs no transposition. One clip
after the other, what a layer makes stays in memory that has been touched before.
"""

from typing import Any

import torch
from torch import Tensor, nn

from cfbench.models.wav2vec2_aasist import Wav2Vec2Aasist


class FramedConvolution(nn.Module):
    """One layer of the feature encoder: convolution, layer norm, activation.

    Args:
        layer: transformers' layer; weights are copied, the norm is shared.
    """

    def __init__(self, layer: Any) -> None:
        super().__init__()
        weight = layer.conv.weight.detach()  # (C_out, C_in, kernel)
        bias = layer.conv.bias
        self.kernel, self.stride = weight.shape[2], layer.conv.stride[0]
        self.linear = nn.Linear(weight[0].numel(), weight.shape[0], bias is not None)
        self.linear.weight = nn.Parameter(weight.transpose(1, 2).flatten(1).contiguous())
        if bias is not None:
            self.linear.bias = nn.Parameter(bias.detach().clone())
        self.norm, self.activation = layer.layer_norm, layer.activation

    def forward(self, x: Tensor) -> Tensor:
        """(T, C_in), contiguous, to (frames, C_out)."""
        times, channels = x.shape
        frames = (times - self.kernel) // self.stride + 1
        seen = x.as_strided((frames, self.kernel * channels), (self.stride * channels, 1))
        return self.activation(self.norm(self.linear(seen)))


class FramedFeatureEncoder(nn.Module):
    """A feature encoder whose layers all have layer norm, as XLS-R has them."""

    def __init__(self, feature_encoder: Any) -> None:
        super().__init__()
        self.layers = nn.Sequential(*map(FramedConvolution, feature_encoder.conv_layers))

    def forward(self, waveforms: Tensor) -> Tensor:
        """(B, samples) to (B, C, frames), as transformers has it."""
        clips = [self.layers(wave.contiguous().unsqueeze(-1)) for wave in waveforms]
        return torch.stack(clips).transpose(1, 2)


def frame_convolutions(model: Wav2Vec2Aasist) -> None:
    """Exchange a model's feature encoder for one that is faster on processors, in place.

    The answers are the same but for rounding. Only for prediction: the weights are copies. Front
    ends with group norm keep theirs.
    """
    front_end: Any = model.front_end
    plain = front_end.feature_extractor
    if model.config.front_end.feat_extract_norm == "layer" and hasattr(plain, "conv_layers"):
        front_end.feature_extractor = FramedFeatureEncoder(plain)
