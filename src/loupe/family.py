"""What differs from family to family: how it is asked, its inputs, its parts, where it has logits.

Phi-3-Vision is asked by the published prompt, every other family by its own chat template. `vlm` is
the door to all of this.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any

import jinja2
import torch
from PIL import Image

from loupe.errors import CheckpointError
from loupe.phi3_v import Phi3VProcessor
from loupe.phi3_v.image_processing_phi3_v import fit_to_crops
from loupe.phi3_v.loss_phi3_v import IGNORED_LABEL, score_labels, share_labels

__all__ = [
    "IGNORED_LABEL",
    "PARTS",
    "PHI3_V_END",
    "Dialogue",
    "Pictures",
    "answer_loss",
    "check_pictures",
    "count_picture_tokens",
    "fit_picture_size",
    "has_answer_loss",
    "list_pictures",
    "make_dialogue",
    "make_prompts",
    "part_of",
    "pool_image_features",
    "prepare_pictures",
    "set_answers_apart",
    "token_kinds",
    "underlying_model",
]

Pictures = Image.Image | Sequence[Image.Image]
"""One product's picture, or its pictures, the main one first."""
PHI3_V_PROMPT = "<|user|>\n{pictures}{question}<|end|><|assistant|>\n"
PHI3_V_END = "<|end|>"
BLANK_SIZE_PX = 64, 64
CURE_FOR_ONE = (
    "Choose another family, or show one picture of each product (--pictures "
    "1; predict: --max-pictures 1)."
)
ANSWER = "An answer."  # stands for any where a template is looked at
PARTS = {  # the first whose pattern a parameter's name holds is its part
    "tower": r"img_processor|(?:vision|image|video|audio)_(?:tower|model|encoder)"
    r"|visual\.(?!\w*merger)",
    "projection": r"img_projection|glb_GN|sub_GN|projector|projection|connector|merger|aligner"
    r"|image_newline|view_separator",
    "embeddings": r"embed_tokens|wte",
    "head": r"lm_head",
    "decoder": r"",
}


@dataclass(frozen=True)
class Dialogue:
    """How a model is asked one question about a product's pictures, and how its answer ends."""

    prompt: str
    """Text up to where the answer begins, with the family's own sign for each picture."""
    end: str
    """The token that ends an answer."""
    end_id: int


def make_dialogue(processor: Any, question: str, pictures: int = 1) -> Dialogue:
    """Word the question as the processor's family is asked about so many pictures of one product.

    Raises:
        CheckpointError: the processor has no chat template that asks about so many pictures, or no
            token that ends an answer.
    """
    tokenizer = processor.tokenizer
    prompt, end = (
        (PHI3_V_PROMPT.format(pictures=_tag_pictures(pictures), question=question), PHI3_V_END)
        if isinstance(processor, Phi3VProcessor)
        else _ask_by_template(processor, question, pictures)
    )
    end_id = None if end is None else tokenizer.convert_tokens_to_ids(end)
    if end is None or end_id is None or end_id == tokenizer.unk_token_id:
        raise CheckpointError(
            f"The tokenizer has no token {end!r}, which ends an answer. Add it as a special token."
        )
    return Dialogue(prompt, end, int(end_id))


def make_prompts(processor: Any, question: str, counts: Sequence[int]) -> list[str]:
    """Word the question once for each product, which has so many pictures."""
    prompts = {count: make_dialogue(processor, question, count).prompt for count in set(counts)}
    return [prompts[count] for count in counts]


def list_pictures(pictures: Pictures) -> list[Image.Image]:
    """Give a product's pictures as a list, the main one first."""
    return list(pictures) if isinstance(pictures, Sequence) else [pictures]


