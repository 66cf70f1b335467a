"""Bootstrap intervals."""

import numpy as np
import pytest

from loupe.evaluate import intervals
from loupe.evaluate.intervals import Draws, resample
from loupe.evaluate.weighted import Mean


def test_interval_of_a_mean_agrees_with_theory():
    values = np.random.default_rng(0).normal(size=400)
    draws = resample({"mean": Mean(values)}, range(400), resamples=4000, seed=0)["mean"]
    interval = draws.interval(0.95)
    expected = 1.96 * values.std() / 20  # standard error of a mean of 400
    assert interval.value == pytest.approx(values.mean())
    # 4000 resamples leave about 3 % of noise in a quantile
    assert interval.high - interval.value == pytest.approx(expected, rel=0.1)
    assert interval.value - interval.low == pytest.approx(expected, rel=0.1)


def test_rows_of_one_group_are_drawn_together():
    values = np.repeat(np.random.default_rng(0).normal(size=40), 10)
    grouped = resample({"m": Mean(values)}, np.repeat(range(40), 10), resamples=2000, seed=0)["m"]
    alone = resample({"m": Mean(values)}, range(400), resamples=2000, seed=0)["m"]
    # ten equal rows are one observation: the interval is sqrt(10) times as wide
    assert grouped.resamples.std() / alone.resamples.std() == pytest.approx(10**0.5, rel=0.15)


def test_same_seed_same_draws_whatever_the_blocks(monkeypatch):
    statistics = {"m": Mean(np.arange(10.0))}
    whole = resample(statistics, range(10), resamples=50, seed=3)["m"]
    monkeypatch.setattr(intervals, "MAX_BLOCK_CELLS", 70)
    pieces = resample(statistics, range(10), resamples=50, seed=3)["m"]
    np.testing.assert_array_equal(whole.resamples, pieces.resamples)


def test_a_paired_difference_is_narrower_than_an_unpaired_one():
    rng = np.random.default_rng(0)
    hard = rng.normal(size=200)
    one, other = Mean(hard + 0.1), Mean(hard)
    draws = resample({"one": one, "other": other}, range(200), resamples=500, seed=0)
    gain = draws["one"].minus(draws["other"]).interval(0.95)
    assert (gain.low, gain.high) == (pytest.approx(0.1), pytest.approx(0.1))


def test_scores_that_no_row_counts_for_are_left_out():
    assert resample({"m": Mean(np.array([np.nan]))}, [0], resamples=3, seed=0) == {}


def test_no_resamples_give_the_value_alone():
    interval = resample({"m": Mean(np.array([1.0, 3.0]))}, "ab", resamples=0, seed=0)["m"]
    assert interval.interval(0.9).to_dict() == {"value": 2.0, "low": 2.0, "high": 2.0}


def test_resamples_without_a_counted_row_do_not_spoil_the_interval():
    draws = Draws(0.5, np.array([0.4, np.nan, 0.6]))
    assert draws.interval(0.0).low == pytest.approx(0.5)
