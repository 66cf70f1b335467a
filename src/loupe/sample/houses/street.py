"""All houses by name."""

from loupe.errors import SampleError
from loupe.sample.house import House
from loupe.sample.houses.alder import ALDER
from loupe.sample.houses.corvane import CORVANE
from loupe.sample.houses.mistral import MISTRAL

HOUSES: dict[str, House] = {house.name: house for house in (ALDER, CORVANE, MISTRAL)}


def find_house(name: str) -> House:
    """The house of that name.

    Raises:
        SampleError: there is no such house.
    """
    if name not in HOUSES:
        raise SampleError(
            f"There is no house named {name!r}; the houses are {', '.join(HOUSES)}. "
            "Set sample.house to one of them."
        )
    return HOUSES[name]