def check_pictures(processor: Any, question: str, most: int) -> None:
    """Refuse a family that cannot be asked about as many pictures of one product, or fewer.

    Raises:
        CheckpointError: its template or its processor takes fewer at a time.
    """
    if isinstance(processor, Phi3VProcessor):
        return  # takes any number
    for count in range(2, most + 1):
        dialogue = make_dialogue(processor, question, count)
        blanks = [Image.new("RGB", BLANK_SIZE_PX) for _ in range(count)]
        try:
            processor(text=[dialogue.prompt], images=[blanks], return_tensors="pt")
        except (ValueError, TypeError, IndexError, RuntimeError) as error:
            why = (str(error).splitlines() or [type(error).__name__])[0]
            raise CheckpointError(
                f"{type(processor).__name__} takes no {count} pictures at a time ({why}). "
                f"{CURE_FOR_ONE}"
            ) from error


def prepare_pictures(processor: Any, pictures: Sequence[Pictures]) -> dict[str, torch.Tensor]:
    """Turn the pictures of samples, one or several of each, into the model's picture inputs.

    For Phi-3-V: `pixel_values` (images, 1 + crops, 3, side, side), no more crops than the largest
    picture needs, and `image_sizes` (images, 2).
    """
    image_processor = processor.image_processor
    shown = [list_pictures(each) for each in pictures]
    if isinstance(processor, Phi3VProcessor):
        made = image_processor(shown, return_tensors="pt", pad_to_num_crops=False)
    else:  # by the processor, which has settings of its own for its image processor
        # Gemma 3 writes a text of its own, as long as there are pictures.
        made = processor(images=shown, padding=True, return_tensors="pt")
    return {name: made[name] for name in image_processor.model_input_names if name in made}


