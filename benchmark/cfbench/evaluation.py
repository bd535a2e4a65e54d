"""How well a model in training answers the development set."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from numpy.typing import NDArray
from torch import Tensor

from cfbench.clips import Batch, Clips, load
from cfbench.errors import CfbenchError, Problem
from cfbench.metrics.confusion import confusion_matrix, macro_f1
from cfbench.models.wav2vec2_aasist import Wav2Vec2Aasist
from cfbench.tasks import load_tasks


def evaluate(
    model: Wav2Vec2Aasist,
    clips: Clips,
    labels: Mapping[str, NDArray[np.int64]],
    accelerator: Accelerator,
    batch_size: int,
    workers: int,
    advance: Callable[[int], None],
) -> dict[str, float]:
    """Loss and macro-F1 over all clips, whichever process computed them.

    Args:
        model: Is left in evaluation mode.
        clips: The development set.
        labels: By task, (clips,).
        accelerator: Knows the processes that share the work.
        batch_size: Clips a batch.
        workers: Processes that decode.
        advance: Called with the number of clips done.

    Returns:
        "dev_loss", that of training without dropout, and "dev_macro_f1", the mean over the tasks.

    Raises:
        CfbenchError: A clip cannot be decoded.
    """
    device, processes = accelerator.device, accelerator.num_processes
    batches = [
        list(range(start, min(start + batch_size, len(clips))))
        for start in range(0, len(clips), batch_size)
    ]
    answers: list[tuple[list[int], dict[str, Tensor]]] = []
    model.train(False)
    mine = batches[accelerator.process_index :: processes]
    for batch in load(clips, mine, workers, device.type == "cuda"):
        refuse_failed(batch)
        with torch.inference_mode(), accelerator.autocast():
            logits: Any = model(batch.waveforms.to(device)).logits
        answers.append(
            (batch.rows.tolist(), {task: value.float().cpu() for task, value in logits.items()})
        )
        advance(min(len(answers) * processes * batch_size, len(clips)))
    if processes > 1:
        answers = gather_object(answers)
    order = torch.tensor([row for rows, _ in answers for row in rows]).argsort()
    whole = {
        task_id: torch.cat([said[task_id] for _, said in answers])[order] for task_id in labels
    }
    with torch.inference_mode():
        loss, _ = model.loss(
            {task_id: value.to(device) for task_id, value in whole.items()},
            {task_id: torch.from_numpy(value).to(device) for task_id, value in labels.items()},
        )
    return {"dev_loss": float(loss), "dev_macro_f1": _mean_macro_f1(whole, labels)}


def refuse_failed(batch: Batch) -> None:
    """Stop at clips that could not be decoded: training leaves none out.

    Raises:
        CfbenchError: There are some.
    """
    if batch.failed:
        goes_on = "then run again: training goes on from its last checkpoint"
        raise CfbenchError.of(
            [Problem(said.message, f"{said.hint}; {goes_on}") for said in batch.failed.values()]
        )


def _mean_macro_f1(logits: Mapping[str, Tensor], labels: Mapping[str, NDArray[np.int64]]) -> float:
    values = []
    for task_id, truth in labels.items():
        classes = len(load_tasks()[task_id].classes)
        answers = logits[task_id].argmax(dim=1).numpy()
        values.append(
            float(macro_f1(confusion_matrix(truth, answers, classes, classes).astype(np.float64)))
        )
    return float(np.mean(values))
