"""How sure a choice is: one temperature for all, and how far confidence is from being right.

Source: Guo et al., "On Calibration of Modern Neural Networks", 2017 (temperature scaling, expected
calibration error); Platt, "Probabilistic Outputs for Support Vector Machines", 1999 (targets that
are not quite 0 and 1, so that rows that are all right do not ask for certainty).
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["BINS", "bins_of", "calibration_error", "fit_temperature", "tempered"]

BINS = 15  # as in the source
TEMPERATURES = np.geomspace(0.1, 100.0, 201)  # 3.5 % apart

Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]
Whole = np.ndarray[Any, np.dtype[np.int64]]


def tempered(log_shares: Floats, temperature: float) -> Floats:
    """Give the probabilities of choices at a temperature; (..., choices) in and out."""
    scaled = log_shares / temperature
    return np.asarray(np.exp(scaled - np.logaddexp.reduce(scaled, axis=-1, keepdims=True)))


def fit_temperature(log_shares: Floats, said: Whole, right: Floats) -> float:
    """Give the temperature at which being right is likeliest by the confidence in what was said.

    Args:
        log_shares: of each row's choices, (rows, choices).
        said: the place of the choice that was said, (rows,).
        right: 1 where it is right, else 0, (rows,).
    """
    hits = right.sum()
    targets = np.where(
        right > 0, (hits + 1) / (hits + 2), 1 / (len(right) - hits + 2)
    )  # as in Platt's paper
    rows = np.arange(len(said))

    def loss(temperature: float) -> float:
        confidence = tempered(log_shares, temperature)[rows, said].clip(1e-12, 1 - 1e-12)
        likely = targets * np.log(confidence) + (1 - targets) * np.log(1 - confidence)
        return -float(likely.mean())

    return float(min(TEMPERATURES, key=loss))


def bins_of(confidence: Floats) -> Whole:
    """Give the bin of each confidence, of BINS that part 0 to 1 evenly: (rows,)."""
    return np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)


def calibration_error(confidence: Floats, right: Floats, weights: Floats) -> Floats:
    """Give the expected calibration error of rows that count several times: (resamples,).

    The difference between mean confidence and share of right ones, bin by bin, weighted by rows.

    Args:
        confidence: (rows,), 0 to 1.
        right: (rows,), 1 where it is right, else 0.
        weights: how often each row counts, (resamples, rows).
    """
    bins = bins_of(confidence)
    gaps = [
        np.abs(weights[:, bins == number] @ (confidence - right)[bins == number])
        for number in np.unique(bins)
    ]
    return np.asarray(np.sum(gaps, axis=0) / weights.sum(axis=1))
