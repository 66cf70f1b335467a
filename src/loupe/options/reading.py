"""How answers are decoded and prices read: choices that several stages share."""

from typing import Literal

__all__ = ["Decoding", "PriceReading"]

Decoding = Literal["guided", "free"]
PriceReading = Literal["said", "median", "mean", "geometric"]
