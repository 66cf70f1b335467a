"""Evaluate: a model and a dataset in; scores with intervals, baselines, twins and a report out."""

from loupe.evaluate.result import EvaluateResult
from loupe.evaluate.run import evaluate_model

__all__ = ["EvaluateResult", "evaluate_model"]
