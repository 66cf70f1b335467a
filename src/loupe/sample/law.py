"""The price law: what a product costs, and the best error that a reader can reach."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from loupe.sample.house import House

PRICED_ATTRIBUTES = ("size", "detail", "cloth", "pattern", "metal")
SIMULATED_DRAWS = 200


@dataclass(frozen=True)
class PriceError:
    """How far the law's own price is from the price on the tag.

    `median_ape` and `mean_ape` are shares of the tag's price; `log_error` is the mean absolute
    difference of natural logarithms.
    """

    median_ape: float
    mean_ape: float
    log_error: float

    def as_dict(self) -> dict[str, float]:
        """The three errors, rounded for a JSON file."""
        return {name: round(value, 5) for name, value in asdict(self).items()}


def round_like_a_shop(price: float) -> float:
    """The nearest price that a shop would write: in steps of 5, from 150 of 10, from 1500 of 50.

    >>> [round_like_a_shop(price) for price in (62.3, 487.0, 2312.0)]
    [60.0, 490.0, 2300.0]
    """
    return float(_rounded(np.array(price)))


def _rounded(prices: NDArray[np.float64]) -> NDArray[np.float64]:
    step = np.where(prices < 150, 5.0, np.where(prices < 1500, 10.0, 50.0))
    rounded: NDArray[np.float64] = np.maximum(step, step * np.round(prices / step))
    return rounded


def lawful_price(house: House, kind: str, attributes: dict[str, str]) -> float:
    """The house's price before noise and rounding: base times one factor per visible attribute."""
    price = house.goods[kind].base_price
    for attribute in PRICED_ATTRIBUTES:
        price *= house.factors[attribute].get(attributes[attribute], 1.0)
    return price


def tag_price(lawful: float, house: House, rng: np.random.Generator) -> float:
    """The price on the tag: the lawful one with the house's noise, rounded like a shop."""
    noise = rng.normal(0.0, house.price_noise_sigma)
    return round_like_a_shop(lawful * float(np.exp(noise)))


def price_error(tag: Sequence[float], guess: Sequence[float]) -> PriceError:
    """The errors of guesses against the prices on the tags."""
    truth, answer = np.asarray(tag, dtype=float), np.asarray(guess, dtype=float)
    ape: NDArray[np.float64] = np.abs(answer - truth) / truth
    log_error = np.abs(np.log(answer) - np.log(truth))
    return PriceError(float(np.median(ape)), float(ape.mean()), float(log_error.mean()))


def simulated_best_error(house: House, lawful: Sequence[float], seed: int) -> PriceError:
    """The error of a reader who knows the law and sees every attribute, over fresh noise."""
    rng = np.random.default_rng([seed, len(lawful)])
    prices = np.repeat(np.asarray(lawful, dtype=float), SIMULATED_DRAWS)
    noise = np.exp(rng.normal(0.0, house.price_noise_sigma, prices.shape))
    return price_error(_rounded(prices * noise).tolist(), _rounded(prices).tolist())
