"""Fine-tune a vision-language model on a dataset, with the loss on the answer alone."""

from loupe.train.stage import TrainResult, train_model, train_or_plan

__all__ = ["TrainResult", "train_model", "train_or_plan"]
