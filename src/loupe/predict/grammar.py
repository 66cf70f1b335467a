"""Answers that always parse: each next token is chosen among those that the task's grammar allows.

What the grammar leaves no choice about, such as the words between fields, is not decoded token by
token: it enters the cache with the token before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from loupe.errors import PredictError

if TYPE_CHECKING:
    from loupe.task import Task

__all__ = ["AnswerGrammar", "decode_answers"]

_CUTS = ("…", "...", "-")  # what ends a text that was cut: the first that the vocabulary can write

Logits = np.ndarray[Any, np.dtype[np.float32]]


class AnswerGrammar:
    """The grammar of a task's answers, compiled for a tokenizer.

    Args:
        task: what answers look like.
        tokenizer: a fast one.
        end_id: the token that ends an answer.

    Raises:
        PredictError: the tokenizer is not a fast one.
    """

    def __init__(self, task: Task, tokenizer: Any, end_id: int) -> None:
        from llguidance import LLMatcher, hf

        self.task = task
        self.end_id = end_id
        self.vocabulary = len(tokenizer)
        try:
            self._tokenizer = hf.from_tokenizer(tokenizer, self.vocabulary, eos_token=end_id)
        except ValueError as error:
            raise PredictError(
                f"The grammar needs a fast tokenizer, and the model's is a "
                f"{type(tokenizer).__name__}. Use --decoding free."
            ) from error
        self._matcher = LLMatcher(self._tokenizer, task.grammar())
        if self._matcher.is_error():
            raise PredictError(
                f"The task's grammar cannot be used ({self._matcher.get_error()}). Use --decoding "
                "free."
            )

        writable = (cut for cut in _CUTS if self.decode(self.tokenize(cut)).strip() == cut)
        self.cut = next(writable, "")

    def begin(self, most_tokens: int) -> GuidedAnswer:
        """Begin an answer whose texts are cut after so many tokens."""
        return GuidedAnswer(self, self._matcher.deep_copy(), most_tokens)

    def tokenize(self, text: str) -> list[int]:
        """Give the tokens of a part of an answer."""
        ids: list[int] = self._tokenizer.tokenize_str(text)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Give the text of a part of an answer."""
        text: str = self._tokenizer.decode_str(list(ids))
        return text


class GuidedAnswer:
    """One answer in the making."""

    def __init__(self, grammar: AnswerGrammar, matcher: Any, most_tokens: int) -> None:
        self._grammar = grammar
        self._matcher = matcher
        self._most_tokens = most_tokens
        self.ids: list[int] = []
        self.is_done = False

    def extend(self, logits: Logits) -> list[int]:
        """Add the likeliest token that the grammar allows, and what then is certain to follow.

        logits: of the next token, (vocabulary,). Gives the tokens added; none when the answer is
        complete.
        """
        if len(self.ids) >= self._most_tokens and (added := self._close()):
            return added
        allowed = self._allowed()[: len(logits)]
        chosen = int(np.where(allowed, logits, -np.inf).argmax())
        if chosen == self._grammar.end_id:
            self.is_done = True
            return []
        return self._add([chosen])

    def _add(self, ids: list[int]) -> list[int]:
        self._matcher.consume_tokens(ids)
        certain: list[int] = self._matcher.compute_ff_tokens()
        self._matcher.consume_tokens(certain)
        if self._matcher.is_error():
            raise PredictError(f"The task's grammar failed: {self._matcher.get_error()}")
        added = [each for each in (*ids, *certain) if each != self._grammar.end_id]
        self.ids += added
        is_complete = self._matcher.is_accepting() and self._allowed().sum() == 1  # by its end
        self.is_done = is_complete or self._matcher.is_stopped()
        return added

    def _allowed(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        return np.unpackbits(bits, bitorder="little").view(np.bool_)

    def _close(self) -> list[int]:
        """End the text that the answer breaks off in; nothing where no text is open."""
        literal = self._grammar.task.literal_after(self._grammar.decode(self.ids))
        closing = self._grammar.tokenize(self._grammar.cut + literal)
        is_text = self._matcher.validate_tokens(closing) == len(closing)
        if not is_text:
            return []
        added = self._add(closing)
        self.is_done = self.is_done or (not literal and self._matcher.is_accepting())
        return added


def decode_answers(
    model: Any, inputs: dict[str, Any], grammar: AnswerGrammar, max_new_tokens: int
) -> list[list[int]]:
    """Answer one batch greedily under the grammar: the tokens of each answer, its end left out.

    Args:
        model: takes a cache, a mask and positions.
        inputs: a batch padded on the left, input_ids and attention_mask (rows, tokens) among them.
        grammar: of the answers.
        max_new_tokens: tokens after which texts are cut, so that every answer ends.
    """
    answers = [grammar.begin(max_new_tokens) for _ in inputs["input_ids"]]
    seen = inputs["attention_mask"]
    length = seen.sum(dim=1, keepdim=True)  # (rows, 1): the next position
    outputs = model(**inputs, use_cache=True, logits_to_keep=1)
    while True:
        logits = outputs.logits[:, -1, : grammar.vocabulary].float().cpu().numpy()
        added = [
            [] if answer.is_done else answer.extend(row)
            for answer, row in zip(answers, logits, strict=True)
        ]
        if all(answer.is_done for answer in answers):
            return [answer.ids for answer in answers]
        width = max(map(len, added))
        ids = torch.zeros(len(added), width, dtype=torch.long)
        new = torch.zeros(len(added), width, dtype=seen.dtype)
        for row, tokens in enumerate(added):
            if tokens:
                ids[row, -len(tokens) :] = torch.tensor(tokens)
                new[row, -len(tokens) :] = 1
        ids, new = ids.to(seen.device), new.to(seen.device)
        seen = torch.cat([seen, new], dim=1)
        places = (length + new.cumsum(dim=1) - 1).clamp(min=0)
        length = length + new.sum(dim=1, keepdim=True)
        outputs = model(
            input_ids=ids,
            attention_mask=seen,
            position_ids=places,
            past_key_values=outputs.past_key_values,
            use_cache=True,
            logits_to_keep=1,
        )
