"""Prices as distributions, read from the digits that a model might say after its own words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from loupe import vlm
from loupe.pixels import to_srgb

if TYPE_CHECKING:
    from loupe.predict.predictor import Predictor

__all__ = ["AnswerTree", "PriceDistribution", "read_prices"]

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

    def mean(self) -> float:
        """Give the mean of what was read, which the squared error asks for."""
        return float(np.average(self.values, weights=self.shares))

    def geometric_mean(self) -> float:
        """Give the geometric mean, which the squared error of logarithms asks for; 0 counts not.

        Where nothing but 0 was read, it is 0.
        """
        logs, shares = self._logarithms()
        return float(np.exp(np.average(logs, weights=shares))) if len(logs) else 0.0

    def log_deviation(self) -> float:
        """Give the standard deviation of the price's logarithm; 0 counts not.

        Where nothing but 0 was read, it is infinite.
        """
        logs, shares = self._logarithms()
        if not len(logs):
            return float("inf")
        middle = np.average(logs, weights=shares)
        return float(np.sqrt(np.average((logs - middle) ** 2, weights=shares)))

    def probability(self, value: float) -> float:
        """Give the probability that the model says this price, of all that it might say."""
        return float(self.shares[np.isclose(self.values, value, rtol=1e-9, atol=0.0)].sum())

    def _logarithms(self) -> tuple[Floats, Floats]:
        above = self.values > 0
        return np.log(self.values[above]), self.shares[above]


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
    tree = _PriceTree(predictor, pictures, values, field)
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


class Node(Protocol):
    """A token that may come behind a prompt, and the places in the cache of those before it."""

    @property
    def token(self) -> int:
        """Its id."""

    @property
    def places(self) -> tuple[int, ...]:
        """Of the tokens between the prompt and this one."""


class AnswerTree:
    """A batch's prompts in the cache, up to a field, and behind them what was followed so far.

    `first` are the logits of what comes next: (rows, 1, vocabulary); `cached` is the place of the
    next token to be followed.
    """

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
        self.first = outputs.logits.take_along_dim(end_of_row.unsqueeze(2), dim=1)
        if (shift := getattr(outputs, "rope_deltas", None)) is not None:
            self._lengths = self._lengths + shift  # some families count a picture's tokens as fewer
        self._seen = kept.bool()  # (rows, cached tokens); of the tree, nothing that all see

    @property
    def cached(self) -> int:
        """How many places the cache holds."""
        return int(self._seen.shape[1])

    def run(self, live: Sequence[Sequence[Node]]) -> torch.Tensor:
        """Follow tokens of each row, and give the logits behind each: (rows, tokens, vocabulary).

        Their places are counted on from `cached`, in their order; one may come behind another of
        the same call. For rows with fewer tokens, the rest has no meaning.
        """
        rows, width, cached = len(live), max(map(len, live)), self.cached
        ids = torch.zeros(rows, width, dtype=torch.long)
        depths = torch.zeros(rows, width, dtype=torch.long)
        sees = torch.zeros(rows, width, cached + width, dtype=torch.bool)
        sees[:, :, :cached] = self._seen[:, None].cpu()
        for row, beginnings in enumerate(live):
            for place, each in enumerate(beginnings):
                ids[row, place] = each.token
                depths[row, place] = len(each.places)
                sees[row, place, list(each.places)] = True
        sees[:, range(width), range(cached, cached + width)] = True
        device, lowest = self._model.device, torch.finfo(self._model.dtype).min
        mask = torch.zeros(sees.shape, dtype=self._model.dtype).masked_fill(~sees, lowest)
        outputs = self._model(
            input_ids=ids.to(device),
            attention_mask=mask[:, None].to(device),
            position_ids=self._lengths + depths.to(device),
            past_key_values=self._cache,
            use_cache=True,
        )
        hidden = torch.zeros(rows, width, dtype=torch.bool, device=device)
        self._seen = torch.cat([self._seen, hidden], dim=1)
        logits: torch.Tensor = outputs.logits
        return logits


class _PriceTree(AnswerTree):
    """The tree of the prices that a model might say."""

    def __init__(
        self,
        predictor: Predictor,
        pictures: Sequence[vlm.Pictures],
        values: Sequence[Mapping[str, Any]],
        field: str,
    ) -> None:
        super().__init__(predictor, pictures, values, field)
        self._numeric = _numeric_tokens(predictor.processor.tokenizer)
        self._ids = torch.tensor([token for token, _ in self._numeric], device=self.first.device)
        self._level = self.cached  # where the last level begins

    def follow(self, live: Sequence[Sequence[_Beginning]]) -> Floats:
        """Give the log probabilities of the numeric tokens after each beginning.

        Shape (rows, beginnings, numeric tokens); for rows with fewer beginnings, the rest has no
        meaning.
        """
        self._level = self.cached
        is_first = all(each.token < 0 for row in live for each in row)
        logits = self.first if is_first else self.run(live)
        shares = logits.float().log_softmax(dim=-1)[..., self._ids]
        array: Floats = shares.cpu().double().numpy()
        return array

    def grow(self, beginning: _Beginning, place: int, shares: Floats) -> list[_Beginning]:
        """Give what the beginning just followed may become by one token, if likely enough."""
        own = () if beginning.token < 0 else (self._level + place,)
        places = (*beginning.places, *own)
        log_shares = beginning.log_share + shares
        grown = []
        for at in np.flatnonzero(log_shares >= np.log(LEAST_SHARE)).tolist():
            token, piece = self._numeric[at]
            text = beginning.text + piece
            if NUMERIC.fullmatch(text):
                grown.append(_Beginning(text, float(log_shares[at]), token, places))
        return grown


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
