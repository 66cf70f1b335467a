"""A weighted statistic is the plain statistic of the repeated rows."""

import numpy as np
import pytest

from loupe.evaluate.text import chrf_counts
from loupe.evaluate.weighted import CorpusChrf, MacroF1, Mean, Median


@pytest.fixture
def weights():
    return np.random.default_rng(0).integers(0, 4, size=(50, 11)).astype(float)


def with_gaps():
    values = np.random.default_rng(1).normal(size=11).round(1)
    values[[2, 7]] = np.nan
    return values


@pytest.mark.parametrize(("statistic", "plain"), [(Mean, np.nanmean), (Median, np.nanmedian)])
def test_mean_and_median(statistic, plain, weights):
    values = with_gaps()
    expected = [plain(np.repeat(values, row.astype(int))) for row in weights]
    np.testing.assert_allclose(statistic(values)(weights), expected)


def test_macro_f1(weights):
    rng = np.random.default_rng(2)
    truths, said = rng.integers(0, 3, 11), rng.integers(-1, 3, 11)

    def plain(row):
        true, answered = np.repeat(truths, row), np.repeat(said, row)
        scores = [
            2 * np.sum((true == c) & (answered == c)) / (np.sum(true == c) + np.sum(answered == c))
            for c in np.unique(true)
        ]
        return np.mean(scores)

    expected = [plain(row.astype(int)) for row in weights]
    np.testing.assert_allclose(MacroF1(truths, said)(weights), expected)


def test_chrf(weights):
    truths = ["wool scarf", "coat", "silk", "a", "check shirt", "bag", "x", "yz", "q", "rs", "tt"]
    said = ["wool", "coat", "", "b", "shirt", "bags", "x", "y", "q", "", "tt"]
    counts = chrf_counts(said, truths)
    expected = [
        CorpusChrf(np.repeat(counts, row.astype(int), axis=0))(np.ones((1, int(row.sum()))))[0]
        for row in weights
    ]
    np.testing.assert_allclose(CorpusChrf(counts)(weights), expected)


@pytest.mark.parametrize("statistic", [Mean, Median])
def test_nothing_drawn_has_no_value(statistic):
    assert np.isnan(statistic(np.array([1.0, np.nan]))(np.array([[0.0, 5.0]]))).all()
