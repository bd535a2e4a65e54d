"""The floors of docs/architecture.md: who may import whom."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "benchmark"
DOCUMENT = ROOT / "docs" / "architecture.md"

HEAVY = {
    "torch", "transformers", "accelerate", "sklearn", "threadpoolctl", "pandas", "scipy",
    "matplotlib", "datasets", "gradio",
}  # fmt: skip
# The rooms that the extra `baseline` is for, and what they may import.
BASELINE_ROOMS = (
    "models", "clips", "processes", "predictor", "inference", "untrained", "pretraining",
    "training", "evaluation", "checkpoints", "curves", "codecs", "mini/foundry", "mini/making",
    "mini/probes", "mini/teachers",
)  # fmt: skip
BASELINE_HEAVY = {"torch", "transformers", "accelerate", "sklearn", "threadpoolctl"}
# What other extras are for.
OTHER_HEAVY = {
    "cfbench.codec_tracing.codec_tracing": {"datasets"},
    "cfbench.dataset": {"datasets"},
    "cfbench.mini.figures": {"matplotlib"},
    "cfbench.report.figures": {"matplotlib"},
    "cfbench.space.app": {"gradio"},
    "cfbench.space.forms": {"gradio"},
    "cfbench.space.theme": {"gradio"},
}
MODULES = {
    ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((SOURCE / "cfbench").rglob("*.py"))
}


@cache
def floors() -> dict[str, int]:
    """Each module's floor, as the table in the document has it."""
    found: dict[str, int] = {}
    for floor, cell in re.findall(r"^\| (\d) \| ([^|]+) \|", DOCUMENT.read_text(), re.MULTILINE):
        for name in re.findall(r"`([\w./*]+)`", cell):
            module = "cfbench." + name.replace("/", ".")
            members = [module]
            if module.endswith(".*"):
                package = module.removesuffix(".*")
                members = [m for m in MODULES if m == package or m.startswith(package + ".")]
            for member in members:
                assert member in MODULES, f"{DOCUMENT.name} has {name}, the code has not"
                assert member not in found, f"{DOCUMENT.name} has {name} twice"
                found[member] = int(floor)
    return found


def imports(module: str) -> Iterator[tuple[str, str]]:
    """What a module imports, anywhere in it: (module, name or "")."""
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            yield from ((node.module or "", alias.name) for alias in node.names)


def own_imports(module: str) -> set[str]:
    """The modules of cfbench that a module imports."""
    found = set()
    for name, part in imports(module):
        if name.partition(".")[0] == "cfbench":
            found.add(f"{name}.{part}" if f"{name}.{part}" in MODULES else name)
    return found


def test_every_module_has_a_floor() -> None:
    # The package itself holds the version, and finds its public names when they are asked for.
    assert set(floors()) == set(MODULES) - {"cfbench"}


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"cfbench"}))
def test_no_module_imports_a_higher_floor(module: str) -> None:
    above = {
        name for name in own_imports(module) - {"cfbench"} if floors()[name] > floors()[module]
    }
    assert not above


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"cfbench"}))
def test_only_the_top_floor_uses_the_public_names(module: str) -> None:
    if floors()[module] == max(floors().values()) or "cfbench" not in own_imports(module):
        return
    used = {part for name, part in imports(module) if name == "cfbench"} - {""}
    used |= {
        node.attr
        for node in ast.walk(ast.parse(MODULES[module].read_text()))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "cfbench"
    }
    assert {name for name in used if f"cfbench.{name}" not in MODULES} <= {"__version__"}


def test_there_are_no_circles() -> None:
    graph = {module: own_imports(module) - {"cfbench", module} for module in MODULES}
    del graph["cfbench"]
    while graph:
        free = {module for module, needed in graph.items() if not needed & set(graph)}
        assert free, f"these import each other in a circle: {sorted(graph)}"
        graph = {module: needed for module, needed in graph.items() if module not in free}


def test_only_the_command_line_imports_the_command_line() -> None:
    command_line = {m for m in MODULES if f"{m}.".startswith("cfbench.cli.")}
    users = {m for m in MODULES if own_imports(m) & command_line}
    assert users <= command_line | {"cfbench.__main__"}


def is_baseline_room(module: str) -> bool:
    _, room, *rest = module.split(".")
    return room in BASELINE_ROOMS or "/".join((room, *rest)) in BASELINE_ROOMS


def stands_on(module: str) -> set[str]:
    """A module, and all that it imports directly or indirectly."""
    found: set[str] = set()
    todo = {module}
    while todo:
        found |= todo
        todo = set().union(*(own_imports(name) for name in todo)) - found - {"cfbench"}
    return found


@pytest.mark.parametrize("module", sorted(MODULES))
def test_only_one_room_knows_the_hubs_client(module: str) -> None:
    if module.startswith("cfbench.hub") or module == "cfbench.models.wav2vec2_aasist":
        return
    assert "huggingface_hub" not in {name.partition(".")[0] for name, _ in imports(module)}


def test_scoring_does_not_enter_the_baseline_rooms() -> None:
    assert not {m for m in stands_on("cfbench.api") if is_baseline_room(m)}


@pytest.mark.parametrize("module", sorted(MODULES))
def test_nothing_heavy_is_imported(module: str) -> None:
    allowed = BASELINE_HEAVY if module != "cfbench" and is_baseline_room(module) else set()
    allowed = allowed | OTHER_HEAVY.get(module, set())
    assert not {name.partition(".")[0] for name, _ in imports(module)} & HEAVY - allowed


def test_the_baseline_rooms_are_those_of_the_document() -> None:
    told = re.search(r"^- Only (.+) import torch", DOCUMENT.read_text(), re.MULTILINE)
    assert told
    assert {name.removesuffix("/*") for name in re.findall(r"`([^`]+)`", told[1])} == set(
        BASELINE_ROOMS
    )


@pytest.mark.parametrize(
    "module", [m for m in MODULES if m.startswith("cfbench.metrics")] + ["cfbench.intervals"]
)
def test_metrics_are_functions_of_arrays(module: str) -> None:
    outside = {
        name
        for name, _ in imports(module)
        if not name.startswith("cfbench.metrics")
        and name.partition(".")[0] != "numpy"
        and name.partition(".")[0] not in sys.stdlib_module_names
    }
    assert not outside


def test_scoring_has_no_files_network_or_clock() -> None:
    outside = {"pathlib", "tempfile", "shutil", "socket", "urllib", "http", "time", "datetime"}
    # A scorecard can be read from its file; computing one touches none.
    rooms = [m for m in stands_on("cfbench.scoring") if floors()[m] in (3, 4)]
    rooms.remove("cfbench.scorecard")
    assert {"cfbench.scoring", "cfbench.tallies", "cfbench.metrics.confusion"} <= set(rooms)
    for module in rooms:
        assert not {name.partition(".")[0] for name, _ in imports(module)} & outside, module
        assert "cfbench.files" not in own_imports(module)


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import cfbench", {*HEAVY, "polars", "numpy", "pydantic", "typer"}),
        (
            "import cfbench.__main__ as m\ntry: m.main(['--help'])\nexcept SystemExit: pass",
            {*HEAVY, "polars"},
        ),
        ("import cfbench; cfbench.score", HEAVY),
    ],
    ids=["import", "help", "score"],
)
def test_what_is_loaded(code: str, absent: set[str]) -> None:
    script = f"{code}\nimport sys; print('loaded:', *sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    loaded = set(done.stderr.partition("loaded:")[2].split())
    assert loaded
    assert not loaded & absent
