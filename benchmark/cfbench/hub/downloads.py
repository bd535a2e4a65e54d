"""Large files of a dataset repository at one commit, in a folder, resumed at any byte.

huggingface_hub begins a download anew when the process before it has ended, and files in its Xet
store arrive in pieces that are no beginning of the file. For files of many gigabytes that is too
dear: here what has arrived is kept beside the place, and the rest is asked for by its range. The
client, its login, HF_ENDPOINT, proxies and offline mode are those of huggingface_hub.
"""

import hashlib
import queue
import re
import shlex
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from cfbench.errors import CfbenchError
from cfbench.hub.contents import Digests
from cfbench.hub.failures import (
    Asked,
    NotConnected,
    Trouble,
    about,
    endpoint,
    failures,
    trouble,
)
from cfbench.hub.patience import Wait, patiently

if TYPE_CHECKING:
    from huggingface_hub import HfFileMetadata

T = TypeVar("T")

_CHUNK = 1 << 20
_AT_ONCE = 4
"""How many files are downloaded at once: one connection alone is slow."""

_THREAD = "cfbench download"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_GIT = re.compile(r"[0-9a-f]{40}")
_OTHER = "the release is another one than cfbench knows: see whether there is a newer cfbench"


class BrokenOff(CfbenchError):
    """The Hub or the connection was in trouble; what has arrived is kept."""


@dataclass(frozen=True)
class Wanted:
    """A file to download.

    Attributes:
        path: In the repository.
        place: Where it goes.
        bytes: How many it must have; None if that is not known.
        sha256: Its digest; None if that is not known.
    """

    path: str
    place: Path
    bytes: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Fetched:
    """A file that is in its place, and is what the Hub says of it.

    Attributes:
        wanted: What was asked for.
        bytes: How many it has.
        sha256: Its digest.
        arrived: How many bytes came over the network in this call.
    """

    wanted: Wanted
    bytes: int
    sha256: str
    arrived: int


@dataclass(frozen=True)
class Listener:
    """Whom downloads tell how they get on; always called from the thread that asked for them.

    Attributes:
        advance: Called with how many more bytes there are, and how many of them were there before.
        wait: Called before a wait.
    """

    advance: Callable[[int, int], None] = lambda done, free: None
    wait: Callable[[Wait], None] = lambda wait: None


def arrived(place: Path) -> int:
    """How many bytes of a file earlier calls have left, whole or not."""
    with suppress(OSError):
        return place.stat().st_size
    return max((path.stat().st_size for path in _leftovers(place)), default=0)


def download(
    repo: str,
    revision: str,
    wanted: Sequence[Wanted],
    listener: Listener = Listener(),
    at_once: int = _AT_ONCE,
) -> Iterator[Fetched]:
    """Have files in their places, each checked against what the Hub says of it.

    A file that is in its place already is read, and stays if it is the right one.

    Args:
        repo: The dataset repository, as `owner/name`.
        revision: A commit, 40 hex digits.
        wanted: The files.
        listener: Told how it gets on.
        at_once: How many files are downloaded side by side.

    Yields:
        Each file when it is in its place.

    Raises:
        NotConnected: There is no network.
        BrokenOff: There was trouble that may pass.
        CfbenchError: There is no such file, it may not be read, or it is not the one wanted.
    """
    jobs: queue.SimpleQueue[Wanted] = queue.SimpleQueue()
    events: queue.SimpleQueue[object] = queue.SimpleQueue()
    stopped = threading.Event()
    for one in wanted:
        jobs.put(one)

    def work() -> None:
        with suppress(queue.Empty):
            while not stopped.is_set():
                job = _Download(repo, revision, jobs.get_nowait(), events.put, stopped)
                try:
                    events.put(job.run())
                except Exception as error:
                    events.put(error)

    # Not of a pool: who interrupts need not wait for the Hub. What is written is safe at any time.
    threads = [
        threading.Thread(target=work, name=_THREAD, daemon=True)
        for _ in range(min(at_once, len(wanted)))
    ]
    for thread in threads:
        thread.start()
    left = len(wanted)
    try:
        while left:
            match events.get():
                case Fetched() as said:
                    left -= 1
                    yield said
                case Wait() as said:
                    listener.wait(said)
                case (int(done), int(free)):
                    listener.advance(done, free)
                case Exception() as said:
                    raise said
    finally:
        stopped.set()
        for thread in threads:
            thread.join(5.0)


class _Stopped(Exception):
    """Another file has failed, or the user has interrupted."""


