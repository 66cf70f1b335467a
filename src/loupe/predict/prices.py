"""Prices as distributions, read from the digits that a model might say after its own words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from loupe import vlm
from loupe.pixels import to_srgb

if TYPE_CHECKING:
    from loupe.predict.predictor import Predictor

__all__ = ["PriceDistribution", "read_prices"]

LEAST_SHARE = 0.005  # of the probability; beginnings below it are not followed
MOST_TOKENS = 16  # of a price
WORD_MARKS = str.maketrans("\u2581\u0120", "  ")  # how vocabularies write a space
NUMERIC = re.compile(r" ?(\d+\.?\d*)?", re.ASCII)

Floats = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class PriceDistribution:
    """Prices that a model might say, ascending, and the share of each: (prices,).

    `unread` is the share of what was not followed, because it is rare or no price; the others
    sum to 1 with it.
    """

    values: Floats
    shares: Floats
    unread: float

    def quantile(self, share: float) -> float:
        """Give the lowest price such that it and those below have this share of what was read.

        Raises:
            ValueError: no price was read.
        """
        if not len(self.values):
            raise ValueError("no price was read")
        reached = np.cumsum(self.shares) / self.shares.sum()
        return float(self.values[min(int(np.searchsorted(reached, share)), len(reached) - 1)])

    def median(self) -> float:
        """Give the price that is as likely too high as too low."""
        return self.quantile(0.5)


@dataclass(frozen=True)
class _Beginning:
    """How a price may begin: its text, log probability, last token, places of those before it."""

    text: str
    log_share: float
    token: int
    places: tuple[int, ...] = ()


@torch.inference_mode()
def read_prices(
    predictor: Predictor,
    pictures: Sequence[vlm.Pictures],
    values: Sequence[Mapping[str, Any]],
    field: str,
) -> list[PriceDistribution]:
    """Read the distribution of a price field for one batch, given the answers' fields before it.

    All beginnings of at least LEAST_SHARE are followed, the tokens of one length in one forward
    pass: each sees the prompt, the answer so far and its own beginning. A price ends where no digit
    or point comes next.

    Args:
        predictor: its task has the field.
        pictures: one or several per sample.
        values: the typed values that the model answered, in the same order.
        field: name of a price field.
    """
    tree = _Tree(predictor, pictures, values, field)
    found: list[dict[float, float]] = [{} for _ in pictures]
    live: list[list[_Beginning]] = [[_Beginning("", 0.0, -1)] for _ in pictures]
    parse = predictor.task.fields[field].parse
    for _ in range(MOST_TOKENS):
        following = tree.follow(live)
        for row, beginnings in enumerate(live):
            grown: list[_Beginning] = []
            for place, each in enumerate(beginnings):
                shares = following[row, place]  # (numeric tokens,)
                grown += tree.grow(each, place, shares)
                try:
                    value = parse(each.text.strip())
                except ValueError:
                    continue
                ended = float(np.exp(each.log_share) * max(0.0, 1 - np.exp(shares).sum()))
                found[row][value] = found[row].get(value, 0.0) + ended
            live[row] = grown
        if not any(live):
            break
    return [_arrange(prices) for prices in found]


class _Tree:
    """A batch's prompts in the cache, and behind them the beginnings followed so far."""

    def __init__(
        self,
        predictor: Predictor,
        pictures: Sequence[vlm.Pictures],
        values: Sequence[Mapping[str, Any]],
        field: str,
    ) -> None:
        self._model, processor = predictor.model, predictor.processor
        shown = [[to_srgb(each) for each in vlm.list_pictures(product)] for product in pictures]
        question, counts = predictor.task.question, [len(each) for each in shown]
        prompts = []
        for asked, each in zip(vlm.make_prompts(processor, question, counts), values, strict=True):
            answer, places = predictor.task.format_fields(each)
            prompts.append(asked + answer[: places[field][0]].rstrip())
        inputs = processor(
            text=prompts,
            images=shown,
            padding=True,
            padding_side="right",  # some families count padding on the left as places
            return_tensors="pt",
        ).to(self._model.device)
        kept = inputs["attention_mask"]
        self._lengths = kept.sum(dim=1, keepdim=True)  # (rows, 1)
        ends, end_of_row = (self._lengths - 1).unique(return_inverse=True)
        outputs = self._model(**inputs, use_cache=True, logits_to_keep=ends)
        self._cache = outputs.past_key_values
        self._first = outputs.logits.take_along_dim(end_of_row.unsqueeze(2), dim=1)  # (rows, 1, ..)
        if (shift := getattr(outputs, "rope_deltas", None)) is not None:
            self._lengths = self._lengths + shift  # some families count a picture's tokens as fewer
        self._seen = kept.bool()  # (rows, cached tokens); of the tree, nothing that all see
        self._numeric = _numeric_tokens(processor.tokenizer)
        self._ids = torch.tensor([token for token, _ in self._numeric], device=self._model.device)
        self._depth = self._width = 0  # of the tree so far, and of its last level

    def follow(self, live: Sequence[Sequence[_Beginning]]) -> Floats:
        """Give the log probabilities of the numeric tokens after each beginning.

        Shape (rows, beginnings, numeric tokens); for rows with fewer beginnings, the rest has no
        meaning.
        """
        logits = self._first if self._depth == 0 else self._run(live)
        self._depth += 1
        shares = logits.float().log_softmax(dim=-1)[..., self._ids]
        array: Floats = shares.cpu().double().numpy()
        return array

    def grow(self, beginning: _Beginning, place: int, shares: Floats) -> list[_Beginning]:
        """Give what the beginning just followed may become by one token, if likely enough."""
        own = (self._seen.shape[1] - self._width + place,) if self._width else ()
        places = (*beginning.places, *own)
        log_shares = beginning.log_share + shares
        grown = []
        for at in np.flatnonzero(log_shares >= np.log(LEAST_SHARE)).tolist():
            token, piece = self._numeric[at]
            text = beginning.text + piece
            if NUMERIC.fullmatch(text):
                grown.append(_Beginning(text, float(log_shares[at]), token, places))
        return grown

    def _run(self, live: Sequence[Sequence[_Beginning]]) -> torch.Tensor:
        rows, width, cached = len(live), max(map(len, live)), self._seen.shape[1]
        ids = torch.zeros(rows, width, dtype=torch.long)
        sees = torch.zeros(rows, width, cached + width, dtype=torch.bool)
        sees[:, :, :cached] = self._seen[:, None].cpu()
        for row, beginnings in enumerate(live):
            for place, each in enumerate(beginnings):
                ids[row, place] = each.token
                sees[row, place, list(each.places)] = True
        sees[:, range(width), range(cached, cached + width)] = True
        device, lowest = self._model.device, torch.finfo(self._model.dtype).min
        mask = torch.zeros(sees.shape, dtype=self._model.dtype).masked_fill(~sees, lowest)
        outputs = self._model(
            input_ids=ids.to(device),
            attention_mask=mask[:, None].to(device),
            position_ids=(self._lengths + self._depth - 1).expand(rows, width),
            past_key_values=self._cache,
            use_cache=True,
        )
        self._width = width
        hidden = torch.zeros(rows, width, dtype=torch.bool, device=device)
        self._seen = torch.cat([self._seen, hidden], dim=1)
        logits: torch.Tensor = outputs.logits
        return logits


def _numeric_tokens(tokenizer: Any) -> list[tuple[int, str]]:
    """Give the tokens of which a plain number is made, with a space before it, and their texts."""
    pieces = (
        (token, piece.translate(WORD_MARKS)) for piece, token in tokenizer.get_vocab().items()
    )
    return [
        (token, piece)
        for token, piece in pieces
        if piece and re.fullmatch(r" ?[\d.]*", piece, re.ASCII)
    ]


def _arrange(prices: Mapping[float, float]) -> PriceDistribution:
    kept = sorted((value, share) for value, share in prices.items() if share > 0)
    values, shares = (np.array([pair[side] for pair in kept]) for side in (0, 1))
    return PriceDistribution(values, shares, float(max(0.0, 1 - shares.sum())))
