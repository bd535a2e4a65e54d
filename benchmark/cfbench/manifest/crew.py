"""Processes that look at files side by side.

They are plain children at the two ends of a pipe, not those of `multiprocessing`: they need no
guard in a user's script, and end with this process, however it ends.
"""

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress

from cfbench.errors import CfbenchError
from cfbench.manifest.headers import Facts, read_facts

BATCH = 256
"""Files that a process is told at once."""

# Below this many files a process is not worth its start.
_WORTH_A_PROCESS = 2 * BATCH


def cores() -> int:
    """How many processes there are cores for."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def look(
    paths: Sequence[str], digests: bool, workers: int | None = None, decode: bool = False
) -> Iterator[list[Facts]]:
    """Look at files.

    Args:
        paths: The files.
        digests: Whether to read all of each.
        workers: How many processes; None for one a core.
        decode: Whether to decode each.

    Yields:
        What `read_facts` says of each file of a batch (up to `BATCH`), batches in order.

    Raises:
        CfbenchError: A process has ended.
    """
    batches = [paths[at : at + BATCH] for at in range(0, len(paths), BATCH)]
    count = min(workers or cores(), len(batches))
    if count < 2 or len(paths) < _WORTH_A_PROCESS:
        for batch in batches:
            yield [read_facts(path, digests, decode) for path in batch]
        return
    yield from _side_by_side(batches, (digests, decode), count)


def _side_by_side(
    batches: Sequence[Sequence[str]], how: tuple[bool, bool], count: int
) -> Iterator[list[Facts]]:
    jobs: queue.SimpleQueue[int] = queue.SimpleQueue()
    answers: queue.SimpleQueue[tuple[int, list[Facts] | None]] = queue.SimpleQueue()
    for number in range(len(batches)):
        jobs.put(number)
    early: dict[int, list[Facts]] = {}
    with ExitStack() as leaving:
        for _ in range(count):
            process = leaving.enter_context(
                subprocess.Popen(  # noqa: S603 - this very Python
                    [sys.executable, "-c", _SERVE],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    encoding="utf-8",
                    env=_surroundings(),
                )
            )
            feed = threading.Thread(
                target=_feed, args=(process, batches, how, jobs, answers), daemon=True
            )
            feed.start()
            # Last in, first out: it is ended, its thread comes to an end, then the pipes are shut.
            leaving.callback(feed.join)
            leaving.callback(process.kill)
        for wanted in range(len(batches)):
            while wanted not in early:
                number, facts = answers.get()
                if facts is None:
                    raise CfbenchError(
                        "a process that reads audio files has ended",
                        "run again: what is done is kept; --workers 1 does without processes",
                    )
                early[number] = facts
            yield early.pop(wanted)


def _feed(
    process: "subprocess.Popen[str]",
    batches: Sequence[Sequence[str]],
    how: tuple[bool, bool],
    jobs: "queue.SimpleQueue[int]",
    answers: "queue.SimpleQueue[tuple[int, list[Facts] | None]]",
) -> None:
    assert process.stdin is not None  # noqa: S101 - both were asked for
    assert process.stdout is not None  # noqa: S101
    while True:
        try:
            number = jobs.get_nowait()
        except queue.Empty:
            return
        try:
            process.stdin.write(json.dumps([*how, list(batches[number])]) + "\n")
            process.stdin.flush()
            said = json.loads(process.stdout.readline())
        except (OSError, ValueError):
            with suppress(OSError):
                process.stdin.close()  # what was not taken off is lost, and closing says so once
            answers.put((number, None))
            return
        answers.put((number, [Facts(*facts) for facts in said]))


_SERVE = "from cfbench.manifest.headers import serve; serve()"


def _surroundings() -> dict[str, str]:
    """The environment of such a process: what this one can import, one thread."""
    path = os.pathsep.join(place for place in sys.path if place)
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
