"""Processes that make clips side by side; what they are told and answer is in `resynthesis`."""

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from typing import IO, Any

from cfbench.environment import same_kernels
from cfbench.errors import CfbenchError


class Team:
    """Processes that make clips, each fed by a thread; see `resynthesis.serve`."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.jobs: Iterator[Mapping[str, Any]] = iter(())
        self.handing_out = threading.Lock()
        self.answers: queue.SimpleQueue[Mapping[str, Any]] = queue.SimpleQueue()

    def work(
        self,
        jobs: Iterator[Mapping[str, Any]],
        clips: int,
        done: Callable[[Mapping[str, Any]], None],
    ) -> None:
        """Have all jobs done, and report each answer from this thread.

        Args:
            jobs: Taken one by one as processes get free, from other threads.
            clips: How many there are in all of them.
            done: Told each answer.

        Raises:
            CfbenchError: A clip could not be made, a process has ended, or a job cannot be had.
        """
        self.jobs = jobs
        with ExitStack() as leaving:
            for _ in range(self.size):
                self._start(leaving)
            for _ in range(clips):
                answer = self.answers.get()
                if "error" in answer:
                    raise answer["error"]
                if "problem" in answer:
                    raise CfbenchError(answer["problem"], answer.get("hint", ""))
                done(answer)

    def _start(self, leaving: ExitStack) -> None:
        # A pipe that nobody empties would stop the process.
        errors = leaving.enter_context(
            tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        )
        process = leaving.enter_context(
            subprocess.Popen(  # noqa: S603 - this very Python
                [sys.executable, "-c", _SERVE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                encoding="utf-8",
                env=_surroundings(),
            )
        )
        feed = threading.Thread(target=self._feed, args=(process, errors), daemon=True)
        feed.start()
        # Last in, first out: it is ended, its thread comes to an end, and then the pipes are shut.
        leaving.callback(feed.join)
        leaving.callback(process.kill)

    def _feed(self, process: "subprocess.Popen[str]", errors: IO[str]) -> None:
        assert process.stdin is not None  # noqa: S101 - both were asked for
        assert process.stdout is not None  # noqa: S101
        while True:
            try:
                with self.handing_out:
                    job = next(self.jobs, None)
            except BaseException as error:  # whatever it is, `work` waits for an answer
                self.answers.put({"error": error})
                return
            if job is None:
                return
            try:
                process.stdin.write(json.dumps(job) + "\n")
                process.stdin.flush()
                for _ in job["clips"]:
                    self.answers.put(json.loads(process.stdout.readline()))
            except (OSError, ValueError):
                break  # it has ended, and its line with it
        process.wait()
        with suppress(OSError):
            process.stdin.close()  # what was not taken off is lost, and closing says so once
        errors.seek(0)
        last = [line.strip() for line in errors if line.strip()][-1:]
        self.answers.put(
            {
                "problem": f"a process that makes clips ended with {process.returncode}"
                + (f": {last[0]}" if last else ""),
                "hint": "run again: what is done is kept; with --workers 1 it needs less memory",
            }
        )


_SERVE = "from cfbench.mini.resynthesis import serve; serve()"


def _surroundings() -> dict[str, str]:
    """What this process can import, one thread, and kernels that make the same clips anywhere."""
    path = os.pathsep.join(place for place in sys.path if place)
    calm = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
    return {**os.environ, **calm, **same_kernels(), "PYTHONPATH": path}
