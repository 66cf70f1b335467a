"""Coloured pictures that answer for themselves, in memory and as a built dataset."""

import csv
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from loupe import vlm
from loupe.predict import Predictor
from loupe.task import Task
from loupe.train.batches import ExampleDataset
from loupe.train.examples import Encoder
from loupe.train.pictures import PictureCache
from loupe.train.validation import Validation

COLOURS = {
    "red": (220, 30, 30),
    "green": (30, 180, 40),
    "blue": (40, 60, 220),
    "white": (240, 240, 240),
    "black": (15, 15, 15),
    "yellow": (230, 220, 40),
    "cyan": (40, 220, 220),
    "pink": (250, 130, 180),
}
COLOUR_TASK = Task.from_dict(
    {
        "question": "Which colour?",
        "answer": "Colour: {colour}",
        "fields": {"colour": {"type": "text"}},
    }
)


def coloured(colour, seed=0, size=(60, 60)):
    noise = np.random.default_rng(seed).integers(-12, 13, (size[1], size[0], 3))
    return Image.fromarray(np.clip(np.array(COLOURS[colour]) + noise, 0, 255).astype(np.uint8))


def load_predictor(folder, task=COLOUR_TASK):
    model, processor = vlm.load_model_and_processor(str(folder), dtype="float32")
    return Predictor(model, processor, task)


def colour_rows(predictor, count=8, *, seed=None):
    """Examples that ask for the colour of one-coloured pictures, with their truths."""
    names = [list(COLOURS)[place % len(COLOURS)] for place in range(count)]
    pictures = [coloured(name, place) for place, name in enumerate(names)]
    truths = [{"colour": name} for name in names]
    encoder = Encoder(predictor.processor, predictor.task)
    examples = [
        encoder.encode(f"row {place}", truth, [picture.size])
        for place, (truth, picture) in enumerate(zip(truths, pictures, strict=True))
    ]
    cache = PictureCache(pictures.__getitem__, predictor.processor)
    return ExampleDataset(examples, range(count), cache, seed), truths


def colour_validation(predictor, count=8):
    rows, truths = colour_rows(predictor, count)
    return Validation(predictor, rows, truths, batch_size=4)


@pytest.fixture
def predictor(tiny_checkpoint):
    return load_predictor(tiny_checkpoint)


@pytest.fixture(scope="session")
def colour_dataset(tmp_path_factory):
    """Folder of a built dataset: 32 coloured cups of the tutorial's task."""
    from loupe.build import build_dataset
    from loupe.options import BuildOptions

    source = tmp_path_factory.mktemp("table")
    with (source / "cups.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "title", "category3_code", "full_price"])
        for place in range(32):
            colour = list(COLOURS)[place % 4]
            coloured(colour, place).save(source / f"{place}.png")
            row = [f"{colour} cup {place}", colour.upper(), 10.0 * (place % 4 + 1)]
            table.writerow([f"{place}.png", *row])
    output = tmp_path_factory.mktemp("built") / "data"
    build_dataset(
        BuildOptions(
            source=str(source / "cups.csv"), output=str(output), validation_share=0.25, workers=1
        )
    )
    return output


@pytest.fixture(scope="session")
def make():
    """The functions above, for tests: they cannot import this file."""
    return SimpleNamespace(
        picture=coloured,
        predictor=load_predictor,
        rows=colour_rows,
        validation=colour_validation,
        colours=list(COLOURS),
    )
