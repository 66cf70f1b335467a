"""The model's side of answering: pictures to texts, likeliest or drawn, or to features."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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

__all__ = ["encode_pictures", "generate_texts", "sample_texts"]


def generate_texts(
    predictor: Predictor, pictures: Sequence[vlm.Pictures], max_new_tokens: int, decoding: Decoding
) -> list[str]:
    """Answer one batch of products greedily; a text ends before the token that ends answers."""
    inputs, ends = _ask(predictor, pictures)
    if decoding == "guided":
        with _answering(predictor.model), torch.inference_mode():
            said = decode_answers(predictor.model, inputs, predictor.grammar, max_new_tokens)
    else:
        settings = {"do_sample": False, "num_beams": 1}
        said = _generate(predictor, inputs, ends, max_new_tokens, settings)
    return [_decode(predictor.processor, ids, ends) for ids in said]


def sample_texts(
    predictor: Predictor,
    pictures: Sequence[vlm.Pictures],
    max_new_tokens: int,
    count: int,
    temperature: float,
) -> list[list[str | None]]:
    """Draw so many answers to each product of one batch, freely, by torch's random numbers.

    None stands for an answer that was cut off at `max_new_tokens`.
    """
    inputs, ends = _ask(predictor, pictures)
    settings = {
        "do_sample": True,
        "temperature": temperature,
        "top_k": 0,
        "top_p": 1.0,
        "num_return_sequences": count,
    }
    said = _generate(predictor, inputs, ends, max_new_tokens, settings)
    texts = [
        _decode(predictor.processor, ids, ends) if ends.intersection(ids) else None for ids in said
    ]
    return [texts[start : start + count] for start in range(0, len(texts), count)]


def _ask(predictor: Predictor, pictures: Sequence[vlm.Pictures]) -> tuple[Any, set[int]]:
    """Give the model's inputs for the question about each product, and the ends of answers."""
    processor, question = predictor.processor, predictor.task.question
    dialogue = vlm.make_dialogue(processor, question)
    shown = [[to_srgb(each) for each in vlm.list_pictures(product)] for product in pictures]
    inputs = processor(
        text=vlm.make_prompts(processor, question, [len(each) for each in shown]),
        images=shown,
        padding=True,
        padding_side="left",
        return_tensors="pt",
    ).to(predictor.model.device)
    return inputs, _ending_ids(processor, dialogue)


def _generate(
    predictor: Predictor,
    inputs: Any,
    ends: set[int],
    max_new_tokens: int,
    settings: Mapping[str, Any],
) -> list[list[int]]:
    """Give the new tokens of each answer, written by transformers' own `generate`."""
    with _answering(predictor.model), torch.inference_mode():
        generated = predictor.model.generate(
            **inputs,
            max_new_tokens=max_new_tokens,
            eos_token_id=sorted(ends),
            pad_token_id=predictor.processor.tokenizer.pad_token_id,
            **settings,
        )
    said: list[list[int]] = generated[:, inputs["input_ids"].shape[1] :].tolist()
    return said


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
