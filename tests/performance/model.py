"""Measures the reference model at its full size: XLS-R 300M, clips of 64,600 samples.

Weights are random: what is measured is time and memory, not accuracy. On the CPU: the whole model
against transformers' front end alone and against itself in int8, in one run. Where there is a GPU:
clips a second of prediction and steps a second of training, against the card's peak where
`--peak-tflops` says what that is.

    python tests/performance/model.py [--batch 8] [--rounds 3] [--threads 2]
"""

import argparse
import os
import time
from collections.abc import Callable

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import torch
from transformers import Wav2Vec2Model

from cfbench.audio import WINDOW
from cfbench.inference import compare
from cfbench.models.spectrum import features
from cfbench.models.wav2vec2_aasist import Wav2Vec2Aasist, Wav2Vec2AasistConfig
from cfbench.predictor import NeuralPredictor
from cfbench.recipes import find_recipe
from cfbench.untrained import build

GFLOP_A_CLIP = 140
"""Of one forward pass, multiplications and additions counted apart."""


def seconds(work: Callable[[], object], rounds: int) -> list[float]:
    """How long each round takes; on a GPU until it has finished."""
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - start)
    return taken


def show(name: str, taken: list[float], clips: int, against: float | None = None) -> None:
    """One row of the table."""
    middle = float(np.median(taken))
    ratio = "" if against is None else f"{against / middle:.2f}"
    low, high = clips / max(taken), clips / min(taken)
    print(f"| {name} | {clips / middle:.3g} ({low:.3g} to {high:.3g}) | {ratio} |", flush=True)


def on_cpu(batch: int, rounds: int, threads: int) -> None:
    """Prediction on a processor."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = Wav2Vec2Aasist(Wav2Vec2AasistConfig()).eval()
    plain = Wav2Vec2Model(model.config.front_end).eval()
    waves = 0.05 * torch.randn(batch, WINDOW)
    cpu = torch.device("cpu")
    whole = NeuralPredictor(model, cpu)
    int8 = NeuralPredictor(model, cpu, "int8")
    with torch.inference_mode():
        features = plain(waves).last_hidden_state

        def heads() -> None:
            spectral, temporal = model.attention(model.encoder(features))
            for branch in model.branches.values():
                branch(spectral, temporal)

        taken: dict[str, list[float]] = {"plain": [], "whole": [], "int8": [], "heads": []}
        # One after the other in each round: noise of the machine meets all of them.
        for _ in range(rounds):
            taken["plain"] += seconds(lambda: plain(waves), 1)
            taken["whole"] += seconds(lambda: whole(waves), 1)
            taken["int8"] += seconds(lambda: int8(waves), 1)
            taken["heads"] += seconds(heads, 1)
    reference = float(np.median(taken["whole"]))
    count = sum(value.numel() for value in model.parameters())
    print(f"M1, {count / 1e6:.0f} million parameters, batch {batch}, {threads} threads\n")
    print("| what | clips/s | against cfbench in fp32 |\n| --- | --- | --- |")
    show("transformers' Wav2Vec2Model alone, fused attention", taken["plain"], batch, reference)
    show("cfbench, fp32: front end, encoder, four branches", taken["whole"], batch)
    show("cfbench, int8", taken["int8"], batch, reference)
    share = float(np.median(taken["heads"])) / reference
    print(f"\nEncoder and four branches: {100 * share:.1f} % of the time.")
    largest, changed = compare(whole(waves), int8(waves))
    print(f"int8 against fp32, random weights and noise: {largest:.4f}, {100 * changed:.1f} %.\n")


def small_ones(rounds: int, threads: int) -> None:
    """The models for machines without a GPU."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    recipe = find_recipe("wav2vec2-aasist-small")
    model = build(recipe)
    count = sum(value.numel() for value in model.parameters())
    batch = recipe.training.batch_size
    waves = 0.05 * torch.randn(batch, WINDOW)
    trained = seconds(training_step(model, waves), rounds)
    predictor = NeuralPredictor(model, torch.device("cpu"))
    print(f"wav2vec2-aasist-small, {count / 1e6:.2f} million parameters, {threads} threads\n")
    print("| what | clips/s | |\n| --- | --- | --- |")
    show(f"wav2vec2-aasist-small: training, batch {batch}", trained, batch)
    show("wav2vec2-aasist-small: prediction", seconds(lambda: predictor(waves), rounds), batch)
    show("log-mel-logistic: features", seconds(lambda: features(waves.numpy()), rounds), batch)


def on_gpu(batches: tuple[int, ...], rounds: int, peak: float | None) -> None:
    """Prediction and training on a GPU."""
    device = torch.device("cuda")
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}\n")
    print("| what | clips/s | against fp32 eager |\n| --- | --- | --- |")
    torch.manual_seed(0)
    model = Wav2Vec2Aasist(Wav2Vec2AasistConfig())
    waves = 0.05 * torch.randn(64, WINDOW)
    reference = None
    for precision, compiled in (("fp32", False), ("bf16", False), ("bf16", True)):
        predictor = NeuralPredictor(model, device, precision, compiled)  # type: ignore[arg-type]
        seconds(lambda p=predictor: p(waves), 3)
        taken = seconds(lambda p=predictor: p(waves), rounds)
        name = f"prediction, batch 64, {precision}{', compiled' if compiled else ''}"
        show(name, taken, 64, reference)
        reference = reference or float(np.median(taken))
        if peak:
            reached = 64 / float(np.median(taken)) * GFLOP_A_CLIP / 1000 / peak
            print(f"| … of the card's {peak:.0f} TFLOP/s | {100 * reached:.0f} % | |")
    print("\n| training | steps/s | memory (GB) |\n| --- | --- | --- |")
    for batch in batches:
        for half in (None, torch.bfloat16):
            torch.cuda.reset_peak_memory_stats()
            step = training_step(Wav2Vec2Aasist(Wav2Vec2AasistConfig()), waves[:batch], half)
            seconds(step, 3)
            middle = float(np.median(seconds(step, rounds)))
            memory = torch.cuda.max_memory_allocated() / 1e9
            name = f"batch {batch}, {'fp32' if half is None else 'bf16'}"
            print(f"| {name} | {1 / middle:.3g} | {memory:.1f} |", flush=True)


def training_step(
    model: Wav2Vec2Aasist, waves: torch.Tensor, half: torch.dtype | None = None
) -> Callable[[], object]:
    """One step of training on a batch, on the GPU if there is one."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device).train()
    clips = waves.to(device)
    labels = {task: torch.zeros(len(clips), dtype=torch.int64) for task in model.config.tasks}
    labels = {task: value.to(device) for task, value in labels.items()}
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-6)

    def step() -> None:
        with torch.autocast(device.type, dtype=half, enabled=half is not None):
            loss = model(clips, labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def main() -> None:
    """Measure on the GPU if there is one, else on the CPU."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peak-tflops", type=float, help="of the card in bf16, for the limit")
    arguments = parser.parse_args()
    if torch.cuda.is_available():
        on_gpu((8, 64), max(arguments.rounds, 20), arguments.peak_tflops)
    else:
        on_cpu(arguments.batch, arguments.rounds, arguments.threads)
        small_ones(2 * arguments.rounds, arguments.threads)


if __name__ == "__main__":
    main()
