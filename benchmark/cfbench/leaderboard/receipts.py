"""Receipts: what a verification found, kept beside the entries by who keeps the leaderboard.

`verified/<slug>.json` holds the verifier's own result and the digests of the files that it saw;
`verified/<slug>.npy` the replicates by which systems are compared. A receipt holds only as long as
the entry's files are those that were verified.
"""

import hashlib
import io
import re
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

import cfbench
from cfbench.errors import CfbenchError
from cfbench.files import write_bytes
from cfbench.leaderboard.results import Result, result_of
from cfbench.pairing import Key, Replicated
from cfbench.submission import DESCRIPTION, SCORECARD, VERIFIED, Submission
from cfbench.verification import Verification

_LARGEST = 64 * 2**20
_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '(<f[48])', 'fortran_order': False, "
    rb"'shape': \((\d+), (\d+)\), \} *\n",
    re.DOTALL,
)


class Receipt(BaseModel):
    """What was verified, and what was found.

    Attributes:
        slug: The entry.
        digests: SHA-256 of its files, of the predictions as "predictions", of the replicates.
        result: As the verifier scored it.
        keys: Task, split and metric of each column of the replicates.
        point: The values of these columns; null where not defined.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    schema_version: Literal["1"] = "1"
    slug: str
    cfbench_version: str
    digests: dict[str, str]
    result: Result
    keys: tuple[tuple[str, str, str], ...]
    point: tuple[float | None, ...]


def write_receipt(board: Path, verification: Verification) -> Receipt:
    """Keep what a verification found, if everything was in order.

    Args:
        board: The folder of entries.
        verification: Of one of them.

    Raises:
        CfbenchError: It did not hold, or the receipt cannot be written.
    """
    submission, scored = verification.submission, verification.scored
    if not verification.holds or submission is None or scored is None:
        raise CfbenchError.of(verification.problems)
    buffer = io.BytesIO()
    np.save(buffer, scored.replicates.samples, allow_pickle=False)
    content = buffer.getvalue()
    receipt = Receipt(
        slug=submission.slug,
        cfbench_version=cfbench.__version__,
        digests={**verification.digests, "replicates": hashlib.sha256(content).hexdigest()},
        result=result_of(scored.card),
        keys=tuple(tuple(key) for key in scored.replicates.keys),
        point=tuple(None if np.isnan(value) else float(value) for value in scored.replicates.point),
    )
    folder = board / VERIFIED
    folder.mkdir(exist_ok=True)
    write_bytes(folder / f"{submission.slug}.npy", content)
    write_bytes(folder / f"{submission.slug}.json", (receipt.model_dump_json() + "\n").encode())
    return receipt


def read_receipt(
    board: Path, submission: Submission, description: str, predictions: str | None
) -> Receipt | None:
    """The receipt of an entry, or None where there is none that holds.

    Args:
        board: The folder of entries.
        submission: The entry.
        description: The SHA-256 of its description, which gives that of its scorecard.
        predictions: The SHA-256 of the predictions in its folder; None where they are elsewhere.
    """
    try:
        content = (board / VERIFIED / f"{submission.slug}.json").read_bytes()
        receipt = Receipt.model_validate_json(content)
    except (OSError, ValidationError):
        return None
    holds = (
        receipt.slug == submission.slug
        and receipt.digests.get(DESCRIPTION) == description
        and receipt.digests.get(SCORECARD) == submission.result.scorecard
        and receipt.digests.get("predictions") == submission.predictions.sha256
        and predictions in (None, submission.predictions.sha256)
    )
    return receipt if holds else None


def read_replicates(board: Path, receipt: Receipt) -> Replicated | None:
    """The replicates that belong to a receipt, or None where they are not there or not whole."""
    path = board / VERIFIED / f"{receipt.slug}.npy"
    try:
        if path.stat().st_size > _LARGEST:
            return None
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != receipt.digests.get("replicates"):
            return None
        samples = _array(content)
    except (OSError, ValueError, EOFError):
        return None
    if samples.ndim != 2 or samples.shape[1] != len(receipt.keys):
        return None
    point = np.array([np.nan if value is None else value for value in receipt.point])
    return Replicated(tuple(Key(*key) for key in receipt.keys), point, samples)


def _array(content: bytes) -> np.ndarray:
    """The array of a file that `np.save` wrote.

    `np.load` reads the header as Python; in threads that fails now and then (CPython's gh-106905).
    """
    header = _HEADER.match(content)
    if header is None:
        return np.asarray(np.load(io.BytesIO(content), allow_pickle=False))
    values = np.frombuffer(content, header[1].decode(), offset=header.end())
    return values.reshape(int(header[2]), int(header[3]))
