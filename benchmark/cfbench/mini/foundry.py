"""Trains all codecs of the track, side by side, each from its own settings."""

import csv
import io
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, as_completed, wait
from pathlib import Path

from cfbench import content
from cfbench.codecs import CodecConfig, load_codec, read_config, save_codec
from cfbench.codecs.language import save_code_model, train_code_model
from cfbench.codecs.material import read_material
from cfbench.codecs.training import train, write_curve
from cfbench.errors import CfbenchError, did_you_mean

STARTS = "starts"
"""The folder, beside the codecs, of the settings of what training starts from; the weights of these
are not shipped."""


def forge(
    corpus: Path,
    settings: Path,
    work: Path,
    only: Sequence[str] = (),
    workers: int | None = None,
    done: Callable[[str, int], None] = lambda name, left: None,
) -> list[Path]:
    """Train every codec that has no weights yet.

    A codec that is half trained when the call is interrupted starts again; those that are done
    stay. Which codecs train at the same time changes none of them.

    Args:
        corpus: What `cfbench mini speech` and `cfbench mini teach` made.
        settings: Folder of NAME.toml, and of starts/NAME.toml.
        work: Where the weights and learning curves go, as NAME.toml, .safetensors and .jsonl.
        only: Names of codecs; all where none is given. What they start from is trained too.
        workers: How many train at the same time, on a core each; as many as there are cores.
        done: Is told the name of each codec that is trained and how many are left.

    Returns:
        The weights' files.

    Raises:
        CfbenchError: Settings or corpus are missing or wrong.
    """
    configs = {config.name: config for config in _all_settings(settings)}
    wanted = _with_starts(configs, only or list(configs))
    work.mkdir(parents=True, exist_ok=True)
    missing = [name for name in wanted if not (work / f"{name}.safetensors").is_file()]
    # Torch's threads do not outlive a fork.
    context = multiprocessing.get_context("spawn")
    running: dict[Future[None], str] = {}
    with ProcessPoolExecutor(workers or os.cpu_count(), mp_context=context) as pool:
        waiting = list(missing)
        while waiting or running:
            for name in [n for n in waiting if _ready(configs[n], work)]:
                waiting.remove(name)
                running[pool.submit(_train_one, configs[name], corpus, work)] = name
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                name = running.pop(future)
                future.result()
                done(name, len(waiting) + len(running))
    return [work / f"{name}.safetensors" for name in wanted]


def forge_generators(
    corpus: Path,
    work: Path,
    workers: int | None = None,
    done: Callable[[str, int], None] = lambda name, left: None,
) -> list[Path]:
    """Train the models of codes of `tasks/mini/generators.csv` that have no weights yet.

    Args:
        corpus: As `forge`.
        work: Folder of the codecs' weights; the models' go there too, as NAME.safetensors.
        workers: As `forge`.
        done: As `forge`.

    Returns:
        The weights' files.
    """
    rows = list(csv.DictReader(io.StringIO(content.text("tasks/mini/generators.csv"))))
    missing = [row for row in rows if not (work / f"{row['name']}.safetensors").is_file()]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers or os.cpu_count(), mp_context=context) as pool:
        running = {
            pool.submit(
                _train_generator, row["name"], row["codec"], int(row["steps"]), int(row["seed"]),
                corpus, work,
            ): row["name"]
            for row in missing
        }  # fmt: skip
        for left, future in zip(
            range(len(running) - 1, -1, -1), as_completed(running), strict=True
        ):
            future.result()
            done(running[future], left)
    return [work / f"{row['name']}.safetensors" for row in rows]


def _train_generator(
    name: str, codec: str, steps: int, seed: int, corpus: Path, work: Path
) -> None:
    import torch

    torch.set_num_threads(1)
    curve = work / f"{name}.jsonl"
    curve.unlink(missing_ok=True)
    write = write_curve(curve)
    known = load_codec(work / f"{codec}.toml")
    model = train_code_model(
        known,
        read_material(corpus, teacher=False),
        steps,
        seed,
        lambda step, loss: write(step, {"nats": loss}),
    )
    save_code_model(model, work / f"{name}.safetensors")


def _all_settings(folder: Path) -> Iterator[CodecConfig]:
    paths = sorted(folder.glob("*.toml")) + sorted((folder / STARTS).glob("*.toml"))
    if not paths:
        raise CfbenchError(f"{folder}: no codec's settings (NAME.toml) are there")
    for path in paths:
        config = read_config(path)
        if config.name != path.stem:
            raise CfbenchError(f"{path}: calls the codec {config.name}; name and file must agree")
        yield config


def _with_starts(configs: dict[str, CodecConfig], names: Sequence[str]) -> list[str]:
    """The names and what they start from, starts first."""
    chosen: list[str] = []
    for name in names:
        chain = [name]
        while chain[-1] in configs and (start := configs[chain[-1]].training.start):
            if start in chain:
                raise CfbenchError(f"{name}: starts, in the end, from itself ({start})")
            chain.append(start)
        if chain[-1] not in configs:
            hint = did_you_mean(chain[-1], list(configs))
            raise CfbenchError(f"no codec is called '{chain[-1]}'{hint}")
        chosen += [one for one in reversed(chain) if one not in chosen]
    return chosen


def _ready(config: CodecConfig, work: Path) -> bool:
    start = config.training.start
    return not start or (work / f"{start}.safetensors").is_file()


def _train_one(config: CodecConfig, corpus: Path, work: Path) -> None:
    import tomli_w
    import torch

    torch.set_num_threads(1)
    start = config.training.start
    material = read_material(corpus, teacher=config.objective != "none")
    curve = work / f"{config.name}.jsonl"
    curve.unlink(missing_ok=True)
    codec = train(
        config,
        material,
        load_codec(work / f"{start}.toml") if start else None,
        write_curve(curve),
    )
    text = tomli_w.dumps(config.model_dump(mode="json", exclude_defaults=True))
    (work / f"{config.name}.toml").write_text(text, encoding="utf-8")
    save_codec(codec, work / f"{config.name}.safetensors")
