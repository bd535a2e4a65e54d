"""What is measured of each codec of the track, and the card that says it."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cfbench import files
from cfbench.audio import RATE
from cfbench.codecs import Codec, load_codec
from cfbench.errors import CfbenchError
from cfbench.mini import measures, probes
from cfbench.mini.levels import as_samples
from cfbench.mini.making import UNSHIPPED
from cfbench.mini.teachers import FRAME, Recogniser, SpeakerEncoder, character_error, word_error

Samples = NDArray[np.float32]

ENGLISH = "ast-en"
"""The voice whose speech the recogniser knows the language of. Codecs trained on other sentences of
hers."""
_CONTEXT = 4  # frames of 20 ms on either side that the linear probe of the teacher hears


@dataclass(frozen=True)
class Measures:
    """What is measured of a codec.

    Attributes:
        name: Of the codec.
        kilobits: A second, without the code of the whole clip.
        parameters: Numbers that are stored.
        kilobytes: Of the weights' file.
        codebook_use: Share of the codebooks' entries, or of the scalars' levels, that the test
            voices use; the mean over codebooks.
        perplexity: Of the codes, likewise.
        mel_distance: Of test voices, dB; `measures.mel_distance`.
        si_sdr: Of test voices, dB.
        word_error: Edits a word between what the recogniser hears in original and decoded English.
        character_error: The same for characters.
        speaker_similarity: Cosine of voice embeddings of original and decoded, test voices.
        teacher_r2: Of a linear prediction of the teacher's components from the codes.
        coarse_teacher_r2: The same from the first codebook alone.
        speaker_in_content: How often a linear probe names one of the training voices' speakers from
            mean and deviation of the quantised content.
        speaker_in_voice: The same from the code of the whole clip; only of disentangling codecs.
        real_time: Seconds of speech a second of one core.
    """

    name: str
    kilobits: float
    parameters: int
    kilobytes: float
    codebook_use: float
    perplexity: float
    mel_distance: float
    si_sdr: float
    word_error: float
    character_error: float
    speaker_similarity: float
    teacher_r2: float
    coarse_teacher_r2: float
    speaker_in_content: float
    speaker_in_voice: float | None
    real_time: float


class Judges:
    """The clips on which codecs are measured, and what is known of the originals.

    Args:
        corpus: Folder of clips.parquet and teachers.npz.

    Raises:
        CfbenchError: One is missing, or a judge is not installed.
    """

    def __init__(self, corpus: Path) -> None:
        path = corpus / "clips.parquet"
        if not path.is_file():
            raise CfbenchError(
                f"{path}: no such file", "make the corpus first: cfbench mini speech"
            )
        table = pl.read_parquet(path).sort("clip")
        self.test = _waves(table.filter(pl.col("part") == "test"))[::3]
        self.english = _waves(table.filter(pl.col("voice") == ENGLISH))
        known = table.filter(pl.col("part") == "train")
        self.speakers = known["speaker"].to_list()
        self.known = _waves(known)
        self.recogniser, self.encoder = Recogniser(), SpeakerEncoder()
        self.said = [self.recogniser.transcribe(wave) for wave in self.english]
        self.voices = self.encoder.embed_batch(self.test)
        with np.load(corpus / "teachers.npz") as told:
            mean, components = told["mean"], told["components"]
        # Every third clip is enough for the teacher, who is slow.
        self.taught = self.known[::3]
        self.lessons = [
            (self.recogniser.features(wave) - mean) @ components for wave in self.taught
        ]

    def measure(self, codec: Codec, kilobytes: float) -> Measures:
        """Measure a codec.

        Args:
            codec: The codec.
            kilobytes: Of its file.
        """
        began = time.process_time()
        decoded = [codec.resynthesise(wave) for wave in self.test]
        seconds = time.process_time() - began
        pairs = list(zip(self.test, decoded, strict=True))
        use, perplexity = self._codebooks(codec)
        words, characters = self._errors(codec)
        content, voice = self._speakers(codec)
        return Measures(
            name=codec.config.name,
            kilobits=round(codec.config.kilobits, 2),
            parameters=sum(value.numel() for value in codec.state_dict().values()),
            kilobytes=round(kilobytes, 1),
            codebook_use=round(use, 3),
            perplexity=round(perplexity, 1),
            mel_distance=_mean([measures.mel_distance(a, b) for a, b in pairs]),
            si_sdr=_mean([measures.si_sdr(a, b) for a, b in pairs]),
            word_error=words,
            character_error=characters,
            speaker_similarity=_mean((self.encoder.embed_batch(decoded) * self.voices).sum(axis=1)),
            teacher_r2=self._teacher(codec, coarse=False),
            coarse_teacher_r2=self._teacher(codec, coarse=True),
            speaker_in_content=content,
            speaker_in_voice=voice,
            real_time=round(sum(map(len, self.test)) / RATE / seconds, 1),
        )

    def _codebooks(self, codec: Codec) -> tuple[float, float]:
        codes = [codec.code(wave)[0].codes[0].numpy() for wave in self.test]
        together = np.concatenate(codes, axis=1)
        settings = codec.config.quantizer
        size = settings.levels if settings.kind == "scalar" else settings.size
        told = [measures.codebook_use(book, size) for book in together]
        return float(np.mean([t[0] for t in told])), float(np.mean([t[1] for t in told]))

    def _errors(self, codec: Codec) -> tuple[float, float]:
        heard = [self.recogniser.transcribe(codec.resynthesise(wave)) for wave in self.english]
        rates = []
        for count in (word_error, character_error):
            edits, of = np.sum([count(a, b) for a, b in zip(self.said, heard, strict=True)], axis=0)
            rates.append(round(float(edits / of), 3))
        return rates[0], rates[1]

    def _teacher(self, codec: Codec, coarse: bool) -> float:
        latents = []
        for wave, lesson in zip(self.taught, self.lessons, strict=True):
            frames, _ = codec.code(wave)
            values = (frames.coarse if coarse else frames.values)[0].numpy().T
            latents.append(_at_frames(values, codec.config.hop, len(lesson)))
        # Every other clip of each voice.
        return round(
            probes.teacher_probe(
                latents[::2], self.lessons[::2], latents[1::2], self.lessons[1::2], _CONTEXT
            ),
            3,
        )

    def _speakers(self, codec: Codec) -> tuple[float, float | None]:
        content, voices = [], []
        for wave in self.known:
            frames, voice = codec.code(wave)
            values = frames.values[0].numpy()
            content.append(np.concatenate([values.mean(axis=1), values.std(axis=1)]))
            if voice is not None:
                voices.append(voice[0].numpy())

        def probe(vectors: Sequence[NDArray[Any]]) -> float:
            # Every clip is asked once, by a probe that knows the others' half.
            halves = [(np.stack(vectors)[k::2], self.speakers[k::2]) for k in (0, 1)]
            told = [
                probes.speaker_probe(*known, *asked) * len(asked[1])
                for known, asked in (halves, halves[::-1])
            ]
            return round(sum(told) / len(self.speakers), 3)

        return probe(content), probe(voices) if voices else None


def measure_all(corpus: Path, codecs: Path) -> list[Measures]:
    """Measure every codec in a folder, and write measures.csv and NAME.md beside the weights.

    Raises:
        CfbenchError: The corpus, a judge or a codec is missing.
    """
    paths = [p for p in sorted(codecs.glob("*.toml")) if not p.stem.startswith(UNSHIPPED)]
    if not paths:
        raise CfbenchError(f"{codecs}: no codec", "train them first: cfbench mini codecs")
    judges = Judges(corpus)
    told = []
    for path in paths:
        codec = load_codec(path)
        size = path.with_suffix(".safetensors").stat().st_size / 1000
        told.append(judges.measure(codec, size))
        files.write_text(path.with_suffix(".md"), card(codec, told[-1]))
    table = pl.DataFrame([asdict(one) for one in told])
    files.write_atomically(codecs / "measures.csv", table.write_csv)
    return told


def card(codec: Codec, told: Measures) -> str:
    """A codec's card, in Markdown."""
    config, settings = codec.config, codec.config.quantizer
    vq, aux, dec = config.cell
    voices = ", ".join(config.training.voices) or "all 13 training voices"
    quantised = {
        "residual": f"{settings.codebooks} codebooks of {settings.size} in turn, "
        f"{settings.dim} dimensions",
        "single": f"one codebook of {settings.size}, {settings.dim} dimensions",
        "scalar": f"{settings.dim} numbers of {settings.levels} levels",
    }[settings.kind]
    rows: Mapping[str, str] = {
        "bit rate": f"{told.kilobits:g} kbit/s"
        + (" and 72 bits for the whole clip" if told.speaker_in_voice is not None else ""),
        "numbers stored": f"{told.parameters:,} in half precision, {told.kilobytes:.0f} kB",
        "codebook use": f"{told.codebook_use:.1%} of the entries, perplexity {told.perplexity:g}",
        "mel distance": f"{told.mel_distance:.2f} dB",
        "SI-SDR": f"{told.si_sdr:.1f} dB",
        "word / character error": f"{told.word_error:.1%} / {told.character_error:.1%}",
        "speaker similarity": f"{told.speaker_similarity:.3f}",
        "teacher, linear R²": f"{told.teacher_r2:.3f}; first codebook {told.coarse_teacher_r2:.3f}",
        "speaker from the content": f"{told.speaker_in_content:.1%}",
        "speaker from the clip's code": "no such code"
        if told.speaker_in_voice is None
        else f"{told.speaker_in_voice:.1%}",
        "speed, one core": f"{told.real_time:.0f} times real time",
    }
    of_clip = []
    if config.objective == "disent":
        heard = config.training.voice_samples / RATE
        of_clip = [f"- the clip's code, in training: of {heard:g} s of another recording"]
    lines = [
        f"# {config.name}",
        "",
        f"{config.title}. Taxonomy: VQ {vq}, AUX {aux}, DEC {dec}.",
        "",
        f"- frames: {RATE / config.hop:g} a second; {quantised}",
        f"- decoder: {config.decoder.kind}",
        *of_clip,
        f"- trained from `{config.training.start}` for {config.training.steps:,} steps of "
        f"{config.training.batch} half seconds on one core of a CPU, without a discriminator; "
        f"voices: {voices}",
        "",
        "| measured | |",
        "| --- | --- |",
        *(f"| {name} | {value} |" for name, value in rows.items()),
        "",
        "Distances and similarity are of 60 clips of four voices that no codec heard in training. "
        "Errors compare what Whisper tiny.en hears in 22 English clips before and after; the "
        "codecs know that voice from other sentences. The probes are linear and of training "
        "voices' sentences that no codec heard. How each is defined: `cfbench/mini/measures.py` "
        "and `probes.py`; all codecs side by side: measures.csv.",
    ]
    return "\n".join(lines) + "\n"


def _waves(table: pl.DataFrame) -> list[Samples]:
    return [as_samples(np.frombuffer(data, "<i2")) for data in table["pcm"]]


def _at_frames(values: NDArray[Any], hop: int, frames: int) -> NDArray[Any]:
    """Latents (n, d) at a hop, averaged over the recogniser's frames of 20 ms: (frames, d)."""
    centre = ((np.arange(len(values)) + 0.5) * hop) // FRAME
    place = np.minimum(centre.astype(int), frames - 1)
    sums = np.zeros((frames, values.shape[1]))
    np.add.at(sums, place, values)
    return sums / np.maximum(np.bincount(place, minlength=frames), 1)[:, None]


def _mean(values: Sequence[float] | NDArray[Any]) -> float:
    return round(float(np.mean(values)), 3)
