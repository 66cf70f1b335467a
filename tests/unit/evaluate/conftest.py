"""A dataset in memory and a predictor that reads colours: pictures are flat squares."""

from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from loupe.options import EvaluateOptions
from loupe.task import Answer, Task

GOODS = {  # what is drawn in this colour is that
    "SHIRTS": ((200, 40, 40), "Red Shirt", "red", 100.0),
    "SCARVES": ((40, 200, 40), "Green <b>Scarf</b>", "green", 250.0),
    "COATS": ((40, 40, 200), "Blue Coat", "blue", 1800.0),
    "BAGS": ((200, 200, 40), "Bag", None, 900.0),
}


@dataclass
class FakeSplit:
    rows: list
    shown: list
    fields: list

    def __len__(self):
        return len(self.rows)

    @property
    def columns(self):
        return list(self.rows[0]) if self.rows else []

    def column(self, name):
        return [row[name] for row in self.rows]

    def row(self, number):
        return self.rows[number]

    def picture(self, number):
        return self.shown[number]

    def pictures(self, number):
        return [self.shown[number]]

    def picture_sizes(self):
        return [(picture.size,) for picture in self.shown]

    def values(self, number):
        return {name: self.rows[number][name] for name in self.fields}


@dataclass
class FakeDataset:
    task: Task
    splits: dict
    path: str = "data"
    info: dict = field(default_factory=lambda: {"fingerprint": "f" * 64})

    def rows(self, split):
        return self.splits[split]


@dataclass
class FakePredictor:
    """Names what is drawn in the nearest colour; grey it does not know."""

    task: Task
    known: list
    looks: bool = True
    processor: object = field(default_factory=SimpleNamespace)
    asked: list = field(default_factory=list)

    def predict(
        self,
        pictures,
        *,
        batch_size=16,
        max_new_tokens=96,
        decoding="guided",
        price="said",
        progress=None,
    ):
        self.asked.append(len(pictures))
        mains = [each[0] if isinstance(each, list) else each for each in pictures]
        answers = [self.answer(main) for main in mains]
        if price == "said":
            return answers
        return [
            replace(answer, values=answer.values and {**answer.values, "full_price": 100.0})
            for answer in answers
        ]

    def answer(self, picture):
        colour = np.asarray(picture, dtype=float).mean(axis=(0, 1))
        if not self.looks:
            return self.task.parse(self.task.format(self.known[0][1]))
        if np.ptp(colour) < 1:
            return Answer("grey", None, "expected 'Product: ' before title, found 'grey'")
        values = min(self.known, key=lambda known: np.abs(known[0] - colour).sum())[1]
        return self.task.parse(self.task.format(values))

    def features(self, pictures, *, batch_size=16):
        return np.stack([np.asarray(p, dtype=np.float32).mean(axis=(0, 1)) for p in pictures])


def make_split(task, count, seed):
    rng = np.random.default_rng(seed)
    names = list(GOODS)
    rows, pictures = [], []
    for number in range(count):
        category = names[number % len(names)]
        colour, title, word, price = GOODS[category]
        price = round(price * float(rng.choice([0.9, 1.0, 1.2])), 1)
        known = {"title": title, "category3_code": category, "full_price": price}
        rows.append(
            {
                "row_id": f"{seed}-{number}",
                "group_id": f"{seed}-{number // 8}",
                **{name: known.get(name, number) for name in task.fields},
                "colour_word": word,
                "best_full_price": GOODS[category][3],
            }
        )
        noisy = np.clip(np.array(colour) + rng.integers(-20, 20, 3), 0, 255)
        pictures.append(Image.new("RGB", (24, 18), tuple(int(value) for value in noisy)))
    return FakeSplit(rows, pictures, list(task.fields))


@pytest.fixture
def task():
    return Task.load()


@pytest.fixture
def make_dataset():
    """Give a function from a task to a dataset of so many train and test rows."""

    def make(task, train=80, test=160):
        splits = {"train": make_split(task, train, 1), "validation": make_split(task, 0, 2)}
        return FakeDataset(task, {**splits, "test": make_split(task, test, 3)})

    return make


@pytest.fixture
def make_predictor():
    """Give a function from a dataset to a predictor that knows its goods."""

    def make(dataset, looks=True):
        train = dataset.rows("train")
        known = []
        for number in range(min(4, len(train))):
            colour = np.asarray(train.picture(number), dtype=float).mean(axis=(0, 1))
            known.append((colour, train.values(number)))
        return FakePredictor(dataset.task, known, looks)

    return make


@pytest.fixture
def options(tmp_path):
    return EvaluateOptions(
        model="model", dataset="data", output=str(tmp_path / "out"), bootstrap=100
    )
