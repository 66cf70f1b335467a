"""Pictures, and a reader that answers them without a model."""

import io

import pytest
from PIL import Image

from loupe.errors import CheckpointError
from loupe.predict import engines, run
from loupe.task import Answer, Task
from loupe.vlm import list_pictures

TASK = Task.from_dict(
    {
        "question": "Which colour?",
        "answer": "{colour} {price}",
        "fields": {"colour": {"type": "text"}, "price": {"type": "number", "decimals": 1}},
    }
)


def draw(seed, size=(40, 32)):
    return Image.new("RGB", size, (seed % 256, 40, 90))


def encode(picture, kind="PNG"):
    buffer = io.BytesIO()
    picture.save(buffer, kind)
    return buffer.getvalue()


def write_pictures(folder, count, broken=()):
    folder.mkdir(parents=True, exist_ok=True)
    for place in range(count):
        content = b"\xff\xd8\xff nothing" if place in broken else encode(draw(place))
        (folder / f"{place:04}.png").write_bytes(content)
    return folder


class Colours:
    """Answers with the red of the pictures' first pixels; notes batches, fails where told to."""

    task = TASK

    def __init__(self):
        self.batches = []
        self.fails_at = set()
        self.takes = 3
        self.after_batch = lambda: None
        self.processor = ProcessorWithCrops()

    def predict(self, pictures, **_):
        products = [list_pictures(product) for product in pictures]
        seen = [sum(each.getpixel((0, 0))[0] for each in product) for product in products]
        if self.fails_at.intersection(seen):
            raise RuntimeError("CUDA out of memory\nand so on")
        self.batches.append([product[0].size for product in products])
        self.after_batch()
        return [Answer(f"red {value}", {"colour": "red", "price": float(value)}) for value in seen]

    def check_pictures(self, most):
        if most > self.takes:
            raise CheckpointError(f"takes no {most} pictures at a time")


class ProcessorWithCrops:
    """Counts a token for each 10x10 px, as a Phi-3-Vision processor counts its own."""

    class image_processor:  # noqa: N801 - stands for an instance
        @staticmethod
        def count_image_tokens(height, width):
            return height * width // 100

    @staticmethod
    def tokenizer(text):
        return {"input_ids": list(range(4))}


@pytest.fixture
def colours(monkeypatch):
    """The reader that `predict_pictures` gets in place of a model."""
    reader = Colours()
    monkeypatch.setattr(engines, "load_predictor", lambda options: reader)
    monkeypatch.setattr(run, "fingerprint_model", lambda model: model)
    monkeypatch.setattr("loupe.vlm.make_dialogue", lambda *_: type("D", (), {"prompt": "?"}))
    return reader
