"""A perceptual hash: a few bytes of a picture, nearly equal where pictures look nearly alike.

The first 64 bits are pHash, the signs of the lowest frequencies of the grey picture. Source: C.
Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010, section 3.2.1
(https://www.phash.org/docs/pubs/thesis_zauner.pdf), with the 32-px picture and the median of the
library ImageHash, which would bring SciPy and PyWavelets along. Alone it takes products of one
shape on a plain background for one picture; so the colours of 6×6 px follow and must agree too.
"""

from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image

__all__ = ["HASH_BYTES", "Packed", "frequency_bits", "perceptual_hash", "small_pixels"]

Packed = npt.NDArray[np.uint8]
_FIRST_PX = 96  # a multiple of both sides below; from there, resizing costs nothing
_SIDE_PX = 32
_FREQUENCIES = 8  # per axis
_FREQUENCY_BYTES = _FREQUENCIES**2 // 8
_COLOURS_PX = 6
HASH_BYTES = _FREQUENCY_BYTES + 3 * _COLOURS_PX**2


def perceptual_hash(image: Image.Image) -> int:
    """Give 64 bits of frequencies and 864 of colours, alike for near-identical pictures.

    Any mode and size; as bytes it takes HASH_BYTES, the first bit first.
    """
    rgb = image.convert("RGB").resize((_FIRST_PX, _FIRST_PX), Image.Resampling.BOX)
    grey = rgb.convert("L").resize((_SIDE_PX, _SIDE_PX), Image.Resampling.LANCZOS)
    cosines = _cosines()
    lowest = cosines @ np.asarray(grey, np.float64) @ cosines.T
    frequencies = np.packbits((lowest > np.median(lowest)).ravel()).tobytes()
    colours = rgb.resize((_COLOURS_PX, _COLOURS_PX), Image.Resampling.BOX)
    return int.from_bytes(frequencies + colours.tobytes(), "big")


def frequency_bits(hashes: Packed) -> npt.NDArray[np.uint64]:
    """Give the 64 bits of frequencies that packed hashes hold: (rows,)."""
    frequencies = np.ascontiguousarray(hashes[:, :_FREQUENCY_BYTES]).view(">u8").ravel()
    return frequencies.astype(np.uint64)


def small_pixels(hashes: Packed) -> Packed:
    """Give the pictures that packed hashes hold: (rows, 6 * 6 * 3), 0 to 255."""
    return hashes[:, _FREQUENCY_BYTES:]


@cache
def _cosines() -> npt.NDArray[np.float64]:
    """Give the first rows of the cosine transform (DCT-II): (frequencies, side)."""
    steps = (2 * np.arange(_SIDE_PX) + 1) * np.pi / (2 * _SIDE_PX)
    cosines: npt.NDArray[np.float64] = np.cos(np.outer(np.arange(_FREQUENCIES), steps))
    return cosines
