"""Which utterances a model is trained on, and in which order.

Every random choice follows from a seed, and from names that do not depend on the order of rows, on
the process or on the machine, so that a training run can be repeated by others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cfbench.codes import dense_codes, dense_codes_of_runs
from cfbench.errors import CfbenchError, did_you_mean, name_some, plural
from cfbench.protocol import COLUMNS
from cfbench.tasks import TRACING_IDS, load_tasks

Ints = NDArray[np.integer]

BALANCES = (*TRACING_IDS, "all", "none", "as-listed")
"""What the spoofed half of a training set can be balanced by."""

_DRAW, _ORDER = 0, 1


@dataclass(frozen=True, eq=False)
class Draw:
    """A training subset.

    Attributes:
        frame: Rows of the pool, sorted by utt_id.
        notes: What a reader should know: what the pool lacks, which balance could not be had.
    """

    frame: pl.DataFrame
    notes: tuple[str, ...] = ()


def draw(pool: pl.DataFrame, balance: str, seed: int, round: int = 0) -> Draw:  # noqa: A002
    """Draw all bona fide utterances, and one spoofed version of each source utterance.

    Each source utterance (`group`) is dealt one class of the balanced task, so that all classes
    come up equally often (to within one); within the class each of its codecs (`source`) is
    equally likely. That is how the authors' training lists are distributed; where the pool is one
    of them, the draw is the list. Source utterances that do not have every class are dealt theirs
    first, each the least used of those it has; the others then level the classes.

    "all" levels the cells (vq, aux, dec) that occur, not the classes of all three tasks at once:
    scalar quantisation occurs only without auxiliary objective, and single-codebook VQ never with
    semantic distillation, so with a third of everything in each class SQ would be all of None,
    hence SVQ all of Disent and MVQ all of Sem, and VQ could be read off AUX.

    Args:
        pool: Rows of one split of a protocol's frame.
        balance: "vq", "aux" or "dec": the classes of that task equally often. "all": every cell
            (vq, aux, dec) that occurs equally often. "none": any spoofed version, each codec
            equally likely. "as-listed": the pool as it is.
        seed: Together with `round` it decides every choice.
        round: A run that draws anew every epoch counts them here.

    Raises:
        CfbenchError: The balance is unknown, the pool is empty or has nothing spoofed, or labels
            that the balance needs are missing.

    References:
        Chen et al., Codec-Based Deepfake Source Tracing via Neural Audio Codec Taxonomy,
        Interspeech 2025, arXiv 2505.12994 (taxonomy-balanced training).
    """
    _check_seed(seed, "seed")
    _check_seed(round, "round")
    _check_pool(pool, balance)
    if not pool["utt_id"].is_sorted():
        pool = pool.sort("utt_id")
    if balance == "as-listed":
        return Draw(pool)
    is_spoofed = (pool["bin"] == "spoof").to_numpy()
    groups, names = dense_codes_of_runs(pool["group"])
    rows = np.flatnonzero(is_spoofed)
    spoofed = pool.filter(is_spoofed)
    classes, labels = _classes(spoofed, balance)
    random = np.random.Generator(_stream(seed, _DRAW, round))

    options = _Options.of(groups[rows], classes, dense_codes(spoofed["source"])[0], len(labels))
    has = np.zeros((len(names), len(labels)), dtype=bool)
    has.flat[options.hands] = True
    dealt = _deal(has, random)
    chosen = rows[options.choose(np.flatnonzero(dealt >= 0), dealt, len(labels), random)]

    taken = ~is_spoofed
    taken[chosen] = True
    bonafide = np.bincount(groups[~is_spoofed], minlength=len(names))
    notes = _group_notes(bonafide, dealt >= 0, names)
    return Draw(pool.filter(taken), (*notes, *_balance_notes(has, dealt, labels, balance)))


def epoch_order(count: int, batch: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order of one epoch, in full batches; what does not fill one is left out.

    Args:
        count: How many utterances there are.
        batch: How many make a batch.
        seed: Together with `epoch` it decides the order.
        epoch: Each has an order of its own.

    Returns:
        (steps, batch), each of the numbers 0 .. count - 1 at most once; steps = count // batch.

    Raises:
        CfbenchError: There are not enough utterances for one batch.

    >>> epoch_order(5, 2, seed=0, epoch=0)
    array([[4, 1],
           [3, 2]])
    """
    _check_seed(seed, "seed")
    _check_seed(epoch, "epoch")
    if batch < 1:
        raise CfbenchError(f"the batch size is {batch}", "give a whole number from 1 on")
    if count < batch:
        raise CfbenchError(
            f"{plural(count, 'utterance')} cannot fill a batch of {batch:,}",
            "only full batches are trained on: give more utterances, or a smaller batch",
        )
    steps = count // batch
    random = np.random.Generator(_stream(seed, _ORDER, epoch))
    return _shuffled(count, random)[: steps * batch].reshape(steps, batch)


