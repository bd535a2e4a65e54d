"""Which clip of the authors' is which of the Hub's, whose clips of generators were renamed.

The authors call a clip `CLAMTTS/0_ours`, the Hub `CLAMTTS/CLAMTTS_1`. Which is which is told by
their samples where both are at hand; else by their order within one generator and label, if all
that is known agrees on one order. What cannot be told is left open, and said. Within a generator
and a label all clips have the same classes: a mistake there could swap clips, never labels.
"""

import csv
import io
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import polars as pl

from cfbench.errors import CfbenchError, Problem, name_some, plural
from cfbench.files import write_text
from cfbench.protocol import find_list
from cfbench.protocol_lists import read_list
from cfbench.tasks import Track, load_taxonomy

Order = Literal["list", "name"]
"""By what the Hub may have counted clips: the authors' list, or the clips' names."""

HEADER = ("authors", "hub", "label", "how")


class Pair(NamedTuple):
    """One clip under both names.

    Attributes:
        authors: `CLAMTTS/0_ours`.
        hub: `CLAMTTS/CLAMTTS_1`.
        label: "spoof" or "bonafide".
        how: "content", "identical" (one of several with the same samples), "rest" (the only one
            that was left), "order", or "given".
    """

    authors: str
    hub: str
    label: str
    how: str


@dataclass(frozen=True)
class ClipNames:
    """What was told.

    Attributes:
        pairs: Sorted by the authors' name.
        problems: What was left open or contradicts itself, and what would settle it.
    """

    pairs: tuple[Pair, ...]
    problems: tuple[Problem, ...]

    def towards(self, ids: pl.Series) -> pl.DataFrame:
        """The names by which clips may be called otherwise than in a list: `other`, `utt_id`."""
        authors = [pair.authors for pair in self.pairs]
        hub = [pair.hub for pair in self.pairs]
        ours = (
            pl.Series(authors).is_in(ids.implode()).sum()
            >= pl.Series(hub).is_in(ids.implode()).sum()
        )
        told = {"other": hub, "utt_id": authors} if ours else {"other": authors, "utt_id": hub}
        return pl.DataFrame(told, schema={"other": pl.String, "utt_id": pl.String})


class Lists(NamedTuple):
    """The two lists of the same clips; rows in the order of their lines."""

    authors: pl.DataFrame
    hub: pl.DataFrame
    authors_path: Path
    hub_path: Path


def find_lists(folders: Sequence[Path], track: Track) -> Lists | None:
    """The two lists of generated speech, where both lie in some folder; None where one is lacking.

    Raises:
        CfbenchError: One of them cannot be read.
    """
    for wanted in track.lists:
        found = [
            next((path for folder in folders if (path := find_list(folder, [name]))), None)
            for name in wanted.files
        ]
        there = [path for path in found if path is not None and _is_of_generators(path)]
        if len(there) == 2:
            frames = [read_list(path, track) for path in there]
            renamed = [_is_renamed(frame) for frame in frames]
            if renamed == [False, True]:
                return Lists(frames[0], frames[1], there[0], there[1])
    return None


def is_renamed(ids: pl.Series) -> float:
    """The share of ids that are called as the Hub calls clips: `CLAMTTS/CLAMTTS_1`."""
    parts = ids.str.extract_groups(r"^([^/]+)/(.+)_\d+$").struct.unnest()
    return float((parts["1"] == parts["2"]).fill_null(False).mean() or 0.0)  # type: ignore[arg-type]


def _is_renamed(frame: pl.DataFrame) -> bool:
    return is_renamed(frame["utt_id"]) > 0.5


def _is_of_generators(path: Path) -> bool:
    known = load_taxonomy().generator_by_spelling
    with path.open(encoding="utf-8", errors="replace") as file:
        words = [file.readline().split(maxsplit=1)[:1] for _ in range(2)]
    return any(word and word[0] in known for word in words)


