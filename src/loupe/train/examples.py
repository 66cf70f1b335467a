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


Size = tuple[int, int]
"""Of a picture: (width, height), in pixels."""
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
    """What a batch is made of: an example and its pictures as they are shown this time."""

    example: Example
    pictures: Sequence[Image.Image | Seen]
    """The pictures, the main one first, or what the tower saw in them before."""
    keys: Sequence[str] | None = None
    """Names of the pictures' contents, where what is seen in them is kept."""


class Encoder:
    """Turns rows into examples for one processor and task.

    Raises:
        CheckpointError: the processor cannot ask a question.
    """

    def __init__(self, processor: Any, task: Task) -> None:
        self._processor = processor
        self._task = task
        self._dialogue = vlm.make_dialogue(processor, task.question)
        self._asked: dict[int, tuple[str, tuple[int, ...]]] = {}
        self._prompts: dict[tuple[object, ...], Prompt] = {}
        added = set(processor.tokenizer.get_added_vocab().values())
        self._reserved = added | set(processor.tokenizer.all_special_ids)

    def encode(
        self, row_id: str, values: Mapping[str, Any], sizes: Sequence[Size]
    ) -> Example | LeftOut:
        """Encode a row whose pictures, the main one first, have these sizes.

        Raises:
            TrainError: the tokenizer melts the prompt's end and the answer's begin together.
        """
        try:
            answer, places = self._task.format_fields(values)
        except FieldError as error:
            return LeftOut(row_id, "value", str(error))
        return self.encode_answer(row_id, answer, sizes, places)

    def encode_answer(
        self,
        row_id: str,
        answer: str,
        sizes: Sequence[Size],
        places: Mapping[str, tuple[int, int]] = MappingProxyType({}),
    ) -> Example | LeftOut:
        """Encode an answer as it is said, which need not parse; `places` tells where fields stand.

        Raises:
            TrainError: the tokenizer melts the prompt's end and the answer's begin together.
        """
        prompt, _ = self._ask(len(sizes))
        answer_ids, spans = self._answer_ids(answer, len(sizes))
        reserved = [token for token in answer_ids[:-1] if token in self._reserved]
        if reserved or answer_ids[-1:] != (self._dialogue.end_id,):
            names = self._processor.tokenizer.convert_ids_to_tokens(reserved or answer_ids[-1:])
            return LeftOut(row_id, "special_token", f"{answer!r} holds {', '.join(names)}")
        prices = tuple(
            PricePlace(name, self._task.fields[name].parse(answer[begin:end]), *tokens)
            for name, (begin, end) in places.items()
            if self._task.fields[name].type == "price"
            and (tokens := _find_tokens(spans, len(prompt) + begin, len(prompt) + end))
        )
        prompt_ids, kinds = self._prompt_for(sizes, answer, answer_ids)
        return Example(row_id, prompt_ids, answer_ids, answer, prices, kinds)

    def _ask(self, pictures: int) -> tuple[str, tuple[int, ...]]:
        """Give the prompt about so many pictures, and its ids with its signs for them as text."""
        if pictures not in self._asked:
            dialogue = vlm.make_dialogue(self._processor, self._task.question, pictures)
            self._asked[pictures] = dialogue.prompt, self._tokenize(dialogue.prompt)
        return self._asked[pictures]

    def _answer_ids(
        self, answer: str, pictures: int
    ) -> tuple[tuple[int, ...], list[tuple[int, int]]]:
        """Ids that follow the prompt's when both are tokenized together, which is what is asked.

        With them each one's (begin, end) in the whole text; none from a tokenizer that is not
        fast, which cannot tell.
        """
        tokenizer = self._processor.tokenizer
        text, prompt = self._ask(pictures)
        text += answer + self._dialogue.end
        encoded = tokenizer(text, return_offsets_mapping=tokenizer.is_fast)
        whole = tuple(encoded["input_ids"])
        if whole[: len(prompt)] != prompt:
            raise TrainError(
                f"The tokenizer joins the end of the prompt and the begin of the answer {answer!r} "
                "in one token, so a model asked by the prompt alone could not give it. End the "
                "chat template with a special token or a line end."
            )
        return whole[len(prompt) :], encoded.get("offset_mapping", [])[len(prompt) :]

    def _tokenize(self, text: str) -> tuple[int, ...]:
        # Not by the processor: without a picture the tag is plain text, and takes part in neither
        # the prompt's last tokens nor the answer's first.
        return tuple(self._processor.tokenizer(text)["input_ids"])

    def _prompt_for(
        self, sizes: Sequence[Size], answer: str, answer_ids: tuple[int, ...]
    ) -> Prompt:
        # By tokens where they can be counted: pictures of many sizes then share few prompts.
        key = tuple(vlm.count_picture_tokens(self._processor, size) or size for size in sizes)
        if key not in self._prompts:
            prompt, _ = self._ask(len(sizes))
            ids, kinds = self._process(prompt, sizes)
            if not self._prompts:
                whole, _ = self._process(prompt + answer + self._dialogue.end, sizes)
                self._check_whole(whole, ids + answer_ids)
            self._prompts[key] = ids, kinds
        return self._prompts[key]

    def _process(self, text: str, sizes: Sequence[Size]) -> Prompt:
        fitted = [vlm.fit_picture_size(self._processor, size) or size for size in sizes]
        made = self._processor(text=[text], images=[[Image.new("RGB", size) for size in fitted]])
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


def _find_tokens(spans: Sequence[tuple[int, int]], begin: int, end: int) -> tuple[int, int] | None:
    """Give the places in an answer's ids of the tokens of a piece of the whole text."""
    tokens = [place for place, (first, last) in enumerate(spans) if first < end and last > begin]
    return (tokens[0], tokens[-1] + 1) if tokens else None
