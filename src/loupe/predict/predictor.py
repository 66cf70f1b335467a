"""Pictures in, parsed answers out: greedy, free-running, in batches."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loupe.options import Decoding, PriceReading
from loupe.task import Answer, Task

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from loupe.predict.grammar import AnswerGrammar
    from loupe.predict.readings import Reading
    from loupe.vlm import Pictures

__all__ = ["Predictor", "pictures_beside", "task_beside"]

TASK_FILE = "task.yaml"
TRAINING_RECORD = "training.json"
CUDA_DTYPE = "bfloat16"  # elsewhere float32: bfloat16 is slow on most CPUs


class Predictor:
    """A model with its processor and its task.

    What a batch answers is what its products would be answered one by one.
    """

    def __init__(self, model: Any, processor: Any, task: Task) -> None:
        self.model = model
        self.processor = processor
        self.task = task

    @classmethod
    def load(
        cls,
        model: str,
        *,
        task: Task | None = None,
        device: str = "auto",
        threads: int | None = None,
    ) -> Predictor:
        """Load a model folder; without `task`, the task.yaml beside the model, else the tutorial's.

        Raises:
            CheckpointError: no model can be loaded from there.
            TaskError: the task file beside the model declares no task.
        """
        import torch

        from loupe.vlm import choose_device, load_model_and_processor

        if threads:
            torch.set_num_threads(threads)
        chosen = choose_device(device)
        loaded, processor = load_model_and_processor(
            model,
            dtype=CUDA_DTYPE if chosen.startswith("cuda") else "float32",
            device=chosen,
        )
        return cls(loaded, processor, task or task_beside(model))

    @cached_property
    def grammar(self) -> AnswerGrammar:
        """The grammar of the task's answers, compiled for the model's tokenizer."""
        from loupe.predict.grammar import AnswerGrammar
        from loupe.vlm import make_dialogue

        end_id = make_dialogue(self.processor, self.task.question).end_id
        return AnswerGrammar(self.task, self.processor.tokenizer, end_id)

    def predict(
        self,
        pictures: Sequence[Pictures],
        *,
        batch_size: int = 16,
        max_new_tokens: int = 96,
        decoding: Decoding = "guided",
        price: PriceReading = "said",
        progress: Callable[[int], None] | None = None,
    ) -> list[Answer]:
        """Answer the task's question about each product: a picture, or several of one product.

        Pictures are of any mode and size; of several the main one comes first.

        Guided decoding writes only what the task can parse, and cuts texts after `max_new_tokens`;
        free decoding writes whatever is likeliest, and breaks off there. With another `price` than
        said, the prices among an answer's values are the median, mean or geometric mean of what the
        model might say after its own words, and `text` stays what it said. `progress` is called
        with the number of products answered since its last call.
        """
        from loupe.predict.generation import generate_texts

        answers: list[Answer] = []
        for start in range(0, len(pictures), batch_size):
            batch = pictures[start : start + batch_size]
            texts = generate_texts(self, batch, max_new_tokens, decoding)
            parsed = [self.task.parse(text) for text in texts]
            answers += parsed if price == "said" else self._read_prices(batch, parsed, price)
            if progress:
                progress(len(batch))
        return answers

    def read(
        self, pictures: Sequence[Pictures], answers: Sequence[Answer], *, batch_size: int = 16
    ) -> list[Reading]:
        """Read how likely a model is to say each price and each choice, given what it answered.

        answers: of these products, prices as they were said.
        """
        from loupe.predict.readings import read_batch

        starts = range(0, len(pictures), batch_size)
        batches = [slice(start, start + batch_size) for start in starts]
        return [each for at in batches for each in read_batch(self, pictures[at], answers[at])]

    def _read_prices(
        self, pictures: Sequence[Pictures], answers: Sequence[Answer], price: PriceReading
    ) -> list[Answer]:
        from loupe.predict.readings import read_batch

        readings = read_batch(self, pictures, answers, choices=False)
        return [each.read(self.task, price) for each in readings]

    def check_pictures(self, most: int) -> None:
        """Refuse a model that cannot be asked about so many pictures of one product.

        Raises:
            CheckpointError: its template or its processor takes fewer at a time.
        """
        from loupe.vlm import check_pictures

        check_pictures(self.processor, self.task.question, most)

    def features(
        self, pictures: Sequence[Image.Image], *, batch_size: int = 16
    ) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Average the model's vision features of each picture: (pictures, width)."""
        import numpy as np

        from loupe.predict.generation import encode_pictures

        starts = range(0, len(pictures), batch_size)
        batches = [encode_pictures(self, pictures[start : start + batch_size]) for start in starts]
        return np.concatenate(batches) if batches else np.zeros((0, 0), np.float32)


def task_beside(model: str) -> Task:
    """Give the task in a model's folder, else the tutorial's."""
    path = Path(model) / TASK_FILE
    return Task.load(path if path.is_file() else None)


def pictures_beside(model: str) -> int | None:
    """Give how many of a product's pictures a model was trained with; None for all."""
    try:
        record = json.loads((Path(model) / TRAINING_RECORD).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return record.get("pictures") if isinstance(record, dict) else None
