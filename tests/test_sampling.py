import hashlib
import time
from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cfbench.errors import CfbenchError
from cfbench.protocol import COLUMNS, read_protocol
from cfbench.sampling import BALANCES, draw, epoch_order, item_rng
from cfbench.tasks import find_track, load_tasks, load_taxonomy

ALL_CODECS = {codec.id: codec.cell for codec in load_taxonomy().codecs}
TASKS = ("vq", "aux", "dec")
# One of each class of each task, in five cells.
FEW = {
    name: ALL_CODECS[name]
    for name in ("snac_24khz", "languagecodec", "llm_codec", "ticodec_1g1r", "spectralcodecs")
}
REAL = ("real", "real", "real")


def group_names(count):
    """Names as VCTK has them, of 400 utterances a speaker."""
    return [f"p{300 + number // 400}_{number % 400 + 1:03}" for number in range(count)]


def frame_of(rows):
    """A pool of (group, suffix, source, bin, vq, aux, dec)."""
    columns = ("group", "suffix", "source", "bin", *TASKS)
    frame = pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String()), orient="row")
    return frame.select(
        pl.concat_str("group", "suffix").alias("utt_id"),
        pl.lit("train", pl.Enum(["train", "dev"])).alias("split"),
        pl.lit(None, pl.String).alias("subset"),
        "source",
        "group",
        *(pl.col(t).cast(pl.Enum(task.class_names)) for t, task in load_tasks().items()),
        pl.col("group").str.head(4).alias("speaker"),
    ).sort("utt_id")


def full_pool(count, codecs):
    made = [("", "VCTK", "bonafide", *REAL)]
    made += [(f"_{name}", name, "spoof", *cell) for name, cell in codecs.items()]
    return frame_of([(group, *row) for group in group_names(count) for row in made])


def pool_of(versions):
    """A pool in which group number i has the codecs `versions[i]`; None has no bona fide clip."""
    rows = []
    for group, codecs in zip(group_names(len(versions)), versions, strict=True):
        rows += [(group, "", "VCTK", "bonafide", *REAL)] if None not in codecs else []
        rows += [(group, f"_{c}", c, "spoof", *ALL_CODECS[c]) for c in codecs if c]
    return frame_of(rows)


def spoofed(frame):
    return frame.filter(pl.col("bin") == "spoof")


def class_counts(frame, task_id):
    return Counter(spoofed(frame)[task_id].to_list())


def cell_counts(frame):
    return Counter(spoofed(frame).select(TASKS).iter_rows())


@pytest.mark.parametrize("task_id", TASKS)
@pytest.mark.parametrize("count", [1, 2, 7, 60, 100])
def test_classes_of_the_balanced_task_are_equally_frequent(task_id, count):
    pool = full_pool(count, ALL_CODECS)
    drawn = draw(pool, task_id, seed=3)
    there = class_counts(drawn.frame, task_id)
    counts = [there[name] for name in load_tasks()[task_id].class_names[1:]]
    assert sum(counts) == count
    assert max(counts) - min(counts) <= 1
    assert drawn.notes == ()


def test_all_levels_the_eleven_cells_and_not_the_classes():
    drawn = draw(full_pool(110, ALL_CODECS), "all", seed=5)
    assert cell_counts(drawn.frame) == dict.fromkeys(ALL_CODECS.values(), 10)
    # Six of the eleven cells are multi-codebook.
    assert class_counts(drawn.frame, "vq") == {"mvq": 60, "svq": 30, "sq": 20}
    assert drawn.notes == ()


def test_classes_of_all_tasks_at_once_would_make_vq_and_aux_one_task():
    # The premises of the argument in the docstring. With shares of a third for each class, SQ
    # fills None alone; SVQ, then without None, fills Disent; MVQ is left with Sem.
    cells = set(ALL_CODECS.values())
    assert len(cells) == 11
    assert {aux for vq, aux, _ in cells if vq == "sq"} == {"none"}
    assert {aux for vq, aux, _ in cells if vq == "svq"} == {"none", "disent"}


@pytest.mark.parametrize("balance", ["vq", "aux", "dec", "all", "none"])
def test_a_draw_holds_each_bona_fide_clip_and_one_spoofed_version_of_it(balance):
    pool = full_pool(50, FEW)
    frame = draw(pool, balance, seed=1).frame
    assert frame["utt_id"].is_sorted()
    assert frame.columns == list(COLUMNS)
    assert frame.join(pool, on=COLUMNS, how="anti", nulls_equal=True).height == 0
    bonafide = frame.filter(pl.col("bin") == "bonafide")
    assert bonafide["utt_id"].to_list() == group_names(50)
    assert sorted(spoofed(frame)["group"]) == group_names(50)


