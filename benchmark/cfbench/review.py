"""Verification with this installation's own protocols and the real Hub."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

from cfbench import api
from cfbench.errors import CfbenchError
from cfbench.protocol import Protocol
from cfbench.tasks import Track, find_track
from cfbench.verification import FindProtocol, Limits, Verification, verify


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
        return api.read_protocol(protocol, known)

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
