"""State_dicts that others have saved, as models: read safely, and fitted name by name.

Nothing in a file is executed: only tensors and plain data are unpickled.
"""

import argparse
import pickle
import re
import warnings
import zipfile
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from cfbench.errors import CfbenchError, Problem, plural

Model = TypeVar("Model", bound=nn.Module)


def read_file(path: str | Path) -> Mapping[str, Any]:
    """What a file of `torch.save` holds.

    Raises:
        CfbenchError: There is no such file, it is damaged, or it holds anything but tensors and
            plain data.
    """
    path = Path(path)
    if not path.is_file():
        raise CfbenchError(f"{path}: no such file", "give a checkpoint (.pth, .pt)")
    try:
        damaged = _damaged_part(path)
        content = {} if damaged else _load(path)
    except PermissionError as error:
        raise CfbenchError(f"{path}: cannot be read: {error.strerror}") from None
    except Exception as error:  # a broken pickle can raise anything
        raise _refusal(path, error) from None
    if damaged:
        raise CfbenchError(
            f"{path}: damaged: its part {damaged} has not the checksum of when it was saved",
            "copy or download it again",
        )
    if not isinstance(content, Mapping):
        raise CfbenchError(f"{path}: holds a {type(content).__name__}", "give a state_dict")
    return content


def tensors_of(content: Mapping[str, Any], where: str) -> dict[str, Tensor]:
    """The tensors of a state_dict by name, or of the one that a checkpoint has under `model`.

    Args:
        content: Of the file.
        where: The file, for messages.

    Raises:
        CfbenchError: There are none.
    """
    inner = content.get("model")
    named = inner if isinstance(inner, Mapping) else content
    state = {
        key: value
        for key, value in named.items()
        if isinstance(key, str) and isinstance(value, Tensor)
    }
    if not state:
        raise CfbenchError(f"{where}: holds no tensors", "give a state_dict")
    # Saved from DataParallel every key starts so.
    if all(key.startswith("module.") for key in state):
        state = {key.removeprefix("module."): value for key, value in state.items()}
    return state


def has(state: Iterable[str], prefix: str) -> bool:
    """Whether the name of any tensor starts so."""
    return any(key.startswith(prefix) for key in state)


def translated(name: str, words: Mapping[str, str]) -> tuple[str, str]:
    """The word for the beginning of a name, and the rest of the name; the first that fits counts.

    >>> translated("norm.weight", {"norm.": "bn."})
    ('bn.', 'weight')
    """
    for ours, theirs in words.items():
        if name.startswith(ours):
            return theirs, name.removeprefix(ours)
    return "", name


def empty(make: Callable[[], Model], where: str) -> Model:
    """A model on torch's meta device: with names and shapes, and without memory.

    Raises:
        CfbenchError: What `make` makes it of is no model's.
    """
    try:
        with torch.device("meta"):
            return make()
    except Exception as error:  # torch and transformers check sizes and settings in many ways
        reason = (str(error).strip().splitlines() or [""])[0]
        raise CfbenchError(
            f"{where}: its sizes and settings make no model: {type(error).__name__}: {reason}"
        ) from None


def fill(
    model: nn.Module,
    state: Mapping[str, Tensor],
    theirs: Mapping[str, str],
    where: str,
    discarded: Collection[str] = (),
) -> None:
    """Give a model copies of a checkpoint's tensors, in the types of its own.

    Args:
        model: On torch's meta device.
        state: The checkpoint's tensors, by its names.
        theirs: The checkpoint's name of each of the model's tensors.
        where: The file, for messages.
        discarded: Names of tensors that the checkpoint has too, and the model has no use for.

    Raises:
        CfbenchError: Tensors are missing, unknown or of another shape; names all of them.
    """
    own = model.state_dict()
    wanted = {*theirs.values(), *discarded}
    missing, unknown = sorted(wanted - set(state)), sorted(set(state) - wanted)
    unlike = [
        f"{key} {tuple(state[key].shape)}, wanted {tuple(own[name].shape)}"
        for name, key in theirs.items()
        if key in state and state[key].shape != own[name].shape
    ]
    problems = []
    if missing:
        said = f"{where}: {plural(len(missing), 'key')} missing: {', '.join(missing)}"
        problems.append(Problem(said))
    if unknown:
        said = f"{where}: {plural(len(unknown), 'key')} unknown: {', '.join(unknown)}"
        problems.append(Problem(said))
    # The model's sizes are read from the tensors: where some are missing, shapes may not be right.
    if unlike and not missing:
        said = f"{where}: {plural(len(unlike), 'tensor')} of another shape: {'; '.join(unlike)}"
        problems.append(Problem(said))
    if problems:
        raise CfbenchError.of(problems)
    copies = {
        name: torch.empty(own[name].shape, dtype=own[name].dtype).copy_(state[key])
        for name, key in theirs.items()
    }
    model.load_state_dict(copies, strict=False, assign=True)


def _load(path: Path) -> Any:
    # Older fairseq checkpoints keep their settings in a namespace, which is plain data too.
    with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))


def _damaged_part(path: Path) -> str | None:
    """What of an archive was changed after it was saved; torch itself does not look."""
    if not _is_zip(path):
        return None
    with zipfile.ZipFile(path) as archive:
        return archive.testzip()


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def _refusal(path: Path, error: Exception) -> CfbenchError:
    # torch's own message advises to execute what is in the file.
    asked = re.search(r"GLOBAL ([\w.]+)", str(error))
    if isinstance(error, pickle.UnpicklingError) and asked:
        return CfbenchError(
            f"{path}: holds more than tensors and plain data: it asks for {asked[1]}",
            "cfbench does not execute what is in a file; save its state_dict with torch.save in "
            "the environment that made it",
        )
    size = path.stat().st_size
    return CfbenchError(
        f"{path}: not a checkpoint of torch, or cut short ({plural(size, 'byte')})",
        "compare its size and digest with where it came from",
    )
