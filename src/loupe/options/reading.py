"""How answers are decoded and prices read: choices that several stages share."""

from typing import Literal

from loupe.errors import OptionError

__all__ = ["Decoding", "PriceReading", "check_certainty"]

Decoding = Literal["guided", "free"]
PriceReading = Literal["said", "median", "mean", "geometric"]


def check_certainty(
    coverage: float | None, at_most_error: float | None, name: str, share: float
) -> None:
    """Refuse shares and errors that cannot be meant; `name` is that of the option `share`.

    Raises:
        OptionError: one is out of its range.
    """
    for option, value in {"coverage": coverage, name: share}.items():
        if value is not None and not 0 < value < 1:
            raise OptionError(f"{option} is {value}; it must lie between 0 and 1, such as 0.9.")
    if at_most_error is not None and at_most_error <= 0:
        raise OptionError(
            f"at_most_error is {at_most_error}; it must be above 0, such as 0.15 for 15 %."
        )