def item_rng(seed: int, epoch: int, utt_id: str) -> np.random.Generator:
    """The randomness of one utterance in one epoch, whichever worker happens to load it.

    >>> bool(item_rng(1, 0, "p225_001").random() == item_rng(1, 0, "p225_001").random())
    True
    """
    _check_seed(seed, "seed")
    _check_seed(epoch, "epoch")
    hashed = blake2b(f"{seed} {epoch} {utt_id}".encode(), digest_size=32).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(hashed, "little")))


@dataclass(frozen=True)
class _Options:
    """The spoofed rows, ordered by hand, then by codec; a hand is one class of one group.

    Attributes:
        order: (rows,), the rows in that order.
        starts: (options + 1,), where each option, one codec of a hand, begins in `order`.
        hands: (hands,), group * number of classes + class; ascending.
        firsts: (hands + 1,), the first option of each hand.
    """

    order: Ints
    starts: Ints
    hands: Ints
    firsts: Ints

    @classmethod
    def of(cls, groups: Ints, classes: Ints, sources: Ints, n_classes: int) -> "_Options":
        hand = groups.astype(np.int64) * n_classes + classes
        option = hand * (int(sources.max()) + 1) + sources
        order = np.argsort(option, kind="stable")
        starts = _run_starts(option[order])
        hand_of_option = hand[order][starts[:-1]]
        firsts = _run_starts(hand_of_option)
        return cls(order, starts, hand_of_option[firsts[:-1]], firsts)

    def choose(
        self, groups: Ints, dealt: Ints, n_classes: int, random: np.random.Generator
    ) -> Ints:
        """One row of the dealt class of each of `groups`: any codec, then any of its rows."""
        hand = np.searchsorted(self.hands, groups * n_classes + dealt[groups])
        option = _one_of(self.firsts, hand, random)
        return self.order[_one_of(self.starts, option, random)]


def _run_starts(values: Ints) -> Ints:
    """Where each run of equal values begins, and the end of the last."""
    changes = np.flatnonzero(values[1:] != values[:-1]) + 1
    return np.concatenate([[0], changes, [values.size]])


def _one_of(starts: Ints, runs: Ints, random: np.random.Generator) -> Ints:
    """One position of each of the runs, each equally likely."""
    sizes = starts[runs + 1] - starts[runs]
    return starts[runs] + (random.random(runs.size) * sizes).astype(np.int64)


def _deal(has: NDArray[np.bool_], random: np.random.Generator) -> Ints:
    """Deal each group a class that it has, all classes as equally often as can be.

    Args:
        has: (groups, classes), the classes that each group has.
        random: Shuffles groups and breaks ties.

    Returns:
        (groups,), the class of each; -1 where it has none.
    """
    n_groups, n_classes = has.shape
    choice = has.sum(axis=1)
    dealt = np.where(choice == 1, has.argmax(axis=1), -1)
    counts = np.bincount(dealt[choice == 1], minlength=n_classes)
    order = _shuffled(n_groups, random)
    # The fewer classes a group has, the less it can make up for others.
    some = order[(choice[order] > 1) & (choice[order] < n_classes)]
    some = some[np.argsort(choice[some], kind="stable")]
    for group, ties in zip(some, random.random((some.size, n_classes)), strict=True):
        dealt[group] = np.argmin(np.where(has[group], counts + ties, np.inf))
        counts[dealt[group]] += 1
    every = order[(choice[order] == n_classes) & (dealt[order] < 0)]
    quotas = _level(counts, every.size, random)
    dealt[every] = np.repeat(np.arange(n_classes), quotas)
    return dealt


def _level(counts: Ints, more: int, random: np.random.Generator) -> Ints:
    """How many of `more` each class gets, so that the least used ones rise to one level."""
    filled = np.cumsum(np.sort(counts))
    level = int(((more + filled) // np.arange(1, counts.size + 1)).min())
    quotas = np.maximum(level - counts, 0)
    lowest = np.flatnonzero(counts <= level)
    quotas[lowest[_shuffled(lowest.size, random)[: more - quotas.sum()]]] += 1
    return quotas


def _stream(seed: int, *key: int) -> np.random.PCG64:
    return np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key))


def _shuffled(count: int, random: np.random.Generator) -> NDArray[np.int64]:
    # numpy may change how it permutes and draws integers between versions (NEP 19); plain uniform
    # numbers are the output of the bit generator, which it never changes.
    return np.argsort(random.random(count), kind="stable")


def _classes(spoofed: pl.DataFrame, balance: str) -> tuple[Ints, list[str]]:
    """What is balanced: a number for each spoofed row, and the names of the numbers that occur."""
    if balance == "none":
        return np.zeros(spoofed.height, dtype=np.int64), ["spoof"]
    codes = np.zeros(spoofed.height, dtype=np.int64)
    names = [""]
    for task_id in _balanced_tasks(balance):
        known = load_tasks()[task_id].class_names
        # The pool may be anybody's frame: numbers follow the task, not the column's type.
        numbers = spoofed[task_id].cast(pl.Enum(known)).to_physical().to_numpy()
        codes = codes * len(known) + numbers
        names = [f"{name}/{word}".lstrip("/") for name in names for word in known]
    occurring, codes = np.unique(codes, return_inverse=True)
    return codes, [names[code] for code in occurring]


