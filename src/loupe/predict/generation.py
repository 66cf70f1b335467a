"""The model's side of answering: one batch of pictures to texts, or to vision features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from loupe import vlm
from loupe.options import Decoding
from loupe.pixels import to_srgb
from loupe.predict.grammar import decode_answers

if TYPE_CHECKING:
    from loupe.predict.predictor import Predictor

__all__ = ["encode_pictures", "generate_texts"]


def generate_texts(
    predictor: Predictor, pictures: Sequence[Image.Image], max_new_tokens: int, decoding: Decoding
) -> list[str]:
    """Answer one batch greedily; a text ends before the token that ends answers."""
    model, processor = predictor.model, predictor.processor
    dialogue = vlm.make_dialogue(processor, predictor.task.question)
    inputs = processor(
        text=[dialogue.prompt] * len(pictures),
        images=[[to_srgb(picture)] for picture in pictures],
        padding=True,
        padding_side="left",
        return_tensors="pt",
    ).to(model.device)
    ends = _ending_ids(processor, dialogue)
    with _answering(model), torch.inference_mode():
        if decoding == "guided":
            said = decode_answers(model, inputs, predictor.grammar, max_new_tokens)
        else:
            generated = model.generate(
                **inputs,
                max_new_tokens=max_new_tokens,
                do_sample=False,
                num_beams=1,
                eos_token_id=sorted(ends),
                pad_token_id=processor.tokenizer.pad_token_id,
            )
            said = generated[:, inputs["input_ids"].shape[1] :].tolist()  # (pictures, new tokens)
    return [_decode(processor, ids, ends) for ids in said]


def encode_pictures(
    predictor: Predictor, pictures: Sequence[Image.Image]
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Average the vision features of each picture of one batch: (pictures, width)."""
    shown = [to_srgb(picture) for picture in pictures]
    with _answering(predictor.model), torch.inference_mode():
        features = vlm.pool_image_features(predictor.model, predictor.processor, shown)
    array: np.ndarray[Any, np.dtype[np.float32]] = features.float().cpu().numpy()
    return array


def _ending_ids(processor: Any, dialogue: vlm.Dialogue) -> set[int]:
    tokenizer = processor.tokenizer
    ends = {dialogue.end_id, tokenizer.eos_token_id, tokenizer.pad_token_id}
    return {int(end) for end in ends if end is not None}


def _decode(processor: Any, ids: Sequence[int], ends: set[int]) -> str:
    """Decode up to the first end; other special tokens stay visible, so that they do not parse."""
    length = next((place for place, token in enumerate(ids) if token in ends), len(ids))
    text: str = processor.tokenizer.decode(
        ids[:length], skip_special_tokens=False, clean_up_tokenization_spaces=False
    )
    return text.strip()


@contextmanager
def _answering(model: Any) -> Iterator[None]:
    """Put a model that may be in training into evaluation for a while."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
