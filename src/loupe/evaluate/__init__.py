"""Evaluate: a model and a dataset in; scores with intervals, baselines, twins and a report out."""

from loupe.evaluate.comparison import compare_evaluations
from loupe.evaluate.result import EvaluateResult
from loupe.evaluate.run import evaluate_model

__all__ = ["EvaluateResult", "compare_evaluations", "evaluate_model"]
