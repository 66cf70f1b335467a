"""Find pictures that look nearly alike: rows whose perceptual hashes are close."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from loupe.build.pictures.perceptual_hash import Packed, frequency_bits, small_pixels
from loupe.build.splits.groups import Hashes, Rows, join_pairs

__all__ = ["find_alike"]

_MAX_COLOUR_DIFFERENCE = 5.0  # of 255; benchmarks/build_groups.py measures what it does
_MAX_OF_CONTRAST = 0.1  # small things on white differ in little, and in much of that
_MAX_NEIGHBOURS = 256
_BLOCK_ROWS = 10_000


def find_alike(hashes: Packed, max_bits: int) -> Hashes:
    """Give rows that look alike, directly or by steps, one key above 0, all others 0: (rows,).

    `hashes` has the bytes of each row's hash: (rows, HASH_BYTES), better without identical
    pictures, which are found otherwise and cost comparisons here. Two pictures are alike where at
    most `max_bits` of the 64 bits of frequencies differ, and the 6×6-px colours by at most 5 of
    255 and 10 % of their contrast (root mean squares). Hashes that differ in so few bits agree in
    one of `max_bits + 1` bands of bits, and such colours have nearly one mean: so each picture is
    compared, in each band, with the 256 next of the same band in order of the mean.
    """
    return join_pairs(len(hashes), _close_pairs(hashes, max_bits))


def _close_pairs(hashes: Packed, max_bits: int) -> Iterator[tuple[Rows, Rows]]:
    frequencies, colours = frequency_bits(hashes), small_pixels(hashes)
    means = colours.mean(axis=1)
    limits = np.minimum(_MAX_OF_CONTRAST * _contrast(colours), _MAX_COLOUR_DIFFERENCE)
    edges = np.linspace(0, 64, max_bits + 2).astype(int).tolist()
    for low, high in pairwise(edges):
        band = (frequencies >> np.uint64(low)) & np.uint64(2 ** (high - low) - 1)
        order = np.lexsort((means, band))
        band, mean = band[order], means[order]
        left = np.arange(len(order))
        for step in range(1, _MAX_NEIGHBOURS + 1):
            left = left[left + step < len(order)]
            near = mean[left + step] - mean[left] <= _MAX_COLOUR_DIFFERENCE
            left = left[near & (band[left + step] == band[left])]
            ones, others = order[left], order[left + step]
            close = np.bitwise_count(frequencies[ones] ^ frequencies[others]) <= max_bits
            ones, others = ones[close], others[close]
            gaps = colours[ones].astype(np.float32) - colours[others]
            alike = (gaps**2).mean(axis=1) <= np.minimum(limits[ones], limits[others]) ** 2
            yield ones[alike], others[alike]


def _contrast(colours: Packed) -> npt.NDArray[np.float64]:
    """Give the standard deviation of each picture's pixels around its mean colour: (rows,)."""
    pixels = colours.reshape(len(colours), colours.shape[1] // 3, 3)
    blocks = np.array_split(pixels, len(pixels) // _BLOCK_ROWS + 1)  # each becomes float64
    return np.concatenate([np.sqrt(block.var(axis=1).mean(axis=1)) for block in blocks])
