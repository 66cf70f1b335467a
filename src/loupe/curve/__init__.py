"""Curve: models trained on shares of the rows, evaluated alike, and what more rows gave."""

from loupe.curve.stage import CurveResult, draw_curve

__all__ = ["CurveResult", "draw_curve"]
