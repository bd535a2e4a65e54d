"""Verification with this installation's own protocols and the real Hub."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

from cfbench import api
from cfbench.errors import CfbenchError
from cfbench.protocol import Protocol
from cfbench.tasks import Track, find_track
from cfbench.verification import Fetch, FindProtocol, Limits, Verification, verify


class NotHere(CfbenchError):
    """This machine lacks what verifying takes, which is no fault of the submission."""


def own_protocols(track: str | None = None, protocol: Path | None = None) -> FindProtocol:
    """What `verify` finds protocols with.

    Args:
        track: The name of a track or the path of a track file, where only that one is known.
        protocol: Its lists; None for the shipped ones or those that CFBENCH_PROTOCOLS names.
    """

    @cache
    def find(name: str) -> Protocol:
        known: Track = find_track(track if track is not None else _a_name(name))
        if known.name != name:
            raise CfbenchError(
                f"the submission is of {name}, but {known.name} is asked for",
                "leave out --track, or give the right one",
            )
        try:
            return api.read_protocol(protocol, known)
        except CfbenchError as error:
            raise NotHere.of(error.problems) from None

    return find


def _a_name(name: str) -> str:
    # What a submission names is no path: a track file of its own would be a protocol of its own.
    if name.endswith(".toml"):
        raise CfbenchError(
            f"'{name}' is no name of a track", "a submission names its track, never a file"
        )
    return name


def fetch(address: str, folder: Path, limit: int) -> Path:
    """Download predictions from a pinned address; see `cfbench.hub.pinned`."""
    from cfbench.hub.pinned import fetch_pinned, parse_pinned

    return fetch_pinned(parse_pinned(address), folder, limit)


def verifier(
    track: str | None = None, protocol: Path | None = None, limits: Limits | None = None
) -> Callable[[Path], Verification]:
    """A function that verifies the entry in a folder; arguments as for `own_protocols`."""
    find = own_protocols(track, protocol)

    def check(entry: Path) -> Verification:
        return verify(entry, find, fetch, limits)

    return check


def attempt(
    entry: Path, find_protocol: FindProtocol, fetch: Fetch = fetch, limits: Limits | None = None
) -> tuple[Verification, str]:
    """Verify an entry, and tell want of means from what is wrong with it.

    Args:
        entry: Its folder.
        find_protocol: One of `own_protocols`.
        fetch: Fetches predictions that are elsewhere.
        limits: What the submission may take.

    Returns:
        What was found, and why it could not be scored here and now: no protocol, no network, a Hub
        in trouble.
        The latter is empty where it was scored, or is not what it says.
    """
    from cfbench.hub.failures import InTrouble, NotConnected

    lacking = [""]

    def find(name: str) -> Protocol:
        try:
            return find_protocol(name)
        except NotHere as error:
            lacking[0] = error.problems[0].message
            raise

    def fetched(address: str, folder: Path, limit: int) -> Path:
        try:
            return fetch(address, folder, limit)
        except (NotConnected, InTrouble) as error:
            lacking[0] = error.problems[0].message
            raise

    found = verify(entry, find, fetched, limits)
    return found, lacking[0]


def board_verifier(
    track: str | None = None, protocol: Path | None = None
) -> Callable[[Path], Verification]:
    """As `verifier`, for leaderboards: raises where this machine lacks what verifying takes.

    What could not be verified for that counts as claimed, and is not called false.
    """
    find = own_protocols(track, protocol)

    def check(entry: Path) -> Verification:
        found, why = attempt(entry, find)
        if why:
            raise NotHere(why)
        return found

    return check
