"""Prefer: tune a trained model by its own answers, the better of two preferred to the worse."""

from loupe.prefer.stage import PreferResult, prefer_answers

__all__ = ["PreferResult", "prefer_answers"]
