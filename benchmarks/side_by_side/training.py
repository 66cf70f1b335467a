"""The work that `../train_step.py` gives to every contender: model, 16 samples, stopwatch.

Needs numpy, Pillow and torch alone, because Microsoft's code runs in a Python of its own.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import workload as work
from PIL import Image

SIZES_PX = (
    *[(1000, 1000)] * 5,
    *[(900, 1200)] * 4,
    *[(800, 1200)] * 3,
    *[(1200, 900)] * 2,
    (1400, 700),
    (600, 1500),
)
"""Width and height of 16 product pictures: squares, portraits, some wide, one tall."""

BEFORE_PICTURE = (1, 32010, 29871, 13)  # <s><|user|>, line end
AFTER_PICTURE = (1, 1724, 338, 4318, 297, 445, 1967, 29973, 32007, 32001)  # the question, its end
END = 32007  # <|end|>
IMAGE = 32044  # <|image|>, which is never embedded, so a small vocabulary need not hold it
ANSWER_TOKENS = (22, 34)  # fewest and most, the end not counted; the tutorial's rows have some 25
HEAD_SIZE, TOWER_HEAD_SIZE = 96, 64  # as published: attention costs more in smaller heads
PADDING = 32000
PADDED_TOKENS = 512  # the tutorial's max_length
LEARNING_RATE = 1e-5
MAX_GRADIENT_NORM = 1.0


class Sample(NamedTuple):
    """A picture, and the token ids before it, after it, and of the answer with its end."""

    picture: Image.Image
    before: tuple[int, ...]
    after: tuple[int, ...]
    answer: tuple[int, ...]


def make_samples(count: int, vocabulary: int) -> list[Sample]:
    """Give the samples of one optimizer step, of all sizes in turn; every call the same.

    Ids are the published ones, modulo the vocabulary.
    """
    draw = torch.Generator().manual_seed(0)
    samples = []
    for place in range(count):
        size = SIZES_PX[place * len(SIZES_PX) // count]
        length = int(torch.randint(*ANSWER_TOKENS, (), generator=draw))
        answer = (*torch.randint(3, 32000, (length,), generator=draw).tolist(), END)
        texts = [
            tuple(token % vocabulary for token in text)
            for text in (BEFORE_PICTURE, AFTER_PICTURE, answer)
        ]
        samples.append(Sample(work.draw_picture(*size), *texts))
    return samples


def make_config(shape: dict[str, int]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give the published layout with the numbers in `shape`: of the decoder and of its tower."""
    heads = shape["hidden"] // HEAD_SIZE
    pairs = HEAD_SIZE // 2
    tower = work.TOWER_CONFIG | {
        "hidden_size": shape["tower"],
        "num_attention_heads": shape["tower"] // TOWER_HEAD_SIZE,
        "intermediate_size": 4 * shape["tower"],
        "num_hidden_layers": shape["tower_layers"],
    }
    decoder = work.CONFIG | {
        "vocab_size": shape["vocabulary"],
        "pad_token_id": PADDING % shape["vocabulary"],
        "hidden_size": shape["hidden"],
        "intermediate_size": 8 * shape["hidden"] // 3,  # as published
        "num_hidden_layers": shape["layers"],
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "rope_scaling": {
            "type": "su",
            "short_factor": [1.0 + 0.05 * k for k in range(pairs)],
            "long_factor": [1.0 + 2.0 * k for k in range(pairs)],
        },
        "img_processor": work.CONFIG["img_processor"] | {"image_dim_out": shape["tower"]},
    }
    return decoder, tower


class Stopwatch:
    """Notes wall and processor time, and the most memory held, where steps begin and end.

    No step warms up: a step takes seconds, and what the first one does once, milliseconds.
    """

    def __init__(self) -> None:
        self._stamps: list[tuple[float, float]] = []
        self._peaks_mib: list[float] = []

    def note(self) -> None:
        """A step begins, and the one before it is over."""
        self._peaks_mib.append(work.peak_mib())
        self._stamps.append((time.perf_counter(), time.process_time()))

    def found(self) -> dict[str, Any]:
        """Wall and processor seconds of each step; peaks of memory, before the first and in all."""
        pairs = list(zip(self._stamps, self._stamps[1:], strict=False))
        return {
            "wall": [after[0] - before[0] for before, after in pairs],
            "processor": [after[1] - before[1] for before, after in pairs],
            "peak_mib": self._peaks_mib[-1],
            "before_mib": self._peaks_mib[0],
        }


def take_steps(
    model: Any,
    samples: Sequence[Sample],
    make_inputs: Callable[[Sample], dict[str, Any]],
    steps: int,
    *,
    max_norm: float | None,
) -> dict[str, Any]:
    """Take optimizer steps one sample at a time, the gradients added up, as the scripts do."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.95))
    watch = Stopwatch()
    model.train()
    watch.note()
    for _ in range(steps):
        for sample in samples:
            loss = model(**make_inputs(sample)).loss
            (loss / len(samples)).backward()
        if max_norm is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        optimizer.step()
        optimizer.zero_grad()
        watch.note()
    return watch.found()
