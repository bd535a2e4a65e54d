"""What one codec is made of, read from its TOML file."""

import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cfbench.audio import RATE
from cfbench.errors import CfbenchError, Problem

Strides = Annotated[tuple[int, ...], Field(strict=False, min_length=1)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Encoder(_Part):
    """Filters over the waveform, then blocks at the frame rate.

    Attributes:
        window: Samples that a filter spans.
        filters: How many.
        blocks: ConvNeXt blocks.
    """

    window: int = Field(default=320, ge=16)
    filters: int = Field(default=72, ge=4)
    blocks: int = Field(default=3, ge=1)


class Quantizer(_Part):
    """How a frame becomes codes.

    Attributes:
        kind: Residual vector quantisation with several codebooks (Zeghidour et al. 2021,
            arXiv 2107.03312), one codebook (van den Oord et al. 2017, arXiv 1711.00937), or finite
            scalar quantisation (Mentzer et al. 2023, arXiv 2309.15505).
        dim: Numbers of a frame that are quantised.
        codebooks: Of residual quantisation.
        size: Entries of a codebook.
        levels: Of each scalar.
        spread: Deviation of a disentangling codec's numbers before finite scalars bound them.
            Bounding bends what is spread wider: mean and deviation would tell one voice's
            distribution from another's again.
    """

    kind: Literal["residual", "single", "scalar"]
    dim: int = Field(default=16, ge=1)
    codebooks: int = Field(default=1, ge=1)
    size: int = Field(default=256, ge=2)
    levels: int = Field(default=7, ge=2)
    spread: float = Field(default=0.6, gt=0)

    @property
    def bits(self) -> float:
        """Bits of a frame."""
        import math

        if self.kind == "scalar":
            return self.dim * math.log2(self.levels)
        return self.codebooks * math.log2(self.size)


class Decoder(_Part):
    """How codes become a waveform.

    Attributes:
        kind: "transposed": transposed convolutions (as SEANet in EnCodec, arXiv 2210.13438);
            "nearest": repeated samples and convolutions (Odena et al. 2016); "stft": real and
            imaginary parts of an STFT, inverted (in the manner of Vocos, arXiv 2306.00814); "mdct":
            an MDCT, inverted (as MDCTCodec, arXiv 2411.00464).
        blocks: ConvNeXt blocks at the frame rate.
        strides: Of the upsampling steps; their product is the codec's hop.
        channels: After each upsampling step.
        window: Of the inverse STFT, in samples.
    """

    kind: Literal["transposed", "nearest", "stft", "mdct"]
    blocks: int = Field(default=3, ge=1)
    strides: Strides = (5, 4, 4)
    channels: Strides = (32, 16, 8)
    window: int = Field(default=320, ge=16)

    @property
    def domain(self) -> Literal["time", "freq"]:
        """The class that the decoder task asks for."""
        return "time" if self.kind in {"transposed", "nearest"} else "freq"


class Training(_Part):
    """How it was trained.

    Attributes:
        start: Another codec of the same geometry whose encoder and decoder are where training
            starts; empty for a random start.
        steps: Of the optimiser.
        batch: Segments a step.
        segment: Samples of a segment.
        unquantised: Steps at the beginning in which frames pass as they are.
        voices: Voices whose recordings are heard; empty for all that train.
        seed: Of everything random.
        semantic: Weight of the distillation loss.
        speaker: Weight of the losses that put the voice into the global code.
        voice_segment: Samples in which the voice is heard; 0 for as many as a segment has.
        voice_rate: How many times as fast as the rest the layers that code the voice learn.
    """

    start: str = ""
    steps: int = Field(default=4000, ge=1)
    batch: int = Field(default=6, ge=1)
    segment: int = Field(default=8000, ge=1000)
    learning_rate: float = Field(default=2e-3, gt=0)
    unquantised: int = Field(default=0, ge=0)
    voices: Annotated[tuple[str, ...], Field(strict=False)] = ()
    seed: int = 0
    semantic: float = Field(default=6.0, ge=0)
    speaker: float = Field(default=3.0, ge=0)
    voice_segment: int = Field(default=0, ge=0)
    voice_rate: float = Field(default=1.0, gt=0)

    @property
    def voice_samples(self) -> int:
        """Samples in which the voice is heard."""
        return self.voice_segment or self.segment


class CodecConfig(_Part):
    """A codec.

    Attributes:
        name: As a source in the track's protocol.
        objective: Beside reconstruction: none; semantic distillation of a teacher's features into
            the codes (SpeechTokenizer, arXiv 2308.16692); disentanglement of the voice from the
            content (in the manner of FACodec, arXiv 2403.03100, and TiCodec, arXiv 2310.00014).
        hop: Samples a frame.
        width: Channels of the blocks.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,40}$")
    title: str = ""
    objective: Literal["none", "sem", "disent"] = "none"
    hop: int = Field(default=80, ge=8)
    width: int = Field(default=64, ge=8)
    encoder: Encoder = Encoder()
    quantizer: Quantizer
    decoder: Decoder
    training: Training = Training()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        import math

        if self.decoder.domain == "time" and math.prod(self.decoder.strides) != self.hop:
            raise ValueError(f"the decoder's strides do not multiply to the hop {self.hop}")
        if len(self.decoder.strides) != len(self.decoder.channels):
            raise ValueError("the decoder needs as many channels as strides")
        if self.quantizer.kind != "residual" and self.quantizer.codebooks != 1:
            raise ValueError("only residual quantisation has several codebooks")
        return self

    @property
    def cell(self) -> tuple[str, str, str]:
        """Its classes: vq, aux, dec."""
        vq = {"residual": "mvq", "single": "svq", "scalar": "sq"}[self.quantizer.kind]
        return vq, self.objective, self.decoder.domain

    def whole_frames(self, samples: int) -> int:
        """As many samples as make whole frames, and no more than these."""
        return samples // self.hop * self.hop

    @property
    def kilobits(self) -> float:
        """kbit/s of its frames, without the global code."""
        return self.quantizer.bits * RATE / self.hop / 1000


def read_config(path: Path) -> CodecConfig:
    """Read a codec's TOML file.

    Raises:
        CfbenchError: It is not there or does not describe a codec.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise CfbenchError(f"{path}: {error.strerror}") from None
    try:
        return CodecConfig.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise CfbenchError(f"{path}: not TOML: {error}") from None
    except ValidationError as error:
        raise CfbenchError.of(
            [
                Problem(f"{path}: {'.'.join(map(str, item['loc'])) or 'codec'}: {item['msg']}")
                for item in error.errors()
            ]
        ) from None
