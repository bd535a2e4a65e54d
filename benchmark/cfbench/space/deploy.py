"""The files of a Space that runs the app, and sending them."""

import importlib.metadata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

import cfbench
from cfbench.errors import CfbenchError
from cfbench.files import write_bytes
from cfbench.space.settings import FILE, Settings

_APP = '''\
"""The leaderboard's app."""

import os
from pathlib import Path

from cfbench.space.app import serve
from cfbench.space.settings import read_settings

# Uploads are scored in processes of their own, which import this file again.
if __name__ == "__main__":
    port = int(os.environ.get("GRADIO_SERVER_PORT", "7860"))
    serve(read_settings(Path(__file__).parent / "space.toml"), host="0.0.0.0", port=port)
'''

_READ_ME = """\
---
title: {title}
emoji: 🔎
colorFrom: blue
colorTo: gray
sdk: gradio
sdk_version: {version}
app_file: app.py
pinned: false
hf_oauth: true
tags:
- leaderboard
---

# {heading}

Shows the entries of the dataset repository [{results}](https://huggingface.co/datasets/{results}),
scores predictions, and sends them there as pull requests. It is made of cfbench:
`cfbench leaderboard deploy` writes these files.
"""


@dataclass(frozen=True)
class Deployed:
    """What became of a Space.

    Attributes:
        files: Its files, by path.
        address: Its page; empty where it was not sent.
        folder: Where the files were written; None where they were not.
        why: Why it was not sent; empty where it was.
    """

    files: dict[str, bytes]
    address: str = ""
    folder: Path | None = None
    why: str = ""


def space_files(settings: Settings, package: str | None = None) -> dict[str, bytes]:
    """The files of a Space.

    Args:
        settings: What its host has decided; `results` is a repository.
        package: What pip installs, with the extra `space`: a git address or an address of a wheel;
            None for the version that runs here.

    Raises:
        CfbenchError: The settings are of this machine only.
    """
    if settings.results is None:
        raise CfbenchError(
            "a Space reads its entries from a dataset repository", "--results OWNER/REPO"
        )
    own = settings.track.endswith(".toml")
    if own and (settings.private is None or {"/", "\\"} & set(settings.track)):
        raise CfbenchError(
            f"the track {settings.track} is a file of this machine",
            "put it with its tables into the private repository, and name it there: "
            "--private OWNER/REPO --track track.toml",
        )
    local = [key for key in ("protocol", "hidden") if getattr(settings, key) is not None]
    if local:
        raise CfbenchError(
            f"{' and '.join(local)}: of this machine only",
            "put lists into protocol/ and labels into hidden/ of the private repository",
        )
    requirement = (
        f"cfbench[space] @ {package}" if package else f"cfbench[space]=={cfbench.__version__}"
    )
    read_me = _READ_ME.format(
        title=_quoted(settings.title),
        heading=_plain(settings.title),
        version=_gradio(),
        results=settings.results,
    )
    texts = {
        "README.md": read_me,
        "app.py": _APP,
        "requirements.txt": f"{requirement}\n",
        FILE: settings_toml(settings),
    }
    return {path: text.encode() for path, text in texts.items()}


def settings_toml(settings: Settings) -> str:
    """The text of `space.toml`: what is not as it would be anyway, and all limits."""
    given: dict[str, Any] = settings.model_dump(
        mode="json", exclude={"board", "login", "state", "limits"}, exclude_none=True
    )
    if settings.reveal is not None:
        given["reveal"] = settings.reveal
    data = {**given, "limits": settings.limits.model_dump()}
    return tomli_w.dumps(data)


def deploy(
    space: str,
    settings: Settings,
    *,
    out: Path | None = None,
    dry_run: bool = False,
    private: bool = False,
    package: str | None = None,
) -> Deployed:
    """Make a Space, or bring its files up to date.

    Args:
        space: `owner/name`.
        settings: What its host has decided.
        out: Write the files into this folder too.
        dry_run: Send nothing.
        private: Whether only its owner may see it; of no effect on one that is there.
        package: As for `space_files`.

    Raises:
        CfbenchError: It cannot be made. Without a network or a login that is no error: what was to
            be sent is said, and written to `out`.
    """
    files = space_files(settings, package)
    if out is not None:
        for path, content in files.items():
            out.mkdir(parents=True, exist_ok=True)
            write_bytes(out / path, content)
    if dry_run:
        return Deployed(files, "", out, "a dry run")
    from cfbench.hub.failures import NotConnected
    from cfbench.hub.repos import create_space

    try:
        created = create_space(space, files, private=private)
    except NotConnected as error:
        return Deployed(files, "", out, str(error.problems[0].message))
    return Deployed(files, created.url, out)


def _gradio() -> str:
    try:
        return importlib.metadata.version("gradio")
    except importlib.metadata.PackageNotFoundError:
        raise CfbenchError(
            "a Space names the version of gradio, which is not installed",
            "pip install 'cfbench[space]'",
        ) from None


def _quoted(text: str) -> str:
    """Text as a YAML string; JSON's strings are such."""
    import json

    return json.dumps(text, ensure_ascii=False)


def _plain(text: str) -> str:
    return "".join(f"\\{char}" if char in "\\`*_{}[]()<>#+-!|" else char for char in text)
