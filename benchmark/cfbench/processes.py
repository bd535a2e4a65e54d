"""Which process this is, of how many: whoever has launched them (accelerate, torchrun, nobody)."""

import os
from datetime import timedelta
from typing import Any

import torch
from accelerate import PartialState

from cfbench.errors import plural

PATIENCE = timedelta(days=7)
"""How long a process waits for the others: their shares of a large track take hours."""


def this_process(cpu: bool) -> PartialState:
    """Join the processes that were launched together.

    Args:
        cpu: Whether to leave a GPU alone.

    Returns:
        accelerate's state: `process_index`, `num_processes`, `device`, `wait_for_everyone`.
    """
    launched = int(os.environ.get("WORLD_SIZE", "1")) > 1
    settings: dict[str, Any] = {"timeout": PATIENCE} if launched else {}
    # Told of no CPU, accelerate looks for a GPU's way of talking, on a machine without one too.
    return PartialState(cpu=cpu or (launched and not torch.cuda.is_available()), **settings)


def leave() -> None:
    """Part from the processes that were launched together, when all is done."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def describe_device(cpu: bool) -> str:
    """Where a process will compute, in words."""
    if not cpu and torch.cuda.is_available():
        count = torch.cuda.device_count()
        return torch.cuda.get_device_name() + (f", {count} of them" if count > 1 else "")
    return f"the processor, {plural(torch.get_num_threads(), 'thread')}"


def decoding_workers(cpu: bool) -> int:
    """How many processes decode for one that computes: enough to keep a GPU fed."""
    if cpu or not torch.cuda.is_available():
        # A front end on the CPU takes as long for a clip as decoding hundreds of them.
        return 1
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    return min(16, max(1, cores // torch.cuda.device_count()))
