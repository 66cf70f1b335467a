"""Runs of the trainer on coloured pictures, in memory."""

from pathlib import Path

from loupe.options import TrainOptions
from loupe.tracking import JsonlTracker, RunDescription, Trackers
from loupe.train import checkpoints
from loupe.train.run import train_on


def options_for(folder, **settings):
    defaults = {
        "optimizer": "muon",
        "batch_size": 4,
        "evaluations": 2,
        "warmup_share": 0.1,
        "learning_rate": 0.01,
    }
    return TrainOptions(dataset="none", output=str(folder), **{**defaults, **settings})


def describe(folder):
    step = checkpoints.find_resumed_step(folder)
    return RunDescription("train", "p", None, folder, {}, {}, resumed_step=step)


def run(predictor, make, options, steps, *, tracker=None, rows=8):
    folder = Path(options.output)
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    tracker = tracker or JsonlTracker()
    tracker.start(describe(folder))
    train, _ = make.rows(predictor, rows, seed=options.seed if options.augment else None)
    validation = make.validation(predictor, 8) if options.evaluations else None
    return train_on(predictor, train, validation, options, Trackers([tracker]), steps)


def weights_of(outcome):
    from safetensors.torch import load_file

    return load_file(next(outcome.checkpoint.glob("*.safetensors")))