class _Download:
    """One file on its way."""

    def __init__(
        self,
        repo: str,
        revision: str,
        wanted: Wanted,
        say: Callable[[object], None],
        stopped: threading.Event,
    ) -> None:
        self.repo, self.revision, self.wanted = repo, revision, wanted
        self._say, self._stopped = say, stopped
        self._arrived = 0
        self._digest = hashlib.sha256()  # of what has arrived
        self._asked = _asked(repo, revision, wanted)

    def run(self) -> Fetched:
        told = self._patiently(self._metadata)
        size, etag = self._checked(told)
        place = self.wanted.place
        if place.is_file() and place.stat().st_size == size:
            digest = self._hash(place)
            if self._is_of_hub(place, digest.hexdigest(), etag):
                self._check_release(digest.hexdigest())
                return Fetched(self.wanted, size, digest.hexdigest(), 0)
            self._say((-size, -size))
        incoming = place.with_name(f".{place.name}.{etag[:16]}.incoming")
        for path in _leftovers(place):
            if path != incoming:
                path.unlink()  # of another revision
        if incoming.exists() and incoming.stat().st_size > size:
            incoming.unlink()
        self._digest = self._hash(incoming) if incoming.exists() else hashlib.sha256()
        while True:
            before = self._arrived
            try:
                self._patiently(lambda: self._receive(incoming, size))
                break
            except BrokenOff:
                # As long as something arrives, it gets on.
                if self._arrived == before:
                    raise
        sha256 = self._digest.hexdigest()
        if not self._is_of_hub(incoming, sha256, etag):
            incoming.unlink()
            raise BrokenOff(
                f"{self._asked.what}: what has arrived is not what the Hub has: its digest is "
                "another one",
                "it was deleted, and is downloaded from its beginning next time; where it happens "
                "again, a proxy may change what passes",
            )
        self._check_release(sha256)
        incoming.replace(place)
        return Fetched(self.wanted, size, sha256, self._arrived)

    def _patiently(self, work: Callable[[], T]) -> T:
        """As `patiently`; what may pass ends in another error than what will not."""
        met = Trouble.LASTING

        def noted() -> T:
            nonlocal met
            try:
                return work()
            except failures() as error:
                met = trouble(error)
                raise

        try:
            return patiently(self._asked, noted, told=self._say)
        except NotConnected:
            raise
        except CfbenchError as error:
            if met is Trouble.LASTING:
                raise
            raise BrokenOff.of(error.problems) from None

    def _url(self) -> str:
        from huggingface_hub import hf_hub_url

        return hf_hub_url(self.repo, self.wanted.path, repo_type="dataset", revision=self.revision)

    def _metadata(self) -> "HfFileMetadata":
        from huggingface_hub import get_hf_file_metadata

        return get_hf_file_metadata(self._url())

    def _checked(self, told: "HfFileMetadata") -> tuple[int, str]:
        """Size and digest as the Hub tells them, which must be those that are known."""
        what, wanted = self._asked.what, self.wanted
        if told.commit_hash != self.revision or not told.etag or told.size is None:
            raise CfbenchError(
                f"{what}: what answers at {endpoint()} is not the Hub, or has another commit",
                "check HF_ENDPOINT, the proxy and the firewall",
            )
        if wanted.bytes not in (None, told.size):
            raise CfbenchError(
                f"{what}: has {told.size:,} bytes, not the {wanted.bytes:,} that are known of it",
                _OTHER,
            )
        if _SHA256.fullmatch(told.etag):
            self._check_release(told.etag)
        return told.size, told.etag

    def _check_release(self, sha256: str) -> None:
        if self.wanted.sha256 not in (None, sha256):
            raise CfbenchError(
                f"{self._asked.what}: has the sha256 {sha256}, not {self.wanted.sha256} that is "
                "known of it",
                _OTHER,
            )

    def _is_of_hub(self, path: Path, sha256: str, etag: str) -> bool:
        """Whether a file is what the Hub says of it."""
        if _SHA256.fullmatch(etag):
            return sha256 == etag
        # What git keeps is small.
        return not _GIT.fullmatch(etag) or Digests.of(path).git == etag

    def _hash(self, path: Path) -> "hashlib._Hash":
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while data := file.read(_CHUNK):
                self._go_on()
                digest.update(data)
                self._say((len(data), len(data)))
        return digest

    def _go_on(self) -> None:
        if self._stopped.is_set():
            raise _Stopped

    def _receive(self, incoming: Path, size: int) -> None:
        """Ask for what is lacking, and write it as it comes."""
        from huggingface_hub import constants, get_session, hf_raise_for_status
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

        start = incoming.stat().st_size if incoming.exists() else 0
        if start == size:
            return
        headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        with get_session().stream(
            "GET",
            self._url(),
            headers=headers,
            timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT,
            follow_redirects=True,
        ) as response:
            hf_raise_for_status(response)
            if start and response.status_code != 206:
                # A proxy knows nothing of ranges: all comes again.
                self._say((-start, -start))
                self._digest = hashlib.sha256()
                incoming.unlink()
                start = 0
            elif start and not _begins_at(response.headers.get("Content-Range", ""), start, size):
                raise ConnectionError("another range than was asked for")
            with incoming.open("ab", buffering=0) as file:
                # As it comes: a portion that is not full yet would be lost with the connection.
                for data in response.iter_bytes():
                    self._go_on()
                    if start + len(data) > size:
                        raise ConnectionError("more than the file has")
                    left = memoryview(data)
                    while left:
                        left = left[file.write(left) :]
                    self._digest.update(data)
                    start += len(data)
                    self._arrived += len(data)
                    self._say((len(data), 0))
        if start < size:
            raise ConnectionError("less than the file has")


def _begins_at(told: str, start: int, size: int) -> bool:
    return re.fullmatch(rf"bytes {start}-\d+/({size}|\*)", told.strip()) is not None


def _leftovers(place: Path) -> list[Path]:
    return sorted(place.parent.glob(f".{place.name}.*.incoming"))


def _asked(repo: str, revision: str, wanted: Wanted) -> Asked:
    by_hand = shlex.join(
        ["hf", "download", "--repo-type", "dataset", "--revision", revision, repo, wanted.path]
    )
    return about(
        repo,
        what=wanted.path,
        revision=revision,
        path=wanted.path,
        doing="the download",
        place=str(wanted.place.parent),
        by_hand=by_hand,
        elsewhere="where the files are on a disk already, --from names their folder",
    )
