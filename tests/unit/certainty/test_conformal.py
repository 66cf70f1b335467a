"""Intervals hold the truth as often as they say, and fall back where rows are few."""

import numpy as np
import pytest

from loupe.certainty.conformal import enough_rows, error_quantile, scale_by_category
from loupe.errors import CalibrationError


def test_the_quantile_is_the_rank_that_a_further_row_asks_for():
    errors = np.random.default_rng(0).permutation(np.arange(1.0, 100.0))
    assert error_quantile(errors, 0.9) == 90.0  # the 90th of 99: ceil(0.9 * 100)
    assert error_quantile(errors[:50], 0.8) == np.sort(errors[:50])[40]


@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_exchangeable_rows_are_covered_as_often_as_is_said(coverage):
    """Of 300 draws of 99 rows and one further, so many are covered; 4 standard errors."""
    generator = np.random.default_rng(1)
    draws, covered = 300, 0
    for _ in range(draws):
        spreads = generator.uniform(0.1, 1.0, 100)
        errors = np.abs(generator.standard_t(3, 100)) * spreads
        scales = scale_by_category(errors[:99] / spreads[:99], ["a"] * 99, range(99), coverage)
        covered += errors[99] <= scales.widths(["a"], spreads[99:])[0]
    assert abs(covered / draws - coverage) < 4 * np.sqrt(coverage * (1 - coverage) / draws)


def test_a_category_of_larger_errors_is_covered_as_well_as_the_others():
    generator = np.random.default_rng(2)
    names = np.array(["hard", "easy", "easy", "easy"] * 500)
    errors = np.abs(generator.normal(size=2000)) * np.where(names == "hard", 5.0, 1.0)
    known, new = slice(0, 1000), slice(1000, 2000)
    scales = scale_by_category(errors[known], names[known], range(1000), 0.9)
    hit = errors[new] <= scales.widths(names[new], np.ones(1000))
    for name in ("hard", "easy"):
        assert abs(hit[names[new] == name].mean() - 0.9) < 0.06
    overall = error_quantile(errors[known], 0.9)
    assert (errors[new] <= overall)[names[new] == "hard"].mean() < 0.7  # what one for all would do


def test_categories_with_few_rows_share_a_quantile():
    errors = np.concatenate([np.full(60, 1.0), np.full(30, 2.0), np.full(30, 3.0)])
    names = ["many"] * 60 + ["few"] * 30 + ["fewer"] * 30
    scales = scale_by_category(errors, names, range(120), 0.9)
    assert scales.own == {"many": 1.0}
    assert scales.others == 3.0
    assert scales.widths(["many", "few", "never seen"], np.ones(3)).tolist() == [1.0, 3.0, 3.0]


def test_few_others_take_the_quantile_of_all_rows():
    errors = np.concatenate([np.full(100, 1.0), np.full(5, 50.0)])
    scales = scale_by_category(errors, ["many"] * 100 + ["few"] * 5, range(105), 0.9)
    assert scales.own == {"many": 1.0}
    assert scales.others == 1.0


def test_rows_of_few_groups_give_no_quantile_of_their_own():
    errors = np.ones(120)
    assert scale_by_category(errors, ["a"] * 120, [n % 9 for n in range(120)], 0.9).own == {}
    assert scale_by_category(errors, ["a"] * 120, [n % 10 for n in range(120)], 0.9).own == {
        "a": 1.0
    }


@pytest.mark.parametrize(("coverage", "least"), [(0.5, 3), (0.8, 6), (0.9, 11), (0.95, 21)])
def test_too_few_rows_for_a_coverage_are_refused(coverage, least):
    assert enough_rows(coverage) == least
    assert error_quantile(np.arange(float(least)), coverage) <= least - 1
    with pytest.raises(CalibrationError, match=f"needs at least {least}. Calibrate on more"):
        error_quantile(np.ones(least - 1), coverage)
