"""Fixtures of the whole suite."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import pytest

import samples
from cfbench.__main__ import main
from cfbench.environment import share_cores

# Before torch is loaded: on a machine whose cores are shared, waiting threads must sleep.
share_cores()

SHARED = Path(__file__).resolve().parents[2] / "shared"
# Read before the fixture below takes it away.
_PLACES = {name: os.environ.get(name) for name in ("CFBENCH_PROTOCOLS", "CFBENCH_GOLDEN")}


CLIPS = ("tests/test_demo.py", "tests/test_mini_track.py")
"""What reads the clips of the embedded track: in one process, which unpacks them once."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Where tests run in several processes, those of a file stay in one, and share its fixtures.

    Not by xdist's groups: with pytest 9.2, `--dist loadgroup` of xdist 3.8 groups nothing.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            path = nodeid.split("::", 1)[0]
            return "clips" if path in CLIPS else path

    return ByFile(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The clips' tests begin, since they take longest."""
    readers = {item.path for item in items if "mini_cache" in getattr(item, "fixturenames", ())}
    others = {path.name for path in readers if not str(path).endswith(CLIPS)}
    assert not others, f"{others} read the clips too: name them in CLIPS"
    items.sort(key=lambda item: item.path not in readers)


class Run(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def _no_protocols_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CFBENCH_PROTOCOLS", raising=False)


@pytest.fixture(scope="session")
def mini_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the embedded track's clips are unpacked, once: making them takes minutes."""
    return tmp_path_factory.mktemp("mini-cache")


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """For models too small to be shared by threads; what is compared must be computed alike."""
    import torch

    from cfbench.models.wav2vec2_aasist import quieten

    quieten()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def alone() -> Iterator[None]:
    """Nothing that accelerate keeps of other tests, and nothing is kept for them."""
    import speech

    speech.forget_processes()
    yield
    speech.forget_processes()


@pytest.fixture
def run_cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., Run]:
    """Run `cfbench ARGUMENTS...` in this process."""

    def run(*arguments: object) -> Run:
        capsys.readouterr()
        code = 0
        try:
            # What a command sets for the processes that it starts is not for those of other tests.
            with patch.dict(os.environ):
                main([str(argument) for argument in arguments])
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        return Run(code, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def protocols() -> Path:
    """The folder of the authors' real lists."""
    return _place("CFBENCH_PROTOCOLS", "protocols", "the real lists of CodecFake+")


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of golden results of the authors' own code."""
    return _place("CFBENCH_GOLDEN", "golden", "the golden results of the authors' code")


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    """A folder of the small made-up lists of `samples`."""
    return samples.write_lists(tmp_path / "lists")


def _place(variable: str, name: str, what: str) -> Path:
    given = _PLACES[variable]
    folder = Path(given) if given else SHARED / name
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there: {what} do not ship with cfbench; {variable} names it")
    return folder
