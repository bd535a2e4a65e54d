"""The codecs: shapes, codes that stand for what is decoded, and training that repeats itself."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra baseline")

import torch
from torch import Tensor

from cfbench.codecs import Codec, CodecConfig, load_codec, read_config, save_codec
from cfbench.codecs.blocks import Mdct, Stft
from cfbench.codecs.codec import round_to_half
from cfbench.codecs.config import Decoder, Encoder, Quantizer, Training
from cfbench.codecs.language import (
    CodeModel,
    generate,
    load_code_model,
    save_code_model,
    train_code_model,
)
from cfbench.codecs.material import Material, Segments
from cfbench.codecs.quantizers import Residual, Scalar
from cfbench.codecs.training import train
from cfbench.errors import CfbenchError

QUANTIZERS = {
    "mvq": Quantizer(kind="residual", dim=4, codebooks=3, size=16),
    "svq": Quantizer(kind="single", dim=4, size=64),
    "sq": Quantizer(kind="scalar", dim=4, levels=5),
}
DECODERS = {
    "transposed": Decoder(kind="transposed", blocks=1, channels=(8, 6, 4)),
    "nearest": Decoder(kind="nearest", blocks=1, channels=(8, 6, 4)),
    "stft": Decoder(kind="stft", blocks=1),
    "mdct": Decoder(kind="mdct", blocks=1),
}


def config(
    vq: str = "mvq", objective: str = "none", decoder: str = "stft", **more: object
) -> CodecConfig:
    return CodecConfig(
        name="tiny",
        objective=objective,
        width=12,
        encoder=Encoder(filters=12, blocks=1),
        quantizer=QUANTIZERS[vq],
        decoder=DECODERS[decoder],
        training=Training(**{"steps": 60, "batch": 2, "segment": 4000, **more}),
    )


def waves(count: int = 6, seconds: float = 1.0) -> np.ndarray:
    """Gliding tones of changing loudness, (count, samples)."""
    rng = np.random.default_rng(1)
    t = np.arange(int(seconds * 16000)) / 16000
    pitch = rng.uniform(100, 300, (count, 1)) * (1 + 0.3 * np.sin(2 * np.pi * 3 * t))
    phase = 2 * np.pi * np.cumsum(pitch, axis=1) / 16000
    tone = sum(np.sin(k * phase) / k for k in range(1, 12))
    return (0.1 * tone * (0.6 + 0.4 * np.sin(2 * np.pi * 2 * t))).astype(np.float32)


def material(teacher: bool = True) -> Material:
    pcm = np.rint(waves() * 32767).astype(np.int16)
    starts = np.arange(len(pcm) + 1) * pcm.shape[1]
    voices = np.array(["a", "a", "a", "b", "b", "b"])
    if not teacher:
        return Material(pcm.reshape(-1), starts, voices)
    frames = pcm.shape[1] // 320
    loudness = np.abs(waves()[:, : frames * 320]).reshape(len(pcm), frames, 320).mean(axis=2)
    features = np.stack([loudness, -loudness], axis=2).reshape(-1, 2).astype(np.float32)
    embeddings = np.eye(8, dtype=np.float32)[[0, 0, 0, 5, 5, 5]]
    return Material(
        pcm.reshape(-1), starts, voices, features, np.arange(len(pcm) + 1) * frames, embeddings
    )


class TestQuantizers:
    def test_codes_stand_for_the_values_of_a_residual_quantiser(self) -> None:
        torch.manual_seed(0)
        quantizer = Residual(QUANTIZERS["mvq"])
        frames = torch.randn(2, 4, 50)
        quantizer(frames)  # the entries start as frames
        quantizer.eval()
        told = quantizer(frames)
        assert told.codes.shape == (2, 3, 50)
        assert told.codes.min() >= 0
        assert told.codes.max() < 16
        torch.testing.assert_close(quantizer.values(told.codes), told.values)
        torch.testing.assert_close(quantizer.values(told.codes[:, :1]), told.coarse)

    def test_each_further_codebook_brings_the_values_nearer(self) -> None:
        torch.manual_seed(0)
        quantizer = Residual(QUANTIZERS["mvq"])
        frames = torch.randn(8, 4, 100)
        for _ in range(40):
            quantizer(frames)
        quantizer.eval()
        told = quantizer(frames)
        errors = []
        for books in (1, 2, 3):
            values = sum(
                quantizer.books[i].entries[told.codes[:, i]].transpose(1, 2) for i in range(books)
            )
            errors.append(float(((frames - values) ** 2).mean()))
        assert errors[0] > 1.5 * errors[1] > 1.5 * 1.2 * errors[2]

    def test_a_code_is_the_nearest_entry(self) -> None:
        torch.manual_seed(0)
        quantizer = Residual(QUANTIZERS["svq"]).eval()
        quantizer.books[0].entries.copy_(torch.randn(64, 4))
        frames = torch.randn(1, 4, 30)
        codes = quantizer(frames).codes[0, 0]
        distances = torch.cdist(frames[0].T, quantizer.books[0].entries)
        assert torch.equal(codes, distances.argmin(1))

    def test_entries_that_nobody_uses_are_set_to_frames(self) -> None:
        torch.manual_seed(0)
        quantizer = Residual(QUANTIZERS["svq"])
        frames = torch.randn(4, 4, 200)
        quantizer(frames)
        quantizer.books[0].entries[:40] = 1e3
        quantizer.books[0].sums[:40] = 1e3 * quantizer.books[0].counts[:40, None]
        for _ in range(400):
            quantizer(torch.randn(4, 4, 200))
        assert float(quantizer.books[0].entries.abs().max()) < 10

    @pytest.mark.parametrize("levels", [2, 5, 7, 8])
    def test_scalars_take_all_their_levels_and_no_other(self, levels: int) -> None:
        quantizer = Scalar(Quantizer(kind="scalar", dim=1, levels=levels))
        told = quantizer(torch.linspace(-6, 6, 2001).view(1, 1, -1))
        assert set(told.codes.flatten().tolist()) == set(range(levels))
        expected = torch.linspace(-1, 1, levels)
        found = told.values.detach().flatten().unique()
        # The straight-through sum rounds in the last bit.
        torch.testing.assert_close(found.round(decimals=5).unique(), expected.round(decimals=5))
        torch.testing.assert_close(quantizer.values(told.codes), told.values)

    @pytest.mark.parametrize("vq", QUANTIZERS)
    def test_gradients_pass(self, vq: str) -> None:
        torch.manual_seed(0)
        codec = Codec(config(vq))
        frames = torch.randn(1, 4, 20, requires_grad=True)
        codec.quantizer(frames).values.sum().backward()
        assert frames.grad is not None
        assert float(frames.grad.abs().min()) > 0


class TestWaveforms:
    def test_the_stft_decoder_inverts_an_stft(self) -> None:
        wave = torch.from_numpy(waves(2))
        stft = Stft(8, 80, DECODERS["stft"])
        spectrum = torch.stft(wave, 320, 80, window=torch.hann_window(320), return_complex=True)
        stft.head = _Told(torch.cat([spectrum.real, spectrum.imag], dim=1)[..., :-1])
        back = stft(torch.zeros(2, 8, 200))
        # The last frame is not the decoder's to choose.
        torch.testing.assert_close(back[:, :-240], wave[:, :-240], atol=1e-5, rtol=0)

    def test_the_mdct_decoder_inverts_an_mdct(self) -> None:
        wave = torch.from_numpy(waves(2))
        mdct = Mdct(8, 80)
        padded = torch.nn.functional.pad(wave, (40, 120))
        frames = padded.unfold(-1, 160, 80)[:, :200]
        spectrum = torch.einsum("bfn,kn->bkf", frames, mdct.basis[:, 0])
        mdct.head = _Told(spectrum)
        back = mdct(torch.zeros(2, 8, 200))
        torch.testing.assert_close(back[:, 80:-80], wave[:, 80:-80], atol=1e-5, rtol=0)


class _Told(torch.nn.Module):
    """A head that says what it was told."""

    def __init__(self, spectrum: Tensor) -> None:
        super().__init__()
        self.spectrum = spectrum

    def forward(self, frames: Tensor) -> Tensor:
        return self.spectrum.transpose(1, 2)


class TestCodec:
    @pytest.mark.parametrize("decoder", DECODERS)
    @pytest.mark.parametrize("objective", ["none", "disent"])
    def test_as_many_samples_come_out(self, decoder: str, objective: str) -> None:
        torch.manual_seed(0)
        codec = Codec(config("sq", objective, decoder)).eval()
        for length in (800, 801, 15999):
            out = codec.resynthesise(waves(1)[0, :length])
            assert out.shape == (length,)
            assert out.dtype == np.float32
            assert np.isfinite(out).all()

    def test_the_content_of_a_disentangling_codec_knows_no_level(self) -> None:
        torch.manual_seed(0)
        codec = Codec(config("mvq", "disent")).eval()
        features = codec.features(torch.from_numpy(waves(2))) * 100
        gains = torch.rand(12)[:, None] + 0.5
        codec.narrow = torch.nn.Identity()
        torch.testing.assert_close(
            codec.latents(features), codec.latents(features * gains + 3), atol=1e-3, rtol=1e-3
        )

    def test_the_voice_has_the_levels_it_says(self) -> None:
        torch.manual_seed(0)
        codec = Codec(config("mvq", "disent")).eval()
        voice = codec.voice_code(torch.randn(50, 12, 30) * 5)
        levels = (voice * 3.5 + 3.5).round(decimals=4).unique()
        assert voice.shape == (50, 24)
        assert set(levels.tolist()) <= {float(k) for k in range(8)}
        assert len(levels) > 2

    def test_weights_come_back_as_they_are_used(self, tmp_path: Path) -> None:
        torch.manual_seed(0)
        codec = Codec(config("svq")).eval()
        round_to_half(codec)
        (tmp_path / "tiny.toml").write_text(
            'name = "tiny"\nwidth = 12\n[encoder]\nfilters = 12\nblocks = 1\n'
            '[quantizer]\nkind = "single"\ndim = 4\nsize = 64\n'
            '[decoder]\nkind = "stft"\nblocks = 1\n'
        )
        save_codec(codec, tmp_path / "tiny.safetensors")
        again = load_codec(tmp_path / "tiny.safetensors")
        wave = waves(1)[0]
        assert np.array_equal(again.resynthesise(wave), codec.resynthesise(wave))

    def test_what_is_wrong_with_a_codecs_files_is_said(self, tmp_path: Path) -> None:
        with pytest.raises(CfbenchError, match=r"none\.toml: No such file"):
            load_codec(tmp_path / "none.toml")
        bad = tmp_path / "bad.toml"
        bad.write_text(
            'name = "bad"\nhop = 81\n[quantizer]\nkind = "single"\n[decoder]\nkind = "nearest"\n'
        )
        with pytest.raises(CfbenchError, match="strides do not multiply to the hop 81"):
            read_config(bad)
        bad.write_text(
            'name = "bad"\nhopp = 80\n[quantizer]\nkind = "odd"\n[decoder]\nkind = "stft"\n'
        )
        with pytest.raises(CfbenchError) as caught:
            read_config(bad)
        assert len(caught.value.problems) == 2
        good = tmp_path / "good.toml"
        good.write_text('name = "good"\n[quantizer]\nkind = "single"\n[decoder]\nkind = "stft"\n')
        with pytest.raises(CfbenchError, match=r"good\.safetensors: cannot be read"):
            load_codec(good)
        (tmp_path / "good.safetensors").write_bytes(b"\x00" * 100)
        with pytest.raises(CfbenchError, match=r"good\.safetensors: cannot be read"):
            load_codec(good)
        save_codec(Codec(config("svq")), tmp_path / "good.safetensors")
        with pytest.raises(CfbenchError, match=r"not the weights of the codec that good\.toml"):
            load_codec(good)


class TestMaterial:
    def test_voices_are_drawn_alike_whatever_they_said(self) -> None:
        pcm = np.zeros(16000 * 9, np.int16)
        starts = np.array([0, 16000 * 8, 16000 * 9])
        segments = Segments(Material(pcm, starts, np.array(["long", "short"])), (), 4000, 0)
        recordings, offsets = segments.draw(4000)
        assert 0.45 < (recordings == 1).mean() < 0.55
        assert offsets[recordings == 1].max() <= 12000
        assert offsets.min() >= 0

    def test_only_the_voices_that_are_asked_for(self) -> None:
        segments = Segments(material(), ["b"], 4000, 0)
        assert set(segments.draw(50)[0]) == {3, 4, 5}
        with pytest.raises(CfbenchError, match="no recording"):
            Segments(material(), ["c"], 4000, 0)

    def test_a_voice_is_heard_in_another_length_and_in_recordings_that_have_it(self) -> None:
        pcm = np.repeat(np.arange(3, dtype=np.int16), [16000, 16000, 4000])
        starts = np.array([0, 16000, 32000, 36000])
        segments = Segments(Material(pcm, starts, np.array(["a", "b", "b"])), (), 2000, 0)
        heard = segments.of_same_voice(np.array([0, 1, 2] * 9), 8000)
        assert heard.shape == (27, 8000)
        # The voice of 2, which is too short, is heard in 1.
        assert (heard == np.array([0, 1, 1] * 9, np.float32)[:, None] / 32768).all()
        with pytest.raises(CfbenchError, match="no recording of a is longer than 16000 samples"):
            segments.of_same_voice(np.array([0]), 16000)

    def test_features_are_those_of_the_same_time(self) -> None:
        told = material()
        ramp = np.tile(np.arange(50, dtype=np.float32), 6)[:, None]
        features = Material(
            told.pcm, told.starts, told.voices, ramp, told.feature_starts, told.embeddings
        )
        segments = Segments(features, (), 4000, 0)
        got = segments.features(np.array([2]), np.array([3200]), 20, 80)
        # Frame 0 of the codec is around sample 3240, 0.125 of a teacher's frame after that at 3200.
        expected = (3200 + (np.arange(20) + 0.5) * 80) / 320 - 0.5
        np.testing.assert_allclose(got[0, 0], expected, atol=1e-5)


@pytest.mark.slow
class TestTraining:
    @pytest.mark.parametrize("objective", ["none", "sem", "disent"])
    def test_a_codec_learns_and_learns_the_same_again(self, objective: str) -> None:
        told: list[dict[str, float]] = []
        settings = config("svq", objective, steps=200)
        train(settings, material(), report=lambda step, losses: told.append(losses))
        short = config("svq", objective, steps=20)
        wave = waves(1)[0]
        first, again = (train(short, material()).resynthesise(wave) for _ in range(2))
        assert np.array_equal(first, again)
        assert told[-1]["spectral"] < 0.8 * told[0]["spectral"]
        extra = {"none": set(), "sem": {"semantic"}, "disent": {"speaker"}}[objective]
        assert set(told[0]) == {"commitment", "spectral", "wave"} | extra
        for name in extra:
            assert told[-1][name] < told[0][name]

    def test_the_voice_s_layers_learn_at_a_rate_of_their_own(self) -> None:
        def trained(rate: float) -> dict[str, torch.Tensor]:
            settings = config("svq", "disent", steps=1, learning_rate=0.1, voice_rate=rate)
            return train(settings, material()).state_dict()

        torch.manual_seed(0)
        first = Codec(config("svq", "disent")).state_dict()
        slow, fast = trained(1), trained(100)
        for name in slow:
            if name.startswith("voice."):
                moved = [(one[name] - first[name]).abs().mean() for one in (slow, fast)]
                assert moved[1] > 5 * moved[0] > 0
            else:
                assert torch.equal(slow[name], fast[name])

    def test_encoder_and_decoder_are_taken_over(self) -> None:
        start = train(config("sq", unquantised=60), material())
        codec = train(config("svq", "disent", steps=1, learning_rate=1e-9), material(), start)
        torch.testing.assert_close(codec.filters.weight, start.filters.weight)
        torch.testing.assert_close(
            codec.decoder[0].inner.weight, start.decoder[0].inner.weight, atol=1e-5, rtol=0
        )

    def test_generated_speech_goes_on_and_is_drawn_from_its_key(self, tmp_path: Path) -> None:
        codec = train(config("svq", steps=30), material())
        told: list[float] = []
        model = train_code_model(codec, material(), 200, 0, lambda step, loss: told.append(loss))
        assert told[-1] < told[0]
        save_code_model(model, tmp_path / "m.safetensors")
        model = load_code_model(tmp_path / "m.safetensors", codec)
        prompt = waves(1)[0]
        one, same, other = (generate(codec, model, prompt, 5000, key) for key in "aab")
        assert one.shape == (5000,)
        assert np.array_equal(one, same)
        assert not np.array_equal(one, other)
        with pytest.raises(CfbenchError, match="not a model of tiny's codes"):
            load_code_model(
                tmp_path / "m.safetensors",
                train(
                    config("svq", steps=1).model_copy(
                        update={"quantizer": Quantizer(kind="single", dim=3, size=64)}
                    ),
                    material(),
                ),
            )

    def test_only_a_single_codebook_has_a_code_model(self) -> None:
        with pytest.raises(ValueError, match="one codebook"):
            CodeModel(Codec(config("mvq")))
