"""Read products off pictures: a model's free-running answers, parsed by its task."""

from loupe.predict.predictor import Predictor
from loupe.predict.stage import PredictResult, predict_pictures

__all__ = ["PredictResult", "Predictor", "predict_pictures"]
