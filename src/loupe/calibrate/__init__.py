"""Calibrate: a model and validation rows in; what its answers can be trusted for, beside it."""

from loupe.calibrate.stage import CalibrateResult, calibrate_model

__all__ = ["CalibrateResult", "calibrate_model"]
