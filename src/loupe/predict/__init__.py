"""Read products off pictures: a model's free-running answers, parsed by its task."""

from loupe.predict.predictor import Predictor, pictures_beside, task_beside
from loupe.predict.stage import PredictResult, predict_pictures

__all__ = ["PredictResult", "Predictor", "pictures_beside", "predict_pictures", "task_beside"]