def test_none_draws_every_codec_equally_often_whatever_its_class():
    drawn = Counter()
    for number in range(40):
        drawn.update(spoofed(draw(full_pool(50, FEW), "none", number).frame)["source"])
    # Binomial, 2,000 trials of 1/5: a standard deviation of 18.
    assert set(drawn) == set(FEW)
    assert all(abs(count - 400) < 80 for count in drawn.values())


def test_codecs_of_a_class_are_equally_likely_whatever_their_cell():
    drawn = Counter()
    for number in range(50):
        frame = draw(full_pool(60, ALL_CODECS), "aux", seed=2, round=number).frame
        drawn.update(spoofed(frame).filter(pl.col("aux") == "disent")["source"])
    # Five codecs of three cells share 1,000 draws: a standard deviation of 13.
    assert len(drawn) == 5
    assert all(abs(count - 200) < 60 for count in drawn.values())


def test_versions_of_one_codec_share_its_chance():
    # Ten clips of one codec and one of the other: both codecs are equally likely.
    group = [("p300_001", "", "VCTK", "bonafide", *REAL)]
    group += [
        ("p300_001", f"_b{number}", "snac_24khz", "spoof", *FEW["snac_24khz"])
        for number in range(10)
    ]
    group += [("p300_001", "_a", "snac_44khz", "spoof", *ALL_CODECS["snac_44khz"])]
    drawn = Counter()
    pool = frame_of(group)
    for number in range(200):
        drawn.update(spoofed(draw(pool, "vq", number).frame)["utt_id"])
    # Binomial, 200 trials of 1/2: a standard deviation of 7.
    assert abs(drawn["p300_001_a"] - 100) < 35
    assert len(drawn) == 11


def test_a_class_is_dealt_to_groups_independently_of_their_names():
    # Each third of the groups has about a third of SQ: hypergeometric, a standard deviation of 3.
    frame = spoofed(draw(full_pool(120, FEW), "vq", seed=11).frame).sort("group")
    for start in (0, 40, 80):
        assert 4 <= (frame[start : start + 40]["vq"] == "sq").sum() <= 24
    first_of_each_round = {
        spoofed(draw(full_pool(3, FEW), "vq", 11, number).frame)["vq"][0] for number in range(30)
    }
    assert first_of_each_round == {"mvq", "svq", "sq"}


def test_the_draw_does_not_depend_on_the_order_of_rows():
    pool = full_pool(40, FEW)
    shuffled = pool.sample(fraction=1.0, shuffle=True, seed=1)
    assert not shuffled["utt_id"].is_sorted()
    for balance in BALANCES:
        assert draw(shuffled, balance, 9).frame.equals(draw(pool, balance, 9).frame)


def test_seed_and_round_decide_the_draw():
    pool = full_pool(40, FEW)

    def ids(seed, number):
        return tuple(draw(pool, "vq", seed, number).frame["utt_id"])

    assert ids(1, 2) == ids(1, 2)
    # Seeds and rounds that would be one stream if their digits were strung together.
    pairs = [(0, 0), (0, 1), (1, 0), (1, 1), (2**32, 0), (2**32 + 1, 0), (1, 2**32)]
    assert len({ids(*pair) for pair in pairs}) == len(pairs)


def test_the_draw_is_the_same_on_every_machine():
    frame = draw(full_pool(200, ALL_CODECS), "aux", seed=1234, round=3).frame
    digest = hashlib.sha256("\n".join(frame["utt_id"]).encode()).hexdigest()
    assert digest == "9e2a2576086735bc2033edd532dc91026c8d62c16472e2b2d1171448812fe155"


