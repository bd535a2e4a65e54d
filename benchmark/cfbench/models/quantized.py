"""The front end with its linear layers in 8-bit integers, for processors.

Weights are rounded once, to one scale a row; activations when they come, to one scale a batch. So
an answer depends a little on what else is in its batch.
"""

import copy
import warnings

import torch
from torch import nn

from cfbench.models.wav2vec2_aasist import Wav2Vec2Aasist


def quantized(model: Wav2Vec2Aasist) -> Wav2Vec2Aasist:
    """A copy whose front end multiplies in int8; the convolutions, encoder and branches do not."""
    with warnings.catch_warnings():
        # torch moves quantisation to a package of its own, which needs a compiler on the CPU.
        warnings.simplefilter("ignore")
        from torch.ao.quantization import quantize_dynamic

        model = copy.deepcopy(model)
        quantize_dynamic(model.front_end.encoder, {nn.Linear}, dtype=torch.qint8, inplace=True)
    return model