def token_kinds(processor: Any, made: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Take from what a processor made of one sample what it tells of each token beside its id.

    Such as `token_type_ids`, where picture and text differ: (tokens, ...) each. What follows a
    prompt is of the kind of its last token, as in transformers' `generate`.
    """
    others = {"input_ids", "attention_mask", *processor.image_processor.model_input_names}
    return {name: torch.as_tensor(made[name][0]) for name in made if name not in others}


def fit_picture_size(processor: Any, size: tuple[int, int]) -> tuple[int, int] | None:
    """Give the (width, height) to which the processor will resize a picture of this size.

    A picture resized to it beforehand gives the same inputs. None means that the family's way is
    not known here.
    """
    if not isinstance(processor, Phi3VProcessor):
        return None
    width, height = size
    image_processor = processor.image_processor
    fit = fit_to_crops(height, width, image_processor.num_crops, image_processor.crop_size)
    return fit.width, fit.height


def count_picture_tokens(processor: Any, size: tuple[int, int]) -> int | None:
    """Count the places in a prompt of a picture of this (width, height); None where not known."""
    if not isinstance(processor, Phi3VProcessor):
        return None
    width, height = size
    return int(processor.image_processor.count_image_tokens(height, width))


def pool_image_features(
    model: Any, processor: Any, pictures: Sequence[Image.Image]
) -> torch.Tensor:
    """Average the vision features of each picture: (pictures, width), float32."""
    features = _image_features(model, processor, pictures)
    if len(features) == len(pictures):
        means = [feature.flatten(0, -2).float().mean(dim=0) for feature in features]
    else:  # one for each tile, and no telling whose it is
        alone = [_image_features(model, processor, [picture]) for picture in pictures]
        means = [torch.cat([*tiles]).flatten(0, -2).float().mean(dim=0) for tiles in alone]
    return torch.stack(means)


def underlying_model(model: Any) -> Any:
    """Take off peft's wrapper where there is one."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def part_of(name: str) -> str:
    """Give the part of a model to which a module or parameter belongs, by its full name.

    An adapter belongs to the part that it adapts.
    """
    return next(part for part, pattern in PARTS.items() if re.search(pattern, name))


def has_answer_loss(model: Any) -> bool:
    """Tell whether a model's own loss takes soft labels, and logits where labels are alone."""
    return "label_weights" in signature(underlying_model(model).forward).parameters


def set_answers_apart(
    model: Any, batch: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part a batch into a forward's inputs and the labels that `answer_loss` takes.

    Where the family can leave logits out, there are none before the first token that is scored.
    """
    inputs = {name: value for name, value in batch.items() if not name.startswith("label")}
    labels = {name: value for name, value in batch.items() if name.startswith("label")}
    if "logits_to_keep" in signature(underlying_model(model).forward).parameters:
        is_scored = (labels["labels"] != IGNORED_LABEL).any(dim=0).tolist()  # (tokens)
        before = is_scored.index(True) if True in is_scored else len(is_scored)
        kept = len(is_scored) - max(before - 1, 0)  # the token before tells the first
        inputs["logits_to_keep"] = kept
        labels = {
            name: value[:, -kept:] if isinstance(value, torch.Tensor) else value
            for name, value in labels.items()
        }
    return inputs, labels


def answer_loss(
    outputs: Any,
    labels: Mapping[str, Any],
    num_items_in_batch: int | torch.Tensor | None = None,
) -> torch.Tensor:
    """Score a forward's logits by the labels set apart, as Phi-3-Vision's own loss does.

    The sum is divided by `num_items_in_batch`, or by the number of scored positions.
    """
    shares = share_labels(
        labels["labels"],
        labels.get("label_choices"),
        labels.get("label_weights"),
        labels.get("label_smoothing", 0.0),
    )
    logits = outputs["logits"]
    return score_labels(
        torch.nn.Identity(), logits, labels["labels"], logits.numel(), num_items_in_batch, shares
    )


def _image_features(model: Any, processor: Any, pictures: Sequence[Image.Image]) -> Any:
    inputs = prepare_pictures(processor, pictures)
    inputs = {name: value.to(model.device) for name, value in inputs.items()}
    features = underlying_model(model).get_image_features(**inputs)
    return getattr(features, "pooler_output", features)  # some families wrap the tensors


def _tag_pictures(count: int) -> str:
    """Write the signs of pictures as published: Phi-3.5-Vision's, of several, each on its line."""
    if count == 1:
        return "<|image_1|>"
    return "".join(f"<|image_{number}|>\n" for number in range(1, count + 1))


def _ask_by_template(processor: Any, question: str, pictures: int) -> tuple[str, str | None]:
    """Give the prompt that a chat template writes, and the token that ends an answer by it.

    That is the first special token that the template writes after an answer; where it writes none,
    the tokenizer's end of text.
    """
    tokenizer = processor.tokenizer
    asked = {
        "role": "user",
        "content": [*[{"type": "image"}] * pictures, {"type": "text", "text": question}],
    }
    answered = {"role": "assistant", "content": [{"type": "text", "text": ANSWER}]}
    try:
        prompt = processor.apply_chat_template([asked], add_generation_prompt=True)
        whole = processor.apply_chat_template([asked, answered])
    except (ValueError, AttributeError, TypeError, jinja2.TemplateError) as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"{type(processor).__name__} has no chat template that can be used ({why}), so it is "
            "not known how to ask. Put its family's chat_template.jinja beside the checkpoint."
        ) from error
    sign = getattr(processor, "image_token", "")
    if sign not in prompt:
        raise CheckpointError(
            f"The chat template of {type(processor).__name__} writes no {sign!r}, where a picture "
            "goes. Put its family's chat_template.jinja beside the checkpoint."
        )
    if sign and (written := prompt.count(sign)) < pictures:
        raise CheckpointError(
            f"The chat template of {type(processor).__name__} writes {written} {sign!r} for "
            f"{pictures} pictures. {CURE_FOR_ONE}"
        )
    special = {*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()}
    after = tokenizer.tokenize(whole.rpartition(ANSWER)[2])
    end = next((token for token in after if token in special), tokenizer.eos_token)
    begin = tokenizer.bos_token
    if begin and tokenizer("")["input_ids"] == [tokenizer.bos_token_id]:
        prompt = prompt.removeprefix(begin)  # the tokenizer writes it as well
    return prompt, end
