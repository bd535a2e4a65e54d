"""`cfbench push`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cfbench.cli import options
from cfbench.cli.console import print_note, working

if TYPE_CHECKING:
    from cfbench.hub.patience import Wait
    from cfbench.publishing import Prepared, Preview, Pushed


def push(
    submission: Annotated[
        Path, typer.Argument(help="The folder of a submission.", show_default=False)
    ],
    to: Annotated[
        str,
        typer.Option(
            help="OWNER/NAME of the leaderboard's dataset repository.", show_default=False
        ),
    ],
    under: options.Under = options.UNDER,
    pull_request: Annotated[
        bool | None,
        typer.Option(
            "--pull-request/--direct",
            help="Offer it, or commit it. Default: commit under your own name, else offer.",
            show_default=False,
        ),
    ] = None,
    eval_results: Annotated[
        str | None,
        typer.Option(
            help="Write the results into this model repository (OWNER/NAME) instead, so that "
            "its page shows them."
        ),
    ] = None,
    track: Annotated[str | None, typer.Option(help="The track, where it is a file.")] = None,
    protocol: options.Protocol = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Send nothing.")] = False,
) -> None:
    """Send a submission to a leaderboard on the Hugging Face Hub.

    It is checked and scored again first. Without a network or a login the exit code is 1: what
    would have been sent is printed, and the same command sends it later.

    Example: cfbench push submissions/my-system --to OWNER/REPO
    """
    from cfbench.hub.failures import NotConnected
    from cfbench.publishing import prepare, preview
    from cfbench.publishing import push as send
    from cfbench.review import own_protocols

    with working("verifying"):
        prepared = prepare(submission, own_protocols(track, protocol))
    _say_scored(prepared)
    if eval_results is not None:
        _push_results(prepared, eval_results, to, under, pull_request, dry_run)
        return
    why = ""
    if not dry_run:
        try:
            with working("sending"):
                done = send(prepared, to, under, pull_request=pull_request, told=say_wait)
        except NotConnected as error:
            why = error.problems[0].message
        else:
            _print_done(done, to)
            return
    _print_preview(preview(prepared, to, under, pull_request=pull_request), to)
    _not_sent(why or "a dry run", f"the entry stays in {submission}")
    raise typer.Exit(1 if why else 0)


def say_wait(wait: "Wait") -> None:
    """Say what is waited for, where that takes more than a moment."""
    if wait.seconds >= 1:
        print_note(f"{wait.why.value}; trying again in {wait.seconds:.0f} s")


def print_files(files: Mapping[str, bytes]) -> None:
    """Print the paths and sizes of what is, or would be, sent."""
    for path, content in sorted(files.items()):
        typer.echo(f"  {path}: {len(content):,} bytes")


def _say_scored(prepared: "Prepared") -> None:
    if prepared.verification is not None:
        print_note("scored again: every number is as claimed")
    else:
        print_note(f"files and digests are in order; not scored again here: {prepared.why}")


def _print_done(done: "Pushed", repo: str) -> None:
    at = f"{done.submission.slug}, version {done.submission.version}"
    if done.unchanged:
        print_note(f"{at}, is in {repo} already: nothing has changed")
    elif done.number is None:
        print_note(f"{at}, is in {repo}")
    else:
        print_note(f"{at}, is offered to {repo} as pull request {done.number}")
    for other in done.others:
        print_note(f"pull request {other.number} of yours is open for the same entry: {other.url}")
    typer.echo(done.url)


def _print_preview(shown: "Preview", repo: str) -> None:
    plan = shown.plan
    if plan.unchanged:
        typer.echo(f"nothing: {repo} has version {plan.submission.version} already")
        return
    owner = repo.partition("/")[0]
    way = {
        True: "as a pull request",
        False: "straight to the main branch",
        None: f"as a pull request (by {owner}: straight to the main branch)",
    }[shown.offers]
    typer.echo(f"dataset repository {repo}, {way}: {plan.title}")
    print_files(plan.files)
    for path in plan.delete:
        typer.echo(f"  {path}: deleted")
    if shown.why:
        print_note(
            "the repository was not read: the entry is taken as new, and its owner becomes who "
            "sends it"
        )


def _push_results(
    prepared: "Prepared",
    model: str,
    dataset: str,
    under: str,
    pull_request: bool | None,
    dry_run: bool,
) -> None:
    from cfbench.model_results import PATH, push_results

    with working("sending"):
        done = push_results(
            prepared, model, dataset, under,
            pull_request=pull_request, dry_run=dry_run, told=say_wait,
        )  # fmt: skip
    for told in done.left_out:
        print_note(f"left out, as it is not defined: {told}")
    if done.listed is False:
        print_note(f"{dataset} does not hold this very entry, so that no source is given")
    if not done.why:
        typer.echo(done.url)
        return
    typer.echo(f"model repository {model}, {PATH}: {len(done.text.encode()):,} bytes")
    typer.echo(done.text, nl=False)
    _not_sent(done.why, f"the entry stays in {prepared.folder}")
    raise typer.Exit(0 if dry_run else 1)


def _not_sent(why: str, kept: str) -> None:
    print_note(f"not sent: {why}")
    print_note(f"{kept}; the same command{' without --dry-run' * (why == 'a dry run')} sends it")
