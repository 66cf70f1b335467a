"""The pictures of rows, main and further ones, and which rows go together by them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from loupe.build.journal import Journal
from loupe.build.pictures.perceptual_hash import Packed
from loupe.build.rows.examine import Examined
from loupe.build.splits.groups import Hashes, Rows, join_rows

__all__ = ["Looks", "gather_looks"]

STOCK_GROUPS = 10
"""A further picture of more groups than these is a stock picture (a size chart, a box) and ties
none: what is shown with all products gives none of them away."""


@dataclass(frozen=True)
class Looks:
    """The different pictures of the kept rows, each once by its pixels, and which rows show them.

    `main` has that of each row: (rows,). Row `further_rows[i]` also shows `further[i]`: (further
    pictures,). Both point into `places`, `pixels` and `hashes`: (different pictures, ...).
    """

    main: Rows
    further_rows: Rows
    further: Rows
    places: Rows
    pixels: Hashes
    hashes: Packed

    def tie(self, keys: Hashes, groups: Rows) -> tuple[Hashes, int]:
        """Give rows that share a key by any of their pictures one key, and count stock pictures.

        Main pictures tie always, further ones unless they are stock pictures.

        Args:
            keys: one for each different picture, 0 for none.
            groups: of the rows, by all that ties them but for further pictures.

        Returns:
            A key above 0 for rows that go together, 0 for others: (rows,).
        """
        count = len(self.main)
        shown = keys[self.further]
        pairs = np.unique(np.stack([shown, groups[self.further_rows].astype(np.uint64)]), axis=1)
        values, groups_showing = np.unique(pairs[0], return_counts=True)
        is_stock = np.isin(shown, values[(groups_showing > STOCK_GROUPS) & (values != 0)])
        rows = np.concatenate([np.arange(count), self.further_rows[~is_stock]])
        keyed = np.concatenate([keys[self.main], shown[~is_stock]])
        rows, keyed = rows[keyed != 0], keyed[keyed != 0]
        values, nodes = np.unique(keyed, return_inverse=True)
        roots = join_rows(count + len(values), rows, count + nodes)[:count]
        members = np.bincount(roots, minlength=count)
        tied = np.where(members[roots] > 1, roots + 1, 0).astype(np.uint64)
        return tied, int(is_stock.sum())


def gather_looks(examined: Examined, journal: Journal, kept: npt.NDArray[np.int64]) -> Looks:
    """Gather the pictures of the kept rows, whose numbers in the table are given."""
    own = np.full(len(examined.places), -1, np.int64)
    own[kept] = np.arange(len(kept))
    further = (own[examined.more_rows] >= 0) & journal.kept[examined.more_places]
    places = np.concatenate([examined.places[kept], examined.more_places[further]])
    pixels, first, looks = np.unique(journal.pixels[places], return_index=True, return_inverse=True)
    return Looks(
        main=looks[: len(kept)],
        further_rows=own[examined.more_rows[further]],
        further=looks[len(kept) :],
        places=places[first],
        pixels=pixels,
        hashes=journal.perceptual[places[first]],
    )