def establish(
    authors: pl.DataFrame,
    hub: pl.DataFrame,
    contents: Mapping[str, str] | None = None,
    order: Order | None = None,
) -> ClipNames:
    """Tell which clip is which.

    Args:
        authors: The authors' list, as `protocol_lists.read_list` returns it.
        hub: The Hub's.
        contents: What stands for the samples of clips, by either name, where files are at hand.
        order: By what the Hub has counted, where somebody knows.

    Raises:
        CfbenchError: A list has a clip twice.
    """
    contents = contents or {}
    ours, theirs = _groups(authors), _groups(hub)
    problems = _strangers(ours, theirs, contents)
    pairs: list[Pair] = []
    for key in sorted({*ours, *theirs}):
        generator, label = key
        one, two = ours.get(key, []), theirs.get(key, [])
        if len(one) != len(two):
            problems.append(
                Problem(
                    f"{generator}, {label}: the authors' list has {plural(len(one), 'clip')}, the "
                    f"Hub's {len(two):,}",
                    "the lists are of different versions: use those of one",
                )
            )
            continue
        found, left_one, left_two = _by_content(one, two, label, contents)
        rest, problem = _rest(key, one, two, left_one, left_two, found, contents, order)
        pairs += found + rest
        problems += [problem] if problem else []
    return ClipNames(tuple(sorted(pairs)), tuple(problems))


_Key = tuple[str, str]


def _groups(frame: pl.DataFrame) -> dict[_Key, list[str]]:
    """The clips of each generator and label, in the order of the list."""
    twice = frame.filter(pl.col("utt_id").is_duplicated())["utt_id"].unique().sort()
    if len(twice):
        raise CfbenchError(
            f"{plural(len(twice), 'clip stands|clips stand')} in a list twice: "
            + name_some(twice.head(5).to_list(), len(twice)),
            "a clip has one row",
        )
    groups: dict[_Key, list[str]] = defaultdict(list)
    for utt_id, source, label in frame.sort("line").select("utt_id", "source", "bin").iter_rows():
        groups[source, str(label)].append(utt_id)
    return groups


def _strangers(
    ours: Mapping[_Key, Sequence[str]],
    theirs: Mapping[_Key, Sequence[str]],
    contents: Mapping[str, str],
) -> list[Problem]:
    """Clips whose samples are those of a clip with another generator or label."""
    homes: dict[str, set[_Key]] = defaultdict(set)
    for key, clips in theirs.items():
        for clip in clips:
            if clip in contents:
                homes[contents[clip]].add(key)
    astray = [
        f"{clip} is in {' and '.join(' '.join(home) for home in sorted(there))}"
        for key, clips in sorted(ours.items())
        for clip in clips
        if (there := homes.get(contents.get(clip, ""))) and key not in there
    ]
    if not astray:
        return []
    return [
        Problem(
            f"{plural(len(astray), 'clip has|clips have')} another generator or label in the Hub's "
            f"list, by their samples: {name_some(astray)}",
            "the labels of one of the lists are wrong: compare the clips by ear",
        )
    ]


def _by_content(
    one: Sequence[str], two: Sequence[str], label: str, contents: Mapping[str, str]
) -> tuple[list[Pair], list[str], list[str]]:
    by_content: tuple[dict[str, list[str]], dict[str, list[str]]] = ({}, {})
    for found, clips in zip(by_content, (one, two), strict=True):
        for clip in clips:
            if clip in contents:
                found.setdefault(contents[clip], []).append(clip)
    pairs = []
    for same, clips in by_content[0].items():
        others = by_content[1].get(same, [])
        # Of clips that are the same to the bit any may be called any; if all are there.
        if len(others) == len(clips):
            how = "content" if len(clips) == 1 else "identical"
            ordered = zip(sorted(clips, key=natural), sorted(others, key=natural), strict=True)
            pairs += [Pair(a, b, label, how) for a, b in ordered]
    done = {name for pair in pairs for name in pair[:2]}
    return pairs, [c for c in one if c not in done], [c for c in two if c not in done]


