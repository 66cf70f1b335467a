"""Temperatures and calibration errors, on numbers that can be checked by hand."""

import numpy as np
import pytest

from loupe.certainty import calibration_error, fit_temperature, tempered

ONCE = np.ones((1, 4))


def test_the_calibration_error_of_four_rows():
    """Two bins: 0.95 and 0.95 with one right, |0.5 - 0.95|; 0.55 and 0.55 both right, 0.45."""
    confidence, right = np.array([0.95, 0.95, 0.55, 0.55]), np.array([1.0, 0.0, 1.0, 1.0])
    assert calibration_error(confidence, right, ONCE) == pytest.approx([0.45])


def test_gaps_of_one_bin_cancel_and_those_of_two_do_not():
    confidence, right = np.array([0.6, 0.6, 0.6, 0.6]), np.array([1.0, 1.0, 0.0, 0.0])
    assert calibration_error(confidence, right, ONCE) == pytest.approx([0.1])
    apart = np.array([0.4, 0.4, 0.6, 0.6])
    assert calibration_error(apart, right, ONCE) == pytest.approx([0.6])


def test_rows_count_as_often_as_they_are_drawn():
    confidence, right = np.array([0.9, 0.3]), np.array([1.0, 1.0])
    weights = np.array([[1.0, 1.0], [2.0, 0.0], [1.0, 3.0]])
    found = calibration_error(confidence, right, weights)
    assert found == pytest.approx([0.4, 0.1, (0.1 + 3 * 0.7) / 4])


def test_certainty_and_a_bin_edge_fall_into_a_bin():
    assert calibration_error(np.array([1.0, 0.0]), np.array([1.0, 0.0]), np.ones((1, 2))) == [0.0]


def test_a_temperature_flattens_and_sharpens():
    shares = np.log([0.8, 0.2])
    assert tempered(shares, 1.0) == pytest.approx([0.8, 0.2])
    assert tempered(shares, 2.0) == pytest.approx([2 / 3, 1 / 3])
    assert tempered(shares, 0.5) == pytest.approx([16 / 17, 1 / 17])


@pytest.mark.parametrize("true", [0.5, 1.0, 3.0])
def test_the_temperature_that_spoilt_probabilities_is_found(true):
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 2, (4000, 5))
    honest = tempered(logits, 1.0)
    truths = np.array([generator.choice(5, p=row) for row in honest])
    said = logits.argmax(axis=1)
    found = fit_temperature(logits * true, said, (said == truths).astype(float))
    assert found == pytest.approx(true, rel=0.1)


def test_rows_that_are_all_right_do_not_make_certain():
    shares = np.log(np.tile([0.9, 0.1], (30, 1)))
    temperature = fit_temperature(shares, np.zeros(30, int), np.ones(30))
    assert tempered(shares[0], temperature)[0] == pytest.approx(31 / 32, abs=0.002)
