"""A row and its task as token ids: the prompt, which is given, and the answer, which is learnt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from PIL import Image

from loupe import vlm
from loupe.errors import TrainError
from loupe.task import FieldError, Task

__all__ = ["Encoder", "Example", "LeftOut", "PricePlace", "Sample", "Seen"]


Prompt = tuple[tuple[int, ...], dict[str, torch.Tensor]]
"""A prompt's token ids, and what else is told of each token."""


@dataclass(frozen=True)
class PricePlace:
    """Where a price stands in an answer: from `begin` up to `end` of its token ids."""

    field: str
    value: float
    begin: int
    end: int


@dataclass(frozen=True)
class Example:
    """A row as token ids; the loss is on `answer_ids` alone, which end with the end token."""

    row_id: str
    prompt_ids: tuple[int, ...]
    """With one image token for each place of a picture feature."""
    answer_ids: tuple[int, ...]
    answer: str
    prices: tuple[PricePlace, ...] = ()
    prompt_kinds: Mapping[str, torch.Tensor] = field(default_factory=dict, compare=False)
    """What the family tells of each token of the prompt beside its id: (tokens, ...) each."""

    def __len__(self) -> int:
        """Give the number of tokens."""
        return len(self.prompt_ids) + len(self.answer_ids)


@dataclass(frozen=True)
class LeftOut:
    """A row that is not trained on, and why."""

    row_id: str
    reason: str
    """One of `value` and `special_token`."""
    detail: str


class Seen(NamedTuple):
    """What a vision tower saw in one picture."""

    features: torch.Tensor
    """(crops, patches, channels)."""
    image_size: torch.Tensor
    """(2,), height and width in pixels of the grid of crops."""


@dataclass(frozen=True)
class Sample:
    """What a batch is made of: an example and the picture as it is shown this time."""

    example: Example
    picture: Image.Image | Seen
    """The picture, or what the tower saw in it before."""
    key: str | None = None
    """Name of the picture's content, where what is seen in it is kept."""


class Encoder:
    """Turns rows into examples for one processor and task.

    Raises:
        CheckpointError: the processor cannot ask a question.
    """

    def __init__(self, processor: Any, task: Task) -> None:
        self._processor = processor
        self._task = task
        self._dialogue = vlm.make_dialogue(processor, task.question)
        self._bare_prompt_ids = self._tokenize(self._dialogue.prompt)
        self._prompts: dict[tuple[int, int], Prompt] = {}
        added = set(processor.tokenizer.get_added_vocab().values())
        self._reserved = added | set(processor.tokenizer.all_special_ids)

    def encode(
        self, row_id: str, values: Mapping[str, Any], size: tuple[int, int]
    ) -> Example | LeftOut:
        """Encode a row whose picture has this (width, height), in pixels.

        Raises:
            TrainError: the tokenizer melts the prompt's end and the answer's begin together.
        """
        try:
            answer, places = self._task.format_fields(values)
        except FieldError as error:
            return LeftOut(row_id, "value", str(error))
        return self.encode_answer(row_id, answer, size, places)

    def encode_answer(
        self,
        row_id: str,
        answer: str,
        size: tuple[int, int],
        places: Mapping[str, tuple[int, int]] = MappingProxyType({}),
    ) -> Example | LeftOut:
        """Encode an answer as it is said, which need not parse; `places` tells where fields stand.

        Raises:
            TrainError: the tokenizer melts the prompt's end and the answer's begin together.
        """
        answer_ids, spans = self._answer_ids(answer)
        reserved = [token for token in answer_ids[:-1] if token in self._reserved]
        if reserved or answer_ids[-1:] != (self._dialogue.end_id,):
            names = self._processor.tokenizer.convert_ids_to_tokens(reserved or answer_ids[-1:])
            return LeftOut(row_id, "special_token", f"{answer!r} holds {', '.join(names)}")
        prices = tuple(
            PricePlace(name, self._task.fields[name].parse(answer[begin:end]), *tokens)
            for name, (begin, end) in places.items()
            if self._task.fields[name].type == "price"
            and (tokens := self._find_tokens(spans, begin, end))
        )
        prompt_ids, kinds = self._prompt_for(size, answer, answer_ids)
        return Example(row_id, prompt_ids, answer_ids, answer, prices, kinds)

    def _answer_ids(self, answer: str) -> tuple[tuple[int, ...], list[tuple[int, int]]]:
        """Ids that follow the prompt's when both are tokenized together, which is what is asked.

        With them each one's (begin, end) in the whole text; none from a tokenizer that is not
        fast, which cannot tell.
        """
        tokenizer = self._processor.tokenizer
        text = self._dialogue.prompt + answer + self._dialogue.end
        encoded = tokenizer(text, return_offsets_mapping=tokenizer.is_fast)
        whole, prompt = tuple(encoded["input_ids"]), self._bare_prompt_ids
        if whole[: len(prompt)] != prompt:
            raise TrainError(
                f"The tokenizer joins the end of the prompt and the begin of the answer {answer!r} "
                "in one token, so a model asked by the prompt alone could not give it. End the "
                "chat template with a special token or a line end."
            )
        return whole[len(prompt) :], encoded.get("offset_mapping", [])[len(prompt) :]

    def _find_tokens(
        self, spans: Sequence[tuple[int, int]], begin: int, end: int
    ) -> tuple[int, int] | None:
        """Give the places in the answer's ids of the tokens of a piece of its text."""
        before = len(self._dialogue.prompt)
        tokens = [
            place
            for place, (first, last) in enumerate(spans)
            if first < before + end and last > before + begin
        ]
        return (tokens[0], tokens[-1] + 1) if tokens else None

    def _tokenize(self, text: str) -> tuple[int, ...]:
        # Not by the processor: without a picture the tag is plain text, and takes part in neither
        # the prompt's last tokens nor the answer's first.
        return tuple(self._processor.tokenizer(text)["input_ids"])

    def _prompt_for(
        self, size: tuple[int, int], answer: str, answer_ids: tuple[int, ...]
    ) -> Prompt:
        size = vlm.fit_picture_size(self._processor, size) or size
        if size not in self._prompts:
            ids, kinds = self._process(self._dialogue.prompt, size)
            if not self._prompts:
                whole, _ = self._process(self._dialogue.prompt + answer + self._dialogue.end, size)
                self._check_whole(whole, ids + answer_ids)
            self._prompts[size] = ids, kinds
        return self._prompts[size]

    def _process(self, text: str, size: tuple[int, int]) -> Prompt:
        made = self._processor(text=[text], images=[[Image.new("RGB", size)]])
        ids = tuple(int(token) for token in made["input_ids"][0])
        return ids, vlm.token_kinds(self._processor, made)

    def _check_whole(self, whole: tuple[int, ...], parts: tuple[int, ...]) -> None:
        """Refuse processors that write something between prompt and answer, or after it."""
        if whole != parts:
            raise TrainError(
                f"{type(self._processor).__name__} makes other tokens of a prompt with its answer "
                "than of the two apart, so a model would be trained on other texts than it is "
                "asked later. Choose another family."
            )
