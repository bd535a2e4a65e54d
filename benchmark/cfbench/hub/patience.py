"""How often the Hub is asked again, and how long is waited before."""

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from cfbench.errors import CfbenchError
from cfbench.hub.failures import INSTALL, Asked, Trouble, explain, failures, retry_after, trouble

T = TypeVar("T")

# Of its own: what other code draws stays as it was.
_random = random.SystemRandom()


class Wait(NamedTuple):
    """A wait that is about to begin: why, and for how many seconds."""

    why: Trouble
    seconds: float


Told = Callable[[Wait], None]
"""Is told of every wait."""


@dataclass(frozen=True)
class Patience:
    """When to give up.

    Each conflict means that somebody else's commit was made. So of N that push at once each meets
    at most N - 1 conflicts, and all get through where `conflicts` allows as many.

    Attributes:
        conflicts: How often others may be faster.
        failures: How often the Hub or the connection may be in trouble.
        limits: How often the Hub may refuse for too many requests.
        first: The longest first wait, in seconds; it doubles each time.
        longest: The longest wait, in seconds.
        longest_limit: The longest wait that the Hub may ask for, in seconds.
    """

    conflicts: int = 200
    failures: int = 5
    limits: int = 5
    first: float = 0.5
    longest: float = 15.0
    longest_limit: float = 300.0


_ASKING = Patience(conflicts=3)


def patiently(
    asked: Asked,
    work: Callable[[], T],
    patience: Patience | None = None,
    told: Told | None = None,
) -> T:
    """Do some work on the Hub, again and again while what goes wrong may pass.

    Args:
        asked: What is asked, for messages.
        work: May be done again at any time: what an earlier call has done, though its answer was
            lost, it has to find.
        patience: When to give up; as a rule early where others are faster.
        told: Is told of every wait.

    Raises:
        NotConnected: There is no network, no login, or offline mode is on.
        CfbenchError: What went wrong will not pass, or did not.
    """
    patience = patience or _ASKING
    met: Counter[Trouble] = Counter()
    try:
        import huggingface_hub  # noqa: F401
    except ImportError:
        raise CfbenchError(
            f"{asked.what}: the Hub needs the package huggingface_hub", INSTALL
        ) from None
    while True:
        try:
            return work()
        except failures() as error:
            why = trouble(error)
            seconds = _wait(why, met, patience, retry_after(error))
            if seconds is None:
                raise explain(error, asked) from None
        if told is not None:
            told(Wait(why, seconds))
        time.sleep(seconds)


def _wait(
    why: Trouble, met: Counter[Trouble], patience: Patience, wished: float | None
) -> float | None:
    """How long to wait; None to give up."""
    if why is Trouble.UNREACHABLE and met[Trouble.PASSING]:
        # It was there a moment ago: a Hub that restarts closes its connections first.
        why = Trouble.PASSING
    most = {
        Trouble.CONFLICT: patience.conflicts,
        Trouble.PASSING: patience.failures,
        Trouble.LIMIT: patience.limits,
    }.get(why, 0)
    if met[why] >= most:
        return None
    met[why] += 1
    longest = min(patience.longest, patience.first * 2.0 ** min(met[why] - 1, 30))
    # Drawn from all of it, so that those who met once do not meet again.
    drawn = _random.uniform(0, longest)
    if why is Trouble.CONFLICT:
        return drawn
    if wished is not None:
        return None if wished > patience.longest_limit else wished + drawn
    return (longest + drawn) / 2
