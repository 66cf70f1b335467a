"""A run to describe, with a dataset folder, a model folder and answered rows."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
from PIL import Image

from loupe.tracking import PredictedRow, RunDescription

COLOURS = {"red": (255, 0, 0), "green": (0, 128, 0), "blue": (0, 0, 255)}
FACTS = {"base": "tiny", "best_metric": "loss", "best_score": 0.5}


@pytest.fixture
def told(tmp_path):
    """Give what a run tells: `run`, `rows`, `model` (its folder), `facts`, and `goes_on(step)`."""
    folder, dataset = tmp_path / "model", tmp_path / "my data"
    (dataset / "data").mkdir(parents=True)
    folder.mkdir()
    (dataset / "dataset.json").write_text(json.dumps({"fingerprint": "ab"}), "utf-8")
    (dataset / "task.yaml").write_text("question: Which?\n", "utf-8")
    (dataset / "data" / "train-00000-of-00001.parquet").write_bytes(b"rows and pictures")
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "README.md").write_text("card", "utf-8")
    run = RunDescription(
        job_type="train",
        project="loupe",
        name="first",
        folder=folder,
        options={"batch_size": 16, "freeze": [], "max_steps": None},
        dataset={"fingerprint": "ab", "counts": {"train": 3}},
        dataset_folder=dataset,
    )
    rows = [
        PredictedRow(
            f"row {place}",
            Image.new("RGB", (16, 16), colour),
            colour,
            "red | blue",
            {"colour_right": float(place == 0), "price_ape": None if place else 0.25},
        )
        for place, colour in enumerate(COLOURS)
    ]
    return SimpleNamespace(
        run=run,
        rows=rows,
        model=folder,
        facts=FACTS,
        colours=set(COLOURS.values()),
        goes_on=lambda step: replace(run, resumed_step=step),
    )
