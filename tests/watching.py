"""How much memory a process takes, with those that it has started."""

import threading

import psutil


class Watch:
    """Looks at a process and its children twenty times a second while the context is open.

    Attributes:
        most: Bytes at once, at most.
        at_once: How many uploads were scored at once, at most: each has a process of its own.
    """

    def __init__(self, pid: int | None = None) -> None:
        self.most, self.at_once = 0, 0
        self._pid = pid
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def follow(self, pid: int) -> None:
        """Look at this process from now on."""
        self._pid = pid

    def _run(self) -> None:
        while not self._done.wait(0.05):
            if self._pid is None:
                continue
            try:
                found = psutil.Process(self._pid)
                processes = [found, *found.children(recursive=True)]
            except psutil.Error:
                continue  # it has ended
            total, workers = 0, 0
            for process in processes:
                try:
                    total += process.memory_info().rss
                    workers += "spawn_main" in " ".join(process.cmdline())
                except psutil.Error:
                    continue
            self.most, self.at_once = max(self.most, total), max(self.at_once, workers)
