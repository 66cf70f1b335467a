"""What a house is: an invented brand with its goods, words, title grammar and price law."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Good:
    """One kind as a house sells it.

    `named` lists the attributes that the title names, of: size, colour, pattern, cloth, detail.
    `base_price` is in US dollars; `weight` is how often the kind is drawn.
    """

    noun: str
    category: str
    base_price: float
    weight: float
    named: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class House:
    """A brand: what it sells, in which words, and what it asks for.

    `grammar` orders the title's parts. `factors` is the price law: base price times the factor of
    each attribute value (1 where none is listed), times a lognormal noise of `price_noise_sigma`.
    """

    name: str
    goods: Mapping[str, Good]
    grammar: tuple[str, ...]
    words: Mapping[str, Mapping[str, str]]
    factors: Mapping[str, Mapping[str, float]]
    category_groups: Mapping[str, str]
    pattern_weights: Mapping[str, float]
    first_code: int
    price_noise_sigma: float
