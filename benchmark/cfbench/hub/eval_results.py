"""The results that the page of a model shows: `.eval_results/NAME.yaml` in its repository."""

import math
import re
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cfbench.errors import CfbenchError, clip
from cfbench.hub.copies import Bounds, read_tree
from cfbench.hub.failures import Asked, explained
from cfbench.hub.patience import Told
from cfbench.hub.repos import Published, publish

if TYPE_CHECKING:
    from huggingface_hub import EvalResultEntry


BENCHMARK = "eval.yaml"
"""The file of a dataset repository that says which results are of it."""

_TASK = re.compile(r"""^[ \t]*(?:-[ \t]+)?id:[ \t]*["']?([\w.-]+)""", re.MULTILINE | re.ASCII)


class ShownResult(NamedTuple):
    """A number for a model's page: of which task, higher is better, and how it came about."""

    task_id: str
    value: float
    notes: str


class Benchmark(NamedTuple):
    """A dataset repository that results can be of: at which commit, and its tasks."""

    commit: str
    task_ids: tuple[str, ...]


def read_benchmark(dataset: str, revision: str | None = None) -> Benchmark:
    """What a dataset repository's `eval.yaml` lists.

    Its lines are looked through, and no YAML is read: others can write to the repository.

    Raises:
        NotConnected: There is no network.
        CfbenchError: There is no such repository, or it has no such file.
    """
    with tempfile.TemporaryDirectory(prefix="cfbench-") as folder:
        commit = read_tree(
            dataset, "", Path(folder), revision, Bounds(2**20), lambda path: path == BENCHMARK
        )
        try:
            text = (Path(folder) / BENCHMARK).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            raise CfbenchError(
                f"{dataset} has no {BENCHMARK}, so that no results can be of it",
                f"its keeper adds one: cfbench leaderboard init {dataset}",
            ) from None
    return Benchmark(commit, tuple(_TASK.findall(text)))


def make_entries(
    dataset: str,
    shown: Iterable[ShownResult],
    *,
    revision: str | None = None,
    date: str | None = None,
    source_url: str | None = None,
    source_name: str | None = None,
) -> list["EvalResultEntry"]:
    """Results as huggingface_hub writes them.

    Args:
        dataset: The dataset repository of the benchmark.
        shown: The numbers.
        revision: The commit of the dataset.
        date: Of the result, in ISO 8601.
        source_url: Where the result comes from.
        source_name: What that is called.
    """
    with explained(Asked("the results", "")):
        from huggingface_hub import EvalResultEntry

        return [
            EvalResultEntry(
                dataset,
                one.task_id,
                one.value,
                dataset_revision=revision,
                date=date,
                source_url=source_url,
                source_name=source_name if source_url else None,
                notes=one.notes,
            )
            for one in shown
        ]


def eval_results_yaml(entries: Sequence["EvalResultEntry"]) -> str:
    """Results as the text of the file.

    Args:
        entries: At least one result; its value is a finite number, higher is better.

    Raises:
        CfbenchError: There is none, or a value is not finite.
    """
    if not entries:
        raise CfbenchError("there are no results to write")
    for entry in entries:
        number = isinstance(entry.value, int | float) and math.isfinite(entry.value)
        if not number:
            raise CfbenchError(
                f"{clip(entry.task_id)}: {clip(str(entry.value))} is no result that can be shown",
                "leave out what is not defined",
            )
    with explained(Asked("the results", "")):
        from huggingface_hub import eval_result_entries_to_yaml
        from huggingface_hub.utils import yaml_dump  # type: ignore[attr-defined]  # not in __all__

        return str(yaml_dump(eval_result_entries_to_yaml(list(entries)), sort_keys=False))


def write_eval_results(
    model_repo: str,
    entries: Sequence["EvalResultEntry"],
    *,
    pull_request: bool,
    name: str = "cfbench",
    told: Told | None = None,
) -> Published:
    """Write results into a model repository, in place of those of the same name.

    Args:
        model_repo: `owner/name`.
        entries: As for `eval_results_yaml`.
        pull_request: Offer them, as anybody may, rather than commit them.
        name: What the file is called, without its ending.
        told: Is told of every wait.

    Raises:
        NotConnected: There is no network or no login.
        CfbenchError: They cannot be written; says why.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,63}", name):
        raise CfbenchError(f"'{clip(name)}' is no name of a file of results", "use a-z, 0-9, _, -")
    return publish(
        model_repo,
        {f".eval_results/{name}.yaml": eval_results_yaml(entries).encode()},
        message=f"Evaluation results of {name}",
        pull_request=pull_request,
        kind="model",
        told=told,
    )
