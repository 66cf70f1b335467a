"""Group the rows that show the same thing, deal the groups to splits, and audit what that did."""

from loupe.build.splits.sides import Placement, place_rows
from loupe.build.splits.split import SPLITS

__all__ = ["SPLITS", "Placement", "place_rows"]