@given(
    st.lists(st.sets(st.sampled_from([*FEW, None])), min_size=1, max_size=25),
    st.sampled_from(["vq", "aux", "dec", "all", "none"]),
    st.integers(0, 2**70),
)
@settings(max_examples=100, deadline=None)
def test_whatever_is_missing_nothing_is_lost_in_silence(versions, balance, seed):
    pool = pool_of(versions)
    if not any(codecs - {None} for codecs in versions):
        return
    drawn = draw(pool, balance, seed)
    names = group_names(len(versions))
    with_real = [name for name, codecs in zip(names, versions, strict=True) if None not in codecs]
    with_fake = [name for name, codecs in zip(names, versions, strict=True) if codecs - {None}]
    real = drawn.frame.filter(pl.col("bin") == "bonafide")
    assert real["group"].to_list() == with_real
    assert sorted(spoofed(drawn.frame)["group"]) == with_fake
    assert drawn.frame["utt_id"].is_in(pool["utt_id"].to_list()).all()
    told = "\n".join(drawn.notes)
    assert ("no spoofed version" in told) == bool(set(with_real) - set(with_fake))
    assert ("no bona fide clip" in told) == bool(set(with_fake) - set(with_real))
    if balance in TASKS:
        there = set(spoofed(pool)[balance])
        counts = [class_counts(drawn.frame, balance)[name] for name in there]
        assert ("not balanced" in told) == (max(counts) - min(counts) > 1)
        absent = set(load_tasks()[balance].class_names[1:]) - there
        assert ("the pool has nothing of" in told) == bool(absent)


def test_groups_that_have_every_class_make_up_for_those_that_do_not():
    # 20 groups can only be MVQ. If classes were dealt first and mended later, MVQ would get
    # these and a third of the other 40.
    versions = [{"snac_24khz"}] * 20 + [set(FEW)] * 40
    drawn = draw(pool_of(versions), "vq", seed=1)
    assert class_counts(drawn.frame, "vq") == {"mvq": 20, "svq": 20, "sq": 20}
    assert drawn.notes == ()


def test_groups_with_fewer_classes_choose_first():
    # Four cells. If those with three chose first, they would use A and B as often as C, and those
    # with two could not make up for it.
    a, b, c, d = names = [name for name in FEW if name != "ticodec_1g1r"]
    versions = [{a, b, c}] * 5 + [{a, b}] * 10 + [{d}] * 5
    drawn = draw(pool_of(versions), "all", seed=1)
    assert cell_counts(drawn.frame) == dict.fromkeys((FEW[name] for name in names), 5)


def test_classes_that_all_have_level_those_that_only_some_have():
    versions = [{"snac_24khz"}] * 10 + [{"snac_24khz", "ticodec_1g1r"}] * 20
    drawn = draw(pool_of(versions), "vq", seed=1)
    # Five of the twenty are MVQ and fifteen SVQ: 15 and 15. Nobody has SQ.
    assert class_counts(drawn.frame, "vq") == {"mvq": 15, "svq": 15}
    assert drawn.notes == ("the pool has nothing of 1 class sq of vq",)


def test_a_balance_that_cannot_be_had_is_told_with_numbers():
    versions = [{"snac_24khz"}] * 5 + [{"llm_codec"}] + [set(FEW)] * 2
    drawn = draw(pool_of(versions), "vq", seed=1)
    assert drawn.notes == (
        "the draw is not balanced by vq (mvq 6, svq 1, sq 1): 6 of 8 source utterances do not "
        "have every class",
    )


def test_incomplete_groups_are_kept_and_named():
    versions = [set(FEW), set(), {None, *FEW}, {None, "snac_24khz"}, set(FEW)]
    drawn = draw(pool_of(versions), "none", seed=1)
    assert sorted(drawn.frame["group"].unique()) == group_names(5)
    assert drawn.notes == (
        "1 source utterance has no spoofed version and only bona fide speech in the draw: p300_002",
        "2 source utterances have no bona fide clip and only a spoofed one in the draw: "
        "p300_003, p300_004",
    )


def test_several_bona_fide_clips_of_a_group_are_told():
    rows = [("VALLE", f"/{number}", "VALLE", "bonafide", *REAL) for number in range(3)]
    rows += [("VALLE", "/ours", "VALLE", "spoof", "mvq", "none", "time")]
    drawn = draw(frame_of(rows), "none", seed=0)
    assert drawn.frame.height == 4
    assert drawn.notes == (
        "1 group has several bona fide clips and one spoofed one in the draw: VALLE",
    )


def test_as_listed_is_the_pool():
    pool = full_pool(3, FEW)
    drawn = draw(pool, "as-listed", seed=0)
    assert drawn.frame.equals(pool)
    assert drawn.notes == ()


