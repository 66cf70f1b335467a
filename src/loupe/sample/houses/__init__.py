"""Three invented brands, one file each."""

from loupe.sample.houses.street import HOUSES, find_house

__all__ = ["HOUSES", "find_house"]
