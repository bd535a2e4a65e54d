"""The README's way from nothing to a scored baseline, on a release that has the real one's form.

The archives are small and their clips are noise; names, folders, label files and commands are those
of CodecFake+.
"""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

import published

pytestmark = pytest.mark.slow

# A codec for every class of every task, and one generator more than the taxonomy's in domain.
CODECS = ("bigcodec", "DAC24", "SpeechTokenizer_hubert_avg", "sqcodec50dim9", "ticodec_1g1r",
          "vocos_encodec_6")  # fmt: skip
SPEAKERS = {"p225": 6, "p226": 3, "p227": 3}
GENERATORS = {"CLAMTTS": "MVQ None Freq", "SIMPLESPEECH1": "SQ None Time",
              "TI1G1R": "SVQ Disent Time", "USLM": "MVQ Sem Time"}  # fmt: skip


def clip(name: str, pitch: float) -> bytes:
    chance = np.random.default_rng(list(name.encode()))
    time = np.arange(16_000) / 16_000
    samples = 0.3 * np.sin(2 * np.pi * pitch * time) + 0.02 * chance.standard_normal(time.size)
    file = io.BytesIO()
    soundfile.write(file, samples, 16_000, format="WAV", subtype="PCM_16")
    return file.getvalue()


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The file that describes the release, and the folder of its files."""
    folder = tmp_path_factory.mktemp("release")
    cors, cosg, labels, others = {}, {}, [], []
    for speaker, sentences in SPEAKERS.items():
        for sentence in range(1, sentences + 1):
            utterance = f"{speaker}_{sentence:03d}"
            cors[f"CoRS/all/{utterance}.wav"] = clip(utterance, 150)
            labels.append(f"{speaker} {utterance} bonafide")
            for number, codec in enumerate(CODECS):
                name = f"{utterance}_{codec}"
                cors[f"CoRS/all/{name}.wav"] = clip(name, 300 + 200 * number)
                labels.append(f"{speaker} {name} spoof")
    for number, (generator, classes) in enumerate(GENERATORS.items()):
        for count in range(1, 5):
            name = f"{generator}_{count}"
            real = count % 2 == 0
            cosg[f"CoSG/{generator}/{name}.wav"] = clip(name, 150 if real else 400 + 200 * number)
            kind = "- - - Bonafide" if real else f"{classes} Spoof"
            others.append(f"{generator} {name} {kind}")
    there = published.files({"CoRS": cors, "CoSG": cosg}) | {
        "CoRS_labels.txt": ("\n".join(labels) + "\n").encode(),
        "CoSG_labels.txt": ("\n".join(others) + "\n").encode(),
    }
    toml = published.write_release(folder / "codecfake-plus.toml", there)
    return toml, published.write_files(folder / "files", there)


def test_download_and_run_baseline_are_all_that_it_takes(run_cli, tmp_path, release) -> None:
    toml, files = release
    place = tmp_path / "CodecFake+"
    done = run_cli("data", "download", toml, "--from", files, "--to", place)
    assert done.code == 0, done.err
    done = run_cli(
        "run-baseline", "log-mel-logistic", "--audio", place, "--protocol", place,
        "--out", tmp_path / "run", "--cpu", "--workers", "0",
    )  # fmt: skip
    assert done.code == 0, done.err
    card = json.loads((tmp_path / "run" / "scorecard.json").read_text())
    assert card["protocol"]["id"]["utterances"] == SPEAKERS["p227"] * (1 + len(CODECS))
    assert card["protocol"]["ood"]["utterances"] == 4 * len(GENERATORS)
    # Real speech has a pitch of its own here.
    bin_id = card["tasks"]["bin"]["splits"]["id"]["overall"]["metrics"]
    assert bin_id["eer"]["value"] < 0.3


def test_the_index_of_what_was_downloaded_is_complete(run_cli, tmp_path, release) -> None:
    toml, files = release
    place = tmp_path / "CodecFake+"
    run_cli("data", "download", toml, "--from", files, "--to", place)
    done = run_cli("data", "index", place, "--protocol", place, "--out", tmp_path / "m.parquet")
    assert done.code == 0, done.out + done.err
