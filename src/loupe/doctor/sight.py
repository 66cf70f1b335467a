"""Whether a model looks: the same question about unlike pictures, about grey, about another's.

A blind model gives the very same numbers whatever it is shown: the pictures have one size, so that
the arithmetic is the same, and no tolerance has to tell rounding from sight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from loupe import vlm
from loupe.doctor.findings import Finding
from loupe.doctor.pictures import draw_grey, draw_pictures

if TYPE_CHECKING:
    from PIL import Image

    from loupe.predict import Predictor

__all__ = ["Sight", "examine_sight", "measure_sight"]

ANSWER_TOKENS = 24
OTHERS_SIDE_PX = 336  # of what other families than Phi-3-Vision are shown; their processors resize
NEGLIGIBLE = 1e-4  # of the logits' own spread: what a GPU's changing order of sums may do


@dataclass(frozen=True)
class Sight:
    """How next-token logits and greedy answers change with the picture.

    Differences are the largest of a picture, averaged over pictures, in standard deviations of
    the logits.
    """

    pictures: int
    logits_to_grey: float
    logits_to_shuffled: float
    answers_unlike_grey: int
    """Pictures answered otherwise than grey."""
    answers_unlike_shuffled: int
    """Pictures answered otherwise than the next picture."""
    is_finite: bool


def measure_sight(predictor: Predictor) -> Sight:
    """Ask the predictor's question about the drawn pictures, about grey and about the next one."""
    config = vlm.underlying_model(predictor.model).config
    side = int(getattr(config, "crop_size", OTHERS_SIDE_PX))
    pictures = draw_pictures(side)
    shown = [*pictures, draw_grey(side)]
    logits = torch.stack([_next_logits(predictor, picture) for picture in shown])  # (pictures, ids)
    own, grey = logits[:-1], logits[-1]
    texts = [
        answer.text
        for answer in predictor.predict(
            shown, batch_size=1, max_new_tokens=ANSWER_TOKENS, decoding="free"
        )
    ]
    return Sight(
        pictures=len(pictures),
        logits_to_grey=_difference(own, grey.expand_as(own)),
        logits_to_shuffled=_difference(own, own.roll(-1, dims=0)),
        answers_unlike_grey=sum(text != texts[-1] for text in texts[:-1]),
        answers_unlike_shuffled=_count_unlike(texts[:-1]),
        is_finite=bool(logits.isfinite().all()),
    )


def examine_sight(sight: Sight) -> Finding:
    """Say in words what was measured."""
    if not sight.is_finite:
        what = "The next-token logits hold NaN or infinite numbers, so nothing can be answered."
        cure = "See the weights; load in bf16 or fp32, not fp16."
        return Finding("sight", "wrong", what, cure)
    if max(sight.logits_to_grey, sight.logits_to_shuffled) <= NEGLIGIBLE:
        return Finding(
            "sight",
            "wrong",
            f"The model is blind: {sight.pictures} unlike pictures and a grey one give the same "
            "next-token logits and the same answers. Its forward never uses the picture.",
            "See the weights of tower and projection. Where they are whole, the code that runs "
            "the model drops pixel_values or image_sizes.",
        )
    unlike_grey, unlike_next = sight.answers_unlike_grey, sight.answers_unlike_shuffled
    told = (
        f"next-token logits move by {sight.logits_to_grey:.2g} standard deviations against a grey "
        f"picture and by {sight.logits_to_shuffled:.2g} against another one; {unlike_grey} and "
        f"{unlike_next} of {sight.pictures} answers differ"
    )
    if not unlike_next:
        return Finding(
            "sight",
            "note",
            f"The picture reaches the model but does not change what it says: {told}.",
            "It may have learnt to answer without looking: compare it with its twins by "
            "`loupe evaluate`.",
        )
    return Finding("sight", "well", f"The model looks: {told}.")


def _next_logits(predictor: Predictor, picture: Image.Image) -> torch.Tensor:
    """Give the logits (vocabulary,) of an answer's first token, in float32."""
    dialogue = vlm.make_dialogue(predictor.processor, predictor.task.question)
    inputs = predictor.processor(text=[dialogue.prompt], images=[[picture]], return_tensors="pt")
    with torch.inference_mode():
        outputs = predictor.model(**inputs.to(predictor.model.device), logits_to_keep=1)
    logits: torch.Tensor = outputs.logits[0, -1].float().cpu()
    return logits


def _difference(logits: torch.Tensor, others: torch.Tensor) -> float:
    """Give the largest difference of each row of (pictures, ids), averaged, by the spread."""
    spread = logits.std(dim=1).clamp(min=torch.finfo(logits.dtype).tiny)
    return float(((logits - others).abs().amax(dim=1) / spread).mean())


def _count_unlike(texts: Sequence[str]) -> int:
    following = [*texts[1:], *texts[:1]]
    return sum(one != other for one, other in zip(texts, following, strict=True))
