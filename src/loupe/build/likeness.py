"""Find pictures that look nearly alike: a 64-bit perceptual hash, and pairs of close hashes.

The hash is pHash: signs of the lowest frequencies of the grey picture. Source: C. Zauner,
"Implementation and Benchmarking of Perceptual Image Hash Functions", 2010, section 3.2.1
(https://www.phash.org/docs/pubs/thesis_zauner.pdf), with the 32-px picture and the median over all
64 coefficients of the library ImageHash, which would bring SciPy and PyWavelets along.
"""

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL import Image

__all__ = ["perceptual_hash"]

_SIDE_PX = 32
_FREQUENCIES = 8  # per axis: 64 bits


def perceptual_hash(image: "Image.Image") -> int:
    """Give 64 bits of which near-identical pictures differ in few; any mode, any size."""
    import numpy as np
    from PIL import Image

    small = image.convert("L").resize((_SIDE_PX, _SIDE_PX), Image.Resampling.LANCZOS)
    cosines = _cosines()
    lowest = cosines @ np.asarray(small, np.float64) @ cosines.T
    bits = (lowest > np.median(lowest)).ravel()
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


@cache
def _cosines() -> "npt.NDArray[np.float64]":
    """Give the first rows of the cosine transform (DCT-II): (frequencies, side)."""
    import numpy as np

    steps = (2 * np.arange(_SIDE_PX) + 1) * np.pi / (2 * _SIDE_PX)
    cosines: npt.NDArray[np.float64] = np.cos(np.outer(np.arange(_FREQUENCIES), steps))
    return cosines
