"""The curve from options to files: train and evaluate each share, compare neighbours, draw."""

from __future__ import annotations

import glob
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from loupe.curve.settings import read_settings
from loupe.errors import OptionError
from loupe.options import CompareOptions, CurveOptions, EvaluateOptions, TrainOptions, save_options

__all__ = ["CurveResult", "draw_curve"]

FORMAT = 1
RECORD, DRAWING = "learning_curve.json", "learning_curve.svg"
MODEL, EVALUATION = "model", "evaluation"
MAY_DIFFER = {"threads", "device", "overwrite"}  # between an evaluation and the one asked for

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CurveResult:
    """A finished curve."""

    output: str
    record: dict[str, Any]
    """The content of learning_curve.json."""

    def to_dict(self) -> dict[str, Any]:
        """Give the record with the folder."""
        return {"output": self.output, **self.record}

    def summary(self) -> str:
        """Tell a person what each share reached, and what each step to more rows gave."""
        from loupe.curve.page import describe_curve

        last = (
            f"Wrote {Path(self.output) / RECORD} and {DRAWING}. Next: more rows, or `loupe compare`"
        )
        return f"{describe_curve(self.record)}\n\n{last}"


def draw_curve(options: CurveOptions) -> CurveResult:
    """Train on each share by each seed, evaluate, and write the curve; finished runs are kept.

    Raises:
        OptionError: an option cannot be meant, or the folder holds runs of other options.
        LoupeError: whatever training or evaluating raises.
    """
    from loupe.build.dataset import Dataset
    from loupe.curve.page import draw

    task = Dataset.open(options.dataset).task
    training = read_settings(
        TrainOptions,
        "train",
        options.train,
        {"dataset": options.dataset, "output": options.output, "plan": False, "overwrite": False}
        | ({"model": options.model} if options.model else {}),
    )
    evaluating = read_settings(
        EvaluateOptions,
        "evaluate",
        options.evaluate,
        {"dataset": options.dataset, "output": options.output, "model": options.output},
    )
    if options.evaluate is None:
        evaluating = replace(evaluating, baseline_rows=0)  # a curve needs none
    folder = Path(options.output)
    folder.mkdir(parents=True, exist_ok=True)
    save_options(options, folder)
    shares, seeds = sorted(set(options.shares)), list(dict.fromkeys(options.seeds))
    points = [
        {
            "share": share,
            "runs": [_run(training, evaluating, share, seed) for seed in seeds],
        }
        for share in shares
    ]
    record = {
        "format": FORMAT,
        "dataset": options.dataset,
        "task": task.to_dict(),
        "shares": points,
        "steps": list(_compare(folder, points)),
    }
    (folder / DRAWING).write_text(draw(record), "utf-8")
    text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False)
    (folder / RECORD).write_text(text + "\n", "utf-8")
    return CurveResult(options.output, record)


def _run(
    training: TrainOptions, evaluating: EvaluateOptions, share: float, seed: int
) -> dict[str, Any]:
    """Train and evaluate one point of the curve, as far as that is not done."""
    from loupe.evaluate import evaluate_model
    from loupe.train import train_model

    folder = Path(training.output) / _name(share, seed)
    logger.info("Share %g of the training rows, seed %d", share, seed)
    trained = train_model(
        replace(training, output=str(folder / MODEL), train_share=share, seed=seed)
    )
    if trained.was_finished and trained.differing:
        raise OptionError(
            f"{trained.output!r} holds a run with other values of {', '.join(trained.differing)}. "
            "Give the same to go on with this curve, or choose another output."
        )
    asked = replace(
        evaluating, model=str(folder / MODEL), output=str(folder / EVALUATION), overwrite=True
    )
    scores = _finished_scores(asked) or evaluate_model(asked).scores
    return {
        "seed": seed,
        "folder": str(folder),
        "train_rows": trained.record["train_rows"],
        "steps": trained.record["steps"],
        "scores": {name: scores["scores"][name] for name in scores["beaten"]},
    }


def _finished_scores(asked: EvaluateOptions) -> dict[str, Any] | None:
    """Give the scores of an evaluation that is finished and was made with these options."""
    folder = Path(asked.output)
    if not (folder / "report.html").is_file():
        return None
    scores: dict[str, Any] = json.loads((folder / "scores.json").read_text("utf-8"))
    made, wanted = scores["options"], asdict(asked)
    is_same = all(made.get(name) == wanted[name] for name in wanted.keys() - MAY_DIFFER)
    return scores if is_same else None


def _compare(folder: Path, points: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Tell what each step to a larger share gave, paired over the rows that both answered."""
    from loupe.evaluate import compare_evaluations

    for before, after in pairwise(points):
        sides = [
            f"{glob.escape(str(folder))}/{_name(point['share'], '*')}/{EVALUATION}"
            for point in (before, after)
        ]
        compared = compare_evaluations(CompareOptions(evaluations=sides)).to_dict()
        names = {name.removeprefix("evaluate/") for name in before["runs"][0]["scores"]}
        yield {
            "from": before["share"],
            "to": after["share"],
            "scores": {name: held for name, held in compared["scores"].items() if name in names},
            "notes": compared["notes"],
        }


def _name(share: float, seed: int | str) -> str:
    return f"share-{share:g}-seed-{seed}"
