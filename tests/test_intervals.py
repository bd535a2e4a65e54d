import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cfbench.intervals import (
    canonical_order,
    cell_weights,
    count_table,
    fixed_point,
    fixed_point_sums,
    group_weights,
    percentile_interval,
    replicate,
)

many = settings(max_examples=25, deadline=None)


def all_weights(n_units, replicates, seed=(0, 0)):
    return np.concatenate([part.double for part in group_weights(n_units, replicates, seed)])


@given(st.integers(1, 300), st.integers(1, 50), st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_a_resample_draws_as_many_units_as_there_are(n_units, replicates, seed):
    weights = all_weights(n_units, replicates, (seed, 1))
    assert weights.shape == (replicates, n_units)
    assert (weights.sum(axis=1) == n_units).all()
    assert (weights >= 0).all()
    assert (weights == np.rint(weights)).all()


def test_units_are_drawn_with_replacement_and_alike():
    weights = all_weights(50, 20_000)
    # The number of draws of one unit is binomial: 50 trials of probability 1/50.
    assert weights.mean(axis=0) == pytest.approx(np.ones(50), abs=0.05)
    assert weights.var(axis=0) == pytest.approx(np.full(50, 49 / 50), abs=0.06)
    assert (weights == 0).mean() == pytest.approx((1 - 1 / 50) ** 50, abs=0.005)
    # What one unit gains the others lose: the correlation is -1/49.
    assert np.corrcoef(weights[:, 0], weights[:, 1])[0, 1] == pytest.approx(-1 / 49, abs=0.03)


def test_single_and_double_precision_hold_the_same_weights():
    for part in group_weights(20, 30, (1, 2)):
        assert np.array_equal(part.single, part.double)


def test_the_same_seed_draws_the_same_resamples_and_another_seed_does_not():
    assert np.array_equal(all_weights(40, 100, (7, 1)), all_weights(40, 100, (7, 1)))
    assert not np.array_equal(all_weights(40, 100, (7, 1)), all_weights(40, 100, (8, 1)))
    assert not np.array_equal(all_weights(40, 100, (7, 1)), all_weights(40, 100, (7, 2)))


def test_how_resamples_are_cut_into_chunks_does_not_change_them():
    # So many units that 500 resamples come in several chunks, and 130 in other ones.
    n_units = 60_000
    chunks = list(group_weights(n_units, 230, (3, 3)))
    assert len(chunks) > 1
    many = np.concatenate([part.single for part in chunks])
    few = np.concatenate([part.single for part in group_weights(n_units, 130, (3, 3))])
    assert np.array_equal(many[:130], few)


def test_weighted_sums_are_those_of_the_resampled_rows():
    table = np.arange(24.0).reshape(8, 3)
    for part in group_weights(8, 10, (5, 5)):
        for columns in (table, table.astype(np.float32)):
            sums = part.sums(columns)
            for row, weights in zip(sums, part.double, strict=True):
                drawn = np.repeat(np.arange(8), weights.astype(int))
                assert row == pytest.approx(table[drawn].sum(axis=0))


def test_cells_are_drawn_in_proportion_to_their_sizes():
    sizes = np.array([1, 3, 16])
    drawn = cell_weights(sizes, 20_000, (0, 0)).double * sizes
    assert drawn.sum(axis=1) == pytest.approx(np.full(20_000, 20))
    assert drawn.mean(axis=0) == pytest.approx(sizes, abs=0.1)
    # Binomial variance of 20 trials with probability 1/20, 3/20, 16/20.
    assert drawn.var(axis=0) == pytest.approx([0.95, 2.55, 3.2], abs=0.15)


def test_replicates_are_the_statistic_of_each_resample():
    table = np.random.default_rng(1).random((12, 2))
    [found] = replicate([lambda weights: {"sum": weights.sums(table)}], 12, 40, (9, 9))
    assert found["sum"] == pytest.approx(all_weights(12, 40, (9, 9)) @ table)


@given(st.integers(0, 2**32 - 1), st.integers(1, 200))
@many
def test_fixed_point_sums_do_not_depend_on_the_order_of_values(seed, n):
    generator = np.random.default_rng(seed)
    values, units = generator.uniform(-36, 36, n), generator.integers(0, 5, n)
    order = generator.permutation(n)
    fixed = fixed_point(values)
    assert np.array_equal(
        fixed_point_sums(fixed, units, 5), fixed_point_sums(fixed[order], units[order], 5)
    )
    assert np.array_equal(fixed_point_sums(fixed, None), fixed_point_sums(fixed[order], None))


@given(st.integers(0, 2**32 - 1), st.integers(1, 200))
@many
def test_fixed_point_sums_are_accurate(seed, n):
    generator = np.random.default_rng(seed)
    values, units = generator.uniform(-36, 36, n), generator.integers(0, 5, n)
    fixed = fixed_point(values)
    assert fixed_point_sums(fixed, None) == pytest.approx([values.sum()], abs=1e-11 * n)
    expected = [values[units == unit].sum() for unit in range(5)]
    assert fixed_point_sums(fixed, units, 5) == pytest.approx(expected, abs=1e-11 * n)


def test_fixed_point_sums_of_a_million_values_are_exact():
    # 0.1 and its like have no end in binary: an ordinary sum drifts.
    fixed = fixed_point(np.tile([0.1, 36.04, 1e-9], 400_000))
    assert fixed_point_sums(fixed, None)[0] == pytest.approx(400_000 * 36.140000001, rel=1e-12)


@given(st.integers(0, 2**32 - 1), st.integers(2, 40))
@many
def test_canonical_order_depends_on_neither_names_nor_rows(seed, n_units):
    generator = np.random.default_rng(seed)
    units = generator.integers(0, n_units, 3 * n_units)
    cells, losses = generator.integers(0, 3, units.size), generator.integers(0, 3, units.size) / 7
    order = canonical_order([cells, losses], units, n_units)
    renamed, rows = generator.permutation(n_units), generator.permutation(units.size)
    again = canonical_order([cells[rows], losses[rows]], renamed[units][rows], n_units)
    content = [sorted(zip(cells[units == u], losses[units == u], strict=True)) for u in order]
    after = np.argsort(renamed)  # the old number of each new one
    assert sorted(order.tolist()) == list(range(n_units))
    assert content == [
        sorted(zip(cells[units == u], losses[units == u], strict=True)) for u in after[again]
    ]


def test_canonical_order_tells_units_apart_that_differ_in_one_place():
    units = np.repeat(np.arange(200), 50)
    cells = np.zeros(units.size, dtype=np.int64)
    cells[::50] = np.arange(200)
    order = canonical_order([cells], units, 200)
    renamed = np.random.default_rng(0).permutation(200)
    again = canonical_order([cells], renamed[units], 200)
    assert np.array_equal(renamed[order], again)


def test_canonical_order_tells_units_of_zeros_apart_by_their_size():
    units = np.repeat(np.arange(20), np.arange(1, 21))
    cells = np.zeros(units.size, dtype=np.int64)
    renamed = np.random.default_rng(1).permutation(20)
    order = canonical_order([cells], units, 20)
    assert np.array_equal(renamed[order], canonical_order([cells], renamed[units], 20))


@given(st.integers(0, 2**32 - 1), st.integers(1, 100))
@many
def test_count_table_counts(seed, n):
    cells = np.random.default_rng(seed).integers(0, 12, n)
    table = count_table(cells, 3, 4)
    assert np.array_equal(table, np.bincount(cells, minlength=12).reshape(3, 4))


@given(
    st.lists(st.one_of(st.floats(-1e6, 1e6), st.just(np.nan)), min_size=1, max_size=60),
    st.sampled_from([0.5, 0.9, 0.95]),
)
@many
def test_percentile_interval_agrees_with_numpy_over_the_defined_replicates(samples, level):
    samples = np.array(samples)
    defined = samples[~np.isnan(samples)]
    interval = percentile_interval(samples, level)
    if not defined.size:
        assert interval is None
        return
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    assert interval.low == pytest.approx(low, rel=1e-9, abs=1e-9)
    assert interval.high == pytest.approx(high, rel=1e-9, abs=1e-9)
    assert interval.replicates == defined.size


def test_percentile_interval_leaves_its_input_as_it_was():
    samples = np.array([3.0, np.nan, 1.0])
    percentile_interval(samples)
    assert samples.tolist()[::2] == [3, 1]
    assert np.isnan(samples[1])


def test_without_a_defined_replicate_there_is_no_interval():
    assert percentile_interval(np.full(10, np.nan)) is None
    assert percentile_interval(np.array([])) is None
