"""What a run ran on: versions and the machine, for its record."""

import importlib.metadata
import importlib.util
import os
import platform
from collections.abc import Mapping

import cfbench
from cfbench.errors import CfbenchError

PACKAGES = (
    "accelerate", "numpy", "polars", "safetensors", "scikit-learn", "scipy", "soundfile", "soxr",
    "torch", "transformers",
)  # fmt: skip


def describe_environment() -> Mapping[str, object]:
    """Versions of cfbench, Python and the packages that decide numbers, and the machine's kind."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "cfbench": cfbench.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "packages": versions,
    }


def is_main_process() -> bool:
    """Whether this process speaks for all that a launcher has started together."""
    return os.environ.get("WORLD_SIZE", "1") == "1" or os.environ.get("RANK", "0") == "0"


def share_cores() -> None:
    """Let threads that wait sleep, unless the user has decided otherwise; before torch is loaded.

    By default a waiting thread of OpenMP keeps its core busy. Where decoding or another program
    wants that core, each parallel loop then waits for the scheduler: on two cores with one other
    busy process training was thirty times slower.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def same_kernels() -> dict[str, str]:
    """The environment in which sums come out alike on x86 processors, but for few convolutions.

    Libraries choose their kernels by the processor, and those for wider registers add up in another
    order. All have some for AVX2, which polars asks for in any case. Each reads its variable when
    it is loaded: torch's own kernels, oneDNN's, numpy's OpenBLAS, ctranslate2.
    """
    if platform.machine() not in {"x86_64", "AMD64"}:
        return {}
    return {
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "OPENBLAS_CORETYPE": "Haswell",
        "CT2_FORCE_CPU_ISA": "AVX2",
    }


def require_baseline() -> None:
    """Make sure that what the baselines need is installed.

    Raises:
        CfbenchError: It is not.
    """
    needed = ("torch", "transformers", "accelerate", "safetensors", "soundfile", "soxr")
    missing = [name for name in (*needed, "sklearn", "scipy") if not importlib.util.find_spec(name)]
    if missing:
        raise CfbenchError(
            f"the baselines need {', '.join(missing)}, which scoring does not",
            "pip install 'cfbench[baseline]'",
        )
