"""Which share of the files a process looks at; any launcher may say so."""

import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from cfbench.errors import CfbenchError

_LAUNCHERS = (
    # torchrun; srun; a Slurm array, whose first task need not be 0.
    ("RANK", "WORLD_SIZE", None),
    ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN"),
    ("SLURM_PROCID", "SLURM_NTASKS", None),
)


def parse_shard(text: str) -> tuple[int, int]:
    """Read `2/4`, the second of four shares: its index, from 0, and how many there are.

    Raises:
        CfbenchError: It is nothing of the kind.
    """
    index, slash, count = text.partition("/")
    if slash and index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count):
        return int(index) - 1, int(count)
    raise CfbenchError(f"'{text}' is no shard", "--shard 2/4 is the second of four")


@dataclass(frozen=True)
class Share:
    """The share `index` (from 0) of `count`."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str, environment: Mapping[str, str] = os.environ) -> "Share":
        """Read `2/4`, the second of four, or `env`: what torchrun or Slurm says.

        Raises:
            CfbenchError: It is nothing of the kind, or no launcher says anything.
        """
        if text == "env":
            return cls._of(environment)
        return cls(*parse_shard(text))

    @classmethod
    def _of(cls, environment: Mapping[str, str]) -> "Share":
        for index, count, first in _LAUNCHERS:
            said = [environment.get(name, "") for name in (index, count)]
            if all(word.isdecimal() for word in said):
                begin = int(environment.get(first, "0")) if first else 0
                number, of = int(said[0]) - begin, int(said[1])
                if 0 <= number < of:
                    return cls(number, of)
                raise CfbenchError(
                    f"{index} is {said[0]}, but {count} is {of}",
                    "a Slurm array counts without gaps: --array=1-16",
                )
        raise CfbenchError(
            "--shard env: no launcher says which share this is",
            "torchrun and Slurm set variables for it; else give it: --shard 2/4",
        )

    def holds(self, path: str) -> bool:
        """Whether a file is in this share: its name alone decides, so that all agree."""
        return zlib.crc32(path.encode("utf-8", "surrogateescape")) % self.count == self.index

    def __str__(self) -> str:
        return f"{self.index + 1}/{self.count}"
