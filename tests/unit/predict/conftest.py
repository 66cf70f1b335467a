"""Pictures, and a reader that answers them without a model."""

import io

import pytest
from PIL import Image

from loupe.predict import engines, run
from loupe.task import Answer, Task

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
    """Answers with the red of the first pixel; notes its batches, and fails where it is told to."""

    task = TASK

    def __init__(self):
        self.batches = []
        self.fails_at = set()
        self.after_batch = lambda: None
        self.processor = ProcessorWithCrops()

    def predict(self, pictures, **_):
        seen = [picture.getpixel((0, 0))[0] for picture in pictures]
        if self.fails_at.intersection(seen):
            raise RuntimeError("CUDA out of memory\nand so on")
        self.batches.append([picture.size for picture in pictures])
        self.after_batch()
        return [Answer(f"red {value}", {"colour": "red", "price": float(value)}) for value in seen]


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