def _rest(
    key: _Key,
    one: Sequence[str],
    two: Sequence[str],
    left_one: Sequence[str],
    left_two: Sequence[str],
    found: Sequence[Pair],
    contents: Mapping[str, str],
    order: Order | None,
) -> tuple[list[Pair], Problem | None]:
    """Pair what no content has told."""
    generator, label = key
    if not left_one:
        return [], None
    heard = [[clip for clip in clips if clip in contents] for clips in (left_one, left_two)]
    if found and all(heard):
        return [], Problem(
            f"{generator}, {label}: {name_some(heard[0])} and {name_some(heard[1])} are the same "
            "clips by no samples, though others of them are",
            "one of the two copies is damaged: fetch it again",
        )
    if len(left_one) == 1:
        return [Pair(left_one[0], left_two[0], label, "rest")], None
    counted = sorted(two, key=natural)
    orders: dict[Order, dict[str, str]] = {
        "list": dict(zip(one, counted, strict=True)),
        "name": dict(zip(sorted(one, key=natural), counted, strict=True)),
    }
    told = [pair for pair in found if pair.how == "content"]
    fitting = {
        name: pairs
        for name, pairs in orders.items()
        if order in (None, name) and all(pairs[pair.authors] == pair.hub for pair in told)
    }
    picked = [{clip: pairs[clip] for clip in left_one} for pairs in fitting.values()]
    who = f"{generator}, {label}: {plural(len(left_one), 'clip')}"
    if not picked:
        said = f"by {order}" if order else "of the list and that of the names"
        return [], Problem(
            f"{who} cannot be told apart: the order {said} contradicts the samples of "
            f"{plural(len(told), 'clip')}",
            _SETTLE,
        )
    if any(pairs != picked[0] for pairs in picked[1:]):
        return [], Problem(
            f"{who} cannot be told apart: the order of the list and that of the names differ",
            f"{_SETTLE}, or --clip-order list (or name) says by which the Hub has counted",
        )
    if set(picked[0].values()) != set(left_two):
        return [], Problem(f"{who} cannot be told apart by order", _SETTLE)
    return [Pair(clip, other, label, "order") for clip, other in picked[0].items()], None


_SETTLE = "index the authors' clips (SLMdemos_16k) beside the Hub's: their samples settle it"


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """A key that sorts `CLAMTTS_2` before `CLAMTTS_10`."""
    parts = re.split(r"([0-9]+)", name)
    return tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts if part)


def write_clip_names(names: ClipNames, path: Path) -> None:
    """Write the pairs as CSV: authors, hub, label, how."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows(names.pairs)
    write_text(path, text.getvalue())


def read_clip_names(path: Path, lists: Lists | None = None) -> ClipNames:
    """Read such a file, which may have been changed by hand.

    Args:
        path: The file.
        lists: What it is held against, where they are at hand.

    Raises:
        CfbenchError: A name stands there twice, is in no list, or two names differ in generator or
            label; names the lines.
    """
    try:
        rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"))))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CfbenchError(f"{path}: cannot be read: {error}", "it is a CSV file") from None
    if not rows or tuple(rows[0]) != HEADER:
        raise CfbenchError(f"{path}: its first line is not {','.join(HEADER)}")
    homes: tuple[dict[str, _Key], ...] = ()
    if lists is not None:
        homes = tuple(
            {clip: key for key, clips in _groups(frame).items() for clip in clips}
            for frame in (lists.authors, lists.hub)
        )
    problems: list[str] = []
    seen: tuple[set[str], set[str]] = (set(), set())
    pairs = []
    for line, row in enumerate(rows[1:], start=2):
        if len(row) != len(HEADER):
            problems.append(f"line {line} has {plural(len(row), 'field')}")
            continue
        pair = Pair(*row)
        keys = []
        for name, before, home in zip(pair[:2], seen, homes or ({}, {}), strict=True):
            if name in before:
                problems.append(f"line {line} has {name} again")
            before.add(name)
            if homes and name not in home:
                problems.append(f"line {line} has {name}, which is in no list")
            keys.append(home.get(name, (name.partition("/")[0], pair.label)))
        if keys[0] != keys[1] or keys[0][1] != pair.label:
            problems.append(f"line {line} joins {' '.join(keys[0])} with {' '.join(keys[1])}")
        pairs.append(pair)
    if problems:
        raise CfbenchError(f"{path}: {name_some(problems)}", "mend it, or have it made anew")
    return ClipNames(tuple(sorted(pairs)), ())