@pytest.mark.parametrize(
    ("name", "balance", "told"),
    [
        ("train_mult_learn", "aux", ()),
        ("train_mult_learn_bal_vq", "vq", ()),
        ("train_mult_learn_bal_dec", "dec", ()),
        ("dev_mult_learn", "aux", ()),
        (
            "train_mult_learn",
            "vq",
            (
                "the draw is not balanced by vq (mvq 36,137, svq 5,261, sq 1,567): 42,965 of "
                "42,965 source utterances do not have every class",
            ),
        ),
    ],
)
def test_the_draw_from_a_list_of_the_authors_is_that_list(protocols, name, balance, told):
    path = protocols / "training" / f"{name}.txt"
    pool = read_protocol(path, find_track("codecfake-plus")).frame
    for seed in (0, 7):
        drawn = draw(pool, balance, seed)
        assert drawn.frame.equals(pool)
        assert drawn.notes == told


@pytest.mark.parametrize(
    ("suffix", "task_id"), [("", "aux"), ("_bal_vq", "vq"), ("_bal_dec", "dec")]
)
def test_a_draw_from_the_full_pool_is_distributed_as_the_authors_lists(protocols, suffix, task_id):
    # Classes of the same sizes, and codecs equally likely within a class: Pearson's statistic of
    # two samples of one distribution has 31 codecs less 3 or 2 classes as degrees of freedom.
    path = protocols / "training" / f"dev_mult_learn{suffix}.txt"
    listed = read_protocol(path, find_track("codecfake-plus")).frame
    frame = draw(full_pool(735, ALL_CODECS), task_id, seed=1).frame
    assert sorted(class_counts(frame, task_id).values()) == sorted(
        class_counts(listed, task_id).values()
    )
    ours, theirs = (Counter(spoofed(f)["source"]) for f in (frame, listed))
    assert set(theirs) <= set(ALL_CODECS)
    statistic = sum((ours[c] - theirs[c]) ** 2 / (ours[c] + theirs[c]) for c in ALL_CODECS)
    assert statistic < 60  # chi-square with 28 or 29: above it once in 1,500


@pytest.mark.slow
def test_the_full_pool_is_drawn_from_in_under_two_seconds():
    groups = pl.DataFrame({"group": group_names(42_965)})
    one = full_pool(1, ALL_CODECS).with_columns(pl.col("utt_id").str.slice(8).alias("suffix"))
    pool = groups.join(one.drop("group", "utt_id"), how="cross").with_columns(
        pl.concat_str("group", "suffix").alias("utt_id")
    )
    pool = pool.select(COLUMNS).sort("utt_id")
    assert pool.height == 42_965 * 32
    started = time.perf_counter()
    drawn = draw(pool, "all", seed=0)
    assert time.perf_counter() - started < 2
    assert drawn.frame.height == 2 * 42_965
    counts = cell_counts(drawn.frame)
    assert set(counts.values()) == {3905, 3906}


@pytest.mark.parametrize(
    ("balance", "message"),
    [
        ("axu", "unknown balance 'axu' (did you mean 'aux'?)"),
        ("bin", "unknown balance 'bin'"),
        ("as listed", "(did you mean 'as-listed'?)"),
    ],
)
def test_an_unknown_balance(balance, message):
    with pytest.raises(CfbenchError) as caught:
        draw(full_pool(1, FEW), balance, seed=0)
    assert message in str(caught.value)
    assert "one of vq, aux, dec, all, none, as-listed" in str(caught.value)


@pytest.mark.parametrize("balance", BALANCES)
def test_an_empty_pool(balance):
    with pytest.raises(CfbenchError, match="the pool has no utterances") as caught:
        draw(full_pool(1, FEW).clear(), balance, seed=0)
    assert "cfbench protocol show" in str(caught.value)


def test_a_task_that_the_track_lacks():
    pool = full_pool(2, FEW).with_columns(pl.lit(None, pl.Enum(["real"])).alias("dec"))
    for balance in ("dec", "all"):
        with pytest.raises(CfbenchError) as caught:
            draw(pool, balance, seed=0)
        assert str(caught.value) == (
            f"balance '{balance}' needs labels of dec, which every utterance of the pool lacks\n"
            "  as it is, the pool can be balanced by vq, aux, none, as-listed"
        )
    assert class_counts(draw(pool, "aux", seed=0).frame, "aux").total() == 2


def test_labels_that_are_missing_are_named():
    holes = pl.col("utt_id").is_in(["p300_001_snac_24khz", "p300_003_llm_codec"])
    pool = full_pool(3, FEW).with_columns(pl.when(~holes).then(pl.col("vq")).alias("vq"))
    with pytest.raises(CfbenchError) as caught:
        draw(pool, "vq", seed=0)
    assert str(caught.value) == (
        "balance 'vq' needs labels of vq, which 2 of 15 utterances lack: "
        "p300_001_snac_24khz, p300_003_llm_codec\n"
        "  as it is, the pool can be balanced by aux, dec, none, as-listed"
    )
    assert draw(pool, "dec", seed=0).frame.height == 6


