"""The front end's convolutions over frames against transformers' own."""

import pytest
import torch
from transformers import Wav2Vec2Config

from cfbench.models.framed import frame_convolutions
from cfbench.models.wav2vec2_aasist import NO_MASKING, Wav2Vec2Aasist, Wav2Vec2AasistConfig


def model(norm: str, bias: bool) -> Wav2Vec2Aasist:
    torch.manual_seed(0)
    front_end = Wav2Vec2Config(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=[24, 16, 40],
        conv_kernel=[10, 3, 2],
        conv_stride=[5, 4, 2],
        conv_bias=bias,
        feat_extract_norm=norm,
        do_stable_layer_norm=True,
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2,
        **NO_MASKING,
    )
    return Wav2Vec2Aasist(Wav2Vec2AasistConfig(front_end, ["vq"])).eval()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("samples", [4000, 4001, 4037])
def test_same_features(bias: bool, samples: int) -> None:
    net = model("layer", bias)
    waves = torch.randn(3, samples)
    with torch.inference_mode():
        # A slice of a longer batch is not contiguous.
        waves = torch.cat([waves, waves], dim=1)[:, :samples]
        wanted = net.front_end.feature_extractor(waves)
        frame_convolutions(net)
        assert type(net.front_end.feature_extractor).__name__ == "FramedFeatureEncoder"
        torch.testing.assert_close(
            net.front_end.feature_extractor(waves), wanted, rtol=1e-4, atol=1e-5
        )


def test_twice_is_once() -> None:
    net = model("layer", True)
    frame_convolutions(net)
    framed = net.front_end.feature_extractor
    frame_convolutions(net)
    assert net.front_end.feature_extractor is framed


def test_group_norm_is_left_alone() -> None:
    net = model("group", True)
    plain = net.front_end.feature_extractor
    frame_convolutions(net)
    assert net.front_end.feature_extractor is plain
