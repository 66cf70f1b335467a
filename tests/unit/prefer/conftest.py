"""A dataset of coloured cups, and a model that was trained on it for a moment."""

import csv

import numpy as np
import pytest
from PIL import Image

from loupe.build import build_dataset
from loupe.options import BuildOptions, TrainOptions
from loupe.train import train_model

COLOURS = {"red": (220, 30, 30), "green": (30, 180, 40), "blue": (40, 60, 220)}


@pytest.fixture(scope="session")
def cups(tmp_path_factory):
    """Folder of a built dataset: 48 one-coloured pictures of the tutorial's task."""
    source = tmp_path_factory.mktemp("cups")
    with (source / "cups.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "title", "category3_code", "full_price"])
        for place in range(48):
            colour = list(COLOURS)[place % 3]
            noise = np.random.default_rng(place).integers(-12, 13, (60, 60, 3))
            pixels = np.clip(np.array(COLOURS[colour]) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(source / f"{place}.png")
            price = 10.0 * (place % 3 + 1) + place % 7
            table.writerow([f"{place}.png", f"{colour} cup {place}", colour.upper(), price])
    output = tmp_path_factory.mktemp("built") / "data"
    build_dataset(
        BuildOptions(
            source=str(source / "cups.csv"),
            output=str(output),
            validation_share=0.25,
            test_share=0.1,
            workers=1,
        )
    )
    return output


@pytest.fixture(scope="session")
def trained(cups, tiny_checkpoint, tmp_path_factory):
    """Folder of a model that has learnt to answer in the task's form, and is unsure of the rest."""
    output = tmp_path_factory.mktemp("trained") / "model"
    train_model(
        TrainOptions(
            dataset=str(cups),
            output=str(output),
            model=str(tiny_checkpoint),
            optimizer="muon",
            learning_rate=0.02,
            epochs=1000,
            max_steps=60,
            batch_size=16,
            evaluations=0,
        )
    )
    return output
