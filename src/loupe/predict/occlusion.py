"""Which part of a picture decided: how much less likely an answer is where a patch hides a part.

Source: Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", 2014, section
4.2, https://arxiv.org/abs/1311.2901; the weights are randomised as in Adebayo et al., "Sanity
Checks for Saliency Maps", 2018, section 3, https://arxiv.org/abs/1810.03292.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from loupe import vlm
from loupe.errors import PredictError
from loupe.pixels import to_srgb

if TYPE_CHECKING:
    from loupe.predict.predictor import Predictor

__all__ = ["CELLS", "occlude", "occlusion_maps", "randomised_weights"]

CELLS = 10  # of a map, along each side of the picture
PATCH_CELLS = 2  # along each side of a patch
GREY = (128, 128, 128)

Floats = np.ndarray[Any, np.dtype[np.float64]]


def occlusion_maps(
    predictor: Predictor, picture: vlm.Pictures, values: Mapping[str, Any], *, batch_size: int = 16
) -> dict[str, Floats]:
    """Give for each field by how much hiding each part of the picture makes the answer less likely.

    A grey patch slides over the picture; each time all tokens of the answer are scored in one
    forward pass, given those before them. A cell has the mean over the patches that hide it.

    Args:
        predictor: of the model whose answer it is.
        picture: of any size; of several of a product the first is hidden in parts, the others stay.
        values: the answer's fields.
        batch_size: patches per forward pass.

    Returns:
        (CELLS, CELLS) for each field, from the top left: the drop of the log probability of the
        field's tokens, in nats; below 0 where hiding the part makes the answer likelier.

    Raises:
        PredictError: the tokenizer cannot tell where a field's tokens stand.
    """
    main, *others = (to_srgb(each) for each in vlm.list_pictures(picture))
    forced = _ForcedAnswer(predictor, values, 1 + len(others))
    hidden = (occlude(main, cell) for cell in _patches())
    pictures = [[main, *others], *([each, *others] for each in hidden)]
    starts = range(0, len(pictures), batch_size)
    scored = [forced.score(pictures[start : start + batch_size]) for start in starts]
    likelihoods = np.concatenate(scored)  # (1 + patches, fields)
    drops = likelihoods[0] - likelihoods[1:]
    return {field: _spread(drops[:, place]) for place, field in enumerate(forced.fields)}


def occlude(picture: Image.Image, cell: tuple[int, int]) -> Image.Image:
    """Give a copy with a grey patch whose top left cell is this (row, column)."""
    row, column = cell
    left, right = (round(picture.width * at / CELLS) for at in (column, column + PATCH_CELLS))
    top, bottom = (round(picture.height * at / CELLS) for at in (row, row + PATCH_CELLS))
    hidden = picture.copy()
    hidden.paste(GREY, (left, top, right, bottom))
    return hidden


@contextmanager
def randomised_weights(model: Any, seed: int) -> Iterator[None]:
    """Put random numbers in place of what a model has learnt, for a while.

    Each weight matrix or vector gets numbers of its own mean and spread, so that what is left is
    the architecture alone. The weights are kept in main memory meanwhile.
    """
    generator = torch.Generator().manual_seed(seed)
    learnt = [each for each in model.parameters() if each.is_floating_point()]
    kept = [each.detach().to("cpu", copy=True) for each in learnt]
    try:
        with torch.no_grad():
            for each in learnt:
                spread = each.float().std(correction=0).cpu()
                drawn = torch.randn(each.shape, generator=generator) * spread
                each.copy_(drawn + each.float().mean().cpu())
        yield
    finally:
        with torch.no_grad():
            for each, before in zip(learnt, kept, strict=True):
                each.copy_(before)


class _ForcedAnswer:
    """An answer whose tokens are given to the model, and scored field by field."""

    def __init__(self, predictor: Predictor, values: Mapping[str, Any], pictures: int = 1) -> None:
        self._predictor = predictor
        processor = predictor.processor
        dialogue = vlm.make_dialogue(processor, predictor.task.question, pictures)
        answer, places = predictor.task.format_fields(values)
        if not processor.tokenizer.is_fast:
            raise PredictError(
                "Maps need a fast tokenizer, which tells where a field's tokens stand, and the "
                f"model's is a {type(processor.tokenizer).__name__}. Leave maps out."
            )
        self._text = dialogue.prompt + answer + dialogue.end
        encoded = processor.tokenizer(self._text, return_offsets_mapping=True)
        begin = len(processor.tokenizer(dialogue.prompt)["input_ids"])
        self._ids = torch.tensor(encoded["input_ids"][begin:])  # of the answer
        spans = [
            (first - len(dialogue.prompt), last - len(dialogue.prompt))
            for first, last in encoded["offset_mapping"][begin:]
        ]
        self.fields = tuple(places)
        self._is_of_field = torch.tensor(
            [[f < end and last > start for f, last in spans] for start, end in places.values()]
        )  # (fields, answer tokens)

    @torch.inference_mode()
    def score(self, pictures: Sequence[vlm.Pictures]) -> Floats:
        """Give the log probability of each field with each picture, or set: (pictures, fields)."""
        model, processor = self._predictor.model, self._predictor.processor
        inputs = processor(
            text=[self._text] * len(pictures),
            images=[vlm.list_pictures(each) for each in pictures],
            padding=True,
            padding_side="left",
            return_tensors="pt",
        ).to(model.device)
        count = len(self._ids)
        if not torch.equal(inputs["input_ids"][0, -count:].cpu(), self._ids):
            raise PredictError(
                f"{type(processor).__name__} makes other tokens of an answer than its tokenizer "
                "does, so it is not known where a field's tokens stand. Leave maps out."
            )
        logits = model(**inputs, logits_to_keep=count + 1).logits[:, :-1]  # the one before tells
        shares = logits.float().log_softmax(dim=-1)
        of_tokens = shares.gather(2, inputs["input_ids"][:, -count:, None])[..., 0].cpu().double()
        scores: Floats = (of_tokens @ self._is_of_field.double().T).numpy()
        return scores


def _patches() -> Iterator[tuple[int, int]]:
    """Give the top left cell of each patch, as (row, column)."""
    last = CELLS - PATCH_CELLS + 1
    for row in range(last):
        for column in range(last):
            yield row, column


def _spread(drops: Floats) -> Floats:
    """Average over each cell the drops of the patches that hide it: (CELLS, CELLS)."""
    total, count = np.zeros((CELLS, CELLS)), np.zeros((CELLS, CELLS))
    for (row, column), drop in zip(_patches(), drops, strict=True):
        hidden = slice(row, row + PATCH_CELLS), slice(column, column + PATCH_CELLS)
        total[hidden] += drop
        count[hidden] += 1
    return total / count
