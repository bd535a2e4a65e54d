"""Making a leaderboard on the Hub: the dataset repository of its entries, and its Space."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cfbench.errors import CfbenchError, clip
from cfbench.files import write_bytes
from cfbench.hub.eval_results import BENCHMARK
from cfbench.hub.failures import NotConnected, about
from cfbench.hub.repos import Created, create_results_repo
from cfbench.model_results import task_ids
from cfbench.publishing import at
from cfbench.space.deploy import Deployed, deploy, space_files
from cfbench.space.settings import Settings, make_settings
from cfbench.tasks import Track, find_track

_CARD = """\
---
pretty_name: {quoted}
viewer: false
tags:
- leaderboard
- audio
- anti-spoofing
- deepfake-detection
- source-tracing
- neural-audio-codec
---

# {title}

Entries of a leaderboard of cfbench: how well systems tell which kind of neural codec made a fake,
and whether it is one. Track: `{track}`, version {version}.
{space}
- `{folder}<name>/` is an entry: the description of a system, its scorecard, and its predictions or
  the address of a commit that has them.
- `{folder}<name>/versions/` is what it was before it was changed.
- `{folder}verified/` is what its keepers found when they scored the predictions again.
- `eval.yaml` names the tasks that results in `.eval_results/` of model repositories can be of.

## Submitting

```
cfbench score predictions.csv --track {track} --json scorecard.json
cfbench submit scorecard.json --predictions predictions.csv --system "My system"
cfbench push submissions/my-system --to {repo}
```

The last command opens a pull request. Whoever keeps this leaderboard scores the predictions again
(`cfbench leaderboard review {repo}`), and merges what holds.

## Rules

- A pull request adds one entry, or the next version of one, and changes nothing else.
- An entry belongs to the account that pushed it; nobody else changes it.
- Every utterance of the scored splits is answered, once; those whose labels are held back too.
- The description says what the system was trained on.
- Only numbers that follow from the predictions are accepted.
- A system's name can be told from the names of others.
"""

_ENTRIES = """\
# Entries

A folder an entry; `cfbench push` offers one as a pull request. `verified/` holds the keepers'
receipts.
"""


@dataclass(frozen=True)
class Founded:
    """What became of a leaderboard.

    Attributes:
        files: Of the dataset repository, by path.
        created: The dataset repository; None where nothing was sent.
        space: The Space; None where none was asked for.
        why: Why nothing was sent; empty where it was.
    """

    files: Mapping[str, bytes]
    created: Created | None
    space: Deployed | None
    why: str = ""


def repository_files(
    repo: str, track: Track, settings: Settings, space: str | None
) -> dict[str, bytes]:
    """The files of a leaderboard's dataset repository.

    Args:
        repo: `owner/name`.
        track: What is ranked.
        settings: Title, and the folder of the entries.
        space: The Space that shows it, `owner/name`.
    """
    title = " ".join(settings.title.split())
    folder = f"{settings.under}/" if settings.under else ""
    shown = (
        f"Shown, and scored on, in the Space [{space}](https://huggingface.co/spaces/{space}).\n"
    )
    card = _CARD.format(
        quoted=_quoted(title),
        title=_plain(title),
        track=track.name,
        version=track.version,
        space=shown if space else "",
        folder=folder,
        repo=repo,
    )
    tasks = "".join(f"- id: {name}\n" for name in task_ids(track))
    about_it = (
        f"{track.title}: tracing codec-based fakes to their codec's taxonomy (macro-F1), and "
        "detecting them (1 - EER)."
    )
    benchmark = (
        f"name: {_quoted(title)}\ndescription: {_quoted(about_it)}\n"
        f"evaluation_framework: cfbench\ntasks:\n{tasks}"
    )
    texts = {"README.md": card, BENCHMARK: benchmark}
    if folder:
        texts[at(settings.under, "README.md")] = _ENTRIES
    return {path: text.encode() for path, text in texts.items()}


def found(
    repo: str,
    *,
    space: str | None = None,
    track: str,
    title: str | None = None,
    private: bool = False,
    package: str | None = None,
    out: Path | None = None,
    dry_run: bool = False,
) -> Founded:
    """Make a leaderboard on the Hub, or complete one; what is there already stays.

    Args:
        repo: The dataset repository of the entries, `owner/name`.
        space: The Space that shows it, `owner/name`; None for none.
        track: What is ranked.
        title: Of its pages.
        private: Whether only its owner may see repository and Space; of no effect on one that is
            there.
        package: As for `cfbench.space.deploy.space_files`.
        out: Write the files into this folder too: `dataset/` and `space/`.
        dry_run: Send nothing.

    Raises:
        CfbenchError: It cannot be made. Without a network or a login that is no error: it is said.
    """
    about(repo)
    given = {"results": repo, "track": track} | ({"title": title} if title else {})
    settings = make_settings(given, "the options")
    known = find_track(track)
    if track.endswith(".toml"):
        raise CfbenchError(
            f"{clip(track)}: a track file of this machine",
            "a leaderboard that others submit to is of a track that ships with cfbench",
        )
    files = repository_files(repo, known, settings, space)
    if space is not None:
        # What a Space lacks is said before anything is made.
        about(space, "space"), space_files(settings, package)
    if out is not None:
        for path, content in files.items():
            place = out / "dataset" / path
            place.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(place, content)
    created, why = None, "a dry run" if dry_run else ""
    if not dry_run:
        try:
            created = create_results_repo(repo, files, private)
        except NotConnected as error:
            why = error.problems[0].message
    deployed = None
    if space is not None:
        deployed = deploy(
            space,
            settings,
            out=None if out is None else out / "space",
            dry_run=bool(why),
            private=private,
            package=package,
        )
        why = why or deployed.why
    return Founded(files, created, deployed, why)


def _quoted(text: str) -> str:
    """Text as a YAML string; JSON's strings are such."""
    return json.dumps(text, ensure_ascii=False)


def _plain(text: str) -> str:
    return "".join(f"\\{char}" if char in "\\`*_{}[]()<>#+-!|" else char for char in text)