def _balanced_tasks(balance: str) -> Sequence[str]:
    return TRACING_IDS if balance == "all" else [t for t in TRACING_IDS if t == balance]


def _check_seed(number: int, name: str) -> None:
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        raise CfbenchError(f"{name} is {number!r}", "give a whole number from 0 on")


def _check_pool(pool: pl.DataFrame, balance: str) -> None:
    if balance not in BALANCES:
        raise CfbenchError(
            f"unknown balance '{balance}'{did_you_mean(balance, BALANCES)}",
            f"a training set is balanced by one of {', '.join(BALANCES)}",
        )
    absent = [name for name in COLUMNS if name not in pool.columns]
    if absent:
        raise CfbenchError(
            f"the pool lacks {plural(len(absent), 'column')}: {', '.join(absent)}",
            "a pool is rows of a protocol's frame: read_protocol(...).split('train')",
        )
    if not pool.height:
        raise CfbenchError(
            "the pool has no utterances",
            "give the rows of a split that has some: cfbench protocol show counts them",
        )
    splits = pool["split"].unique().sort().to_list()
    if len(splits) > 1:
        raise CfbenchError(
            f"the pool mixes the splits {', '.join(map(str, splits))}",
            "a model is trained on one split: read_protocol(...).split('train')",
        )
    if balance == "as-listed":
        return
    is_spoofed = pool["bin"] == "spoof"
    for task_id in ("bin", *_balanced_tasks(balance)):
        needed = pool if task_id == "bin" else pool.filter(is_spoofed)
        _check_labels(needed, task_id, balance)
    if not is_spoofed.any():
        raise CfbenchError(
            "the pool has no spoofed utterances, so there is nothing to draw",
            "give a list that holds them too, or balance 'as-listed'",
        )


def _check_labels(rows: pl.DataFrame, task_id: str, balance: str) -> None:
    unlabelled = rows.filter(pl.col(task_id).is_null())
    if not unlabelled.height:
        return
    who = "every utterance of the pool lacks"
    if unlabelled.height < rows.height:
        named = name_some(unlabelled["utt_id"].head(5).to_list(), unlabelled.height)
        who = f"{unlabelled.height:,} of {plural(rows.height, 'utterance')} lack: {named}"
    able = ["as-listed"]
    if task_id != "bin":
        able = [*(t for t in TRACING_IDS if not rows[t].null_count()), "none", *able]
    raise CfbenchError(
        f"balance '{balance}' needs labels of {task_id}, which {who}",
        f"as it is, the pool can be balanced by {', '.join(able)}",
    )


def _group_notes(bonafide: Ints, has_spoofed: NDArray[np.bool_], names: Sequence[str]) -> list[str]:
    """Notes on groups that are not one bona fide utterance and its spoofed versions."""
    kinds = (
        (
            (bonafide > 0) & ~has_spoofed,
            "source utterance has|source utterances have",
            "no spoofed version and only bona fide speech in the draw",
        ),
        (
            (bonafide == 0) & has_spoofed,
            "source utterance has|source utterances have",
            "no bona fide clip and only a spoofed one in the draw",
        ),
        (
            (bonafide > 1) & has_spoofed,
            "group has|groups have",
            "several bona fide clips and one spoofed one in the draw",
        ),
    )
    notes = []
    for which, who, what in kinds:
        found = np.flatnonzero(which)
        if found.size:
            named = name_some([names[group] for group in found[:5]], found.size)
            notes.append(f"{plural(found.size, who)} {what}: {named}")
    return notes


def _balance_notes(
    has: NDArray[np.bool_], dealt: Ints, labels: Sequence[str], balance: str
) -> list[str]:
    notes = []
    for task_id in _balanced_tasks(balance) if balance != "all" else ():
        absent = [name for name in load_tasks()[task_id].class_names[1:] if name not in labels]
        if absent:
            notes.append(
                f"the pool has nothing of {plural(len(absent), 'class|classes')} "
                f"{', '.join(absent)} of {task_id}"
            )
    drawn = dealt >= 0
    counts = np.bincount(dealt[drawn], minlength=len(labels))
    if counts.max() - counts.min() > 1:
        told = ", ".join(f"{name} {count:,}" for name, count in zip(labels, counts, strict=True))
        lacking = int((drawn & ~has.all(axis=1)).sum())
        notes.append(
            f"the draw is not balanced by {balance} ({told}): {lacking:,} of "
            f"{plural(int(drawn.sum()), 'source utterance')} "
            f"{'does' if lacking == 1 else 'do'} not have every class"
        )
    return notes