def test_a_pool_that_does_not_say_what_is_spoofed():
    pool = full_pool(2, FEW).with_columns(pl.lit(None, pl.String).alias("bin"))
    with pytest.raises(CfbenchError) as caught:
        draw(pool, "none", seed=0)
    assert "needs labels of bin" in str(caught.value)
    assert "can be balanced by as-listed" in str(caught.value)


def test_a_pool_without_spoofed_utterances():
    pool = full_pool(2, FEW).filter(pl.col("bin") == "bonafide")
    with pytest.raises(CfbenchError, match="no spoofed utterances"):
        draw(pool, "none", seed=0)
    assert draw(pool, "as-listed", seed=0).frame.height == 2


def test_a_pool_of_two_splits():
    pool = full_pool(2, FEW)
    mixed = pl.concat([pool, pool.with_columns(pl.lit("dev", pool["split"].dtype).alias("split"))])
    with pytest.raises(CfbenchError, match="mixes the splits train, dev"):
        draw(mixed, "none", seed=0)


def test_a_frame_that_is_no_protocol():
    with pytest.raises(CfbenchError, match="the pool lacks 2 columns: group, speaker"):
        draw(full_pool(1, FEW).drop("group", "speaker"), "vq", seed=0)


@pytest.mark.parametrize("wrong", [-1, 1.5, True, "1"])
def test_seeds_are_whole_numbers(wrong):
    for call in (
        lambda: draw(full_pool(1, FEW), "vq", wrong),
        lambda: draw(full_pool(1, FEW), "vq", 0, wrong),
        lambda: epoch_order(4, 2, wrong, 0),
        lambda: epoch_order(4, 2, 0, wrong),
        lambda: item_rng(wrong, 0, "a"),
        lambda: item_rng(0, wrong, "a"),
    ):
        with pytest.raises(CfbenchError, match="give a whole number from 0 on"):
            call()


@given(st.integers(1, 200), st.integers(1, 50), st.integers(0, 2**64), st.integers(0, 100))
@settings(max_examples=50, deadline=None)
def test_an_epoch_has_full_batches_and_nothing_twice(count, batch, seed, epoch):
    if count < batch:
        with pytest.raises(CfbenchError, match="cannot fill a batch"):
            epoch_order(count, batch, seed, epoch)
        return
    order = epoch_order(count, batch, seed, epoch)
    assert order.shape == (count // batch, batch)
    assert order.min() >= 0
    assert order.max() < count
    assert np.unique(order).size == order.size


def test_what_an_epoch_leaves_out_changes_from_epoch_to_epoch():
    left = [set(range(9)) - set(epoch_order(9, 4, 0, e).ravel().tolist()) for e in range(100)]
    assert all(len(out) == 1 for out in left)
    assert set.union(*left) == set(range(9))


def test_seed_and_epoch_decide_the_order():
    orders = [epoch_order(50, 10, *pair).tobytes() for pair in ((0, 0), (0, 1), (1, 0), (2**32, 0))]
    assert len(set(orders)) == 4
    assert orders[0] == epoch_order(50, 10, 0, 0).tobytes()


def test_the_order_is_the_same_on_every_machine():
    assert epoch_order(11, 5, 1234, 2).tolist() == [[7, 8, 5, 2, 1], [3, 4, 9, 6, 0]]


def test_a_batch_size_that_is_none():
    with pytest.raises(CfbenchError, match="the batch size is 0"):
        epoch_order(5, 0, 0, 0)


def test_the_randomness_of_an_utterance_is_the_same_on_every_machine():
    drawn = item_rng(1234, 2, "p225_001_bigcodec").random(2)
    assert drawn.tolist() == [0.7115817982010837, 0.48241513856745566]


def test_seed_epoch_and_utterance_decide_its_randomness():
    keys = [(0, 0, "a"), (0, 1, "a"), (1, 0, "a"), (0, 0, "b"), (11, 1, "a"), (1, 11, "a")]
    drawn = {float(item_rng(*key).random()) for key in keys}
    assert len(drawn) == len(keys)
    assert item_rng(0, 0, "ä").random() == item_rng(0, 0, "ä").random()
