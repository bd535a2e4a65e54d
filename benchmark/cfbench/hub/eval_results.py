"""The results that the page of a model shows: `.eval_results/NAME.yaml` in its repository."""

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cfbench.errors import CfbenchError, clip
from cfbench.hub.failures import Asked, explained
from cfbench.hub.repos import Published, publish

if TYPE_CHECKING:
    from huggingface_hub import EvalResultEntry


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
) -> Published:
    """Write results into a model repository, in place of those of the same name.

    Args:
        model_repo: `owner/name`.
        entries: As for `eval_results_yaml`.
        pull_request: Offer them, as anybody may, rather than commit them.
        name: What the file is called, without its ending.

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
    )
