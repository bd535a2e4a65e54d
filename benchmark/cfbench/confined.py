"""Work on what others have sent, in a process of its own with bounded memory and time.

A file can be small and still take gigabytes when it is read. A process that ends for want of
memory takes nothing with it but its own work.
"""

import contextlib
import multiprocessing
import os
import sys
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from cfbench.errors import CfbenchError, Problem

_T = TypeVar("_T")


def confined(
    function: Callable[..., _T], *arguments: Any, memory: int, seconds: float, what: str
) -> _T:
    """Call a function in a process of its own.

    Args:
        function: Of a module, so that the process finds it; returns what can be pickled.
        *arguments: What can be pickled.
        memory: Bytes that the process may allocate, where the system can hold it to that: on
            Linux. Elsewhere only time is bounded.
        seconds: After these it is ended.
        what: What is worked on, for messages.

    Raises:
        CfbenchError: What the function raised; or it took too much memory or time.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(
        target=_work, args=(there, function, arguments, memory, seconds), daemon=True
    )
    process.start()
    there.close()
    try:
        if not here.poll(seconds):
            raise CfbenchError(
                f"{what}: took more than {seconds:g} s and was stopped", "is the file sound?"
            )
        kind, answer = here.recv()
    except EOFError:
        kind, answer = "memory", None
    finally:
        if process.is_alive():
            process.join(0.5)
        if process.is_alive():
            process.kill()
        process.join()
        process.close()
        here.close()
    if kind == "done":
        return answer
    if kind == "problems":
        raise CfbenchError.of(answer)
    if kind == "memory":
        raise CfbenchError(
            f"{what}: reading it takes more than {memory / 2**30:.1f} GiB, or ends the reader",
            "write plain CSV or Parquet, a row an utterance",
        )
    raise RuntimeError(f"{what}: {answer}")


def _work(
    pipe: Connection,
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    memory: int,
    seconds: float,
) -> None:
    # What a library prints when it runs out of memory is no message for a user.
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    _bound(memory, seconds)
    answer: tuple[str, Any]
    try:
        answer = "done", function(*arguments)
    except CfbenchError as error:
        answer = "problems", tuple(Problem(p.message, p.hint) for p in error.problems)
    except MemoryError:
        answer = "memory", None
    except BaseException:
        answer = "failed", traceback.format_exc()
    pipe.send(answer)
    pipe.close()


def _bound(memory: int, seconds: float) -> None:
    if sys.platform != "linux":
        return
    import resource

    # Not the address space: allocators reserve far more of it than they use.
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Should the caller be gone, nobody else would end it.
    limit = int(seconds * 4) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
