"""Certainty: what validation answers tell of how far a model's further answers can be trusted."""

from loupe.certainty.calibration import (
    CALIBRATION,
    Calibration,
    ChoiceRecord,
    PriceRecord,
    identify,
    least_price,
    log_error,
    widened,
)
from loupe.certainty.confidence import bins_of, calibration_error, fit_temperature, tempered
from loupe.certainty.conformal import Scales
from loupe.certainty.selection import DOUBT, Selection, risk_by_share

__all__ = [
    "CALIBRATION",
    "DOUBT",
    "Calibration",
    "ChoiceRecord",
    "PriceRecord",
    "Scales",
    "Selection",
    "bins_of",
    "calibration_error",
    "fit_temperature",
    "identify",
    "least_price",
    "log_error",
    "risk_by_share",
    "tempered",
    "widened",
]
