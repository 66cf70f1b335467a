"""Pictures for training: kept in memory at the size the model sees, and varied a little.

Work on 8-bit pixels before the processor, so that every family of models can use it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from loupe import vlm
from loupe.predict.pictures import fit_picture

__all__ = ["PictureCache", "vary_picture"]

DEFAULT_CACHE_BYTES = 2**30
MAX_SHIFT = 0.06  # of a side
MAX_ZOOM = 1.08
MIRROR_PROBABILITY = 0.5


class PictureCache:
    """Opens the pictures of rows, fitted to what the processor will resize them to.

    Pictures are kept as 8-bit pixels up to `max_bytes` in all; what comes later is opened anew
    each time. A picture that fitting would enlarge stays as it is.
    """

    def __init__(
        self,
        open_pictures: Callable[[int], vlm.Pictures],
        processor: Any,
        max_bytes: int = DEFAULT_CACHE_BYTES,
    ) -> None:
        self._open_pictures = open_pictures
        self._processor = processor
        self._free_bytes = max_bytes
        self._kept: dict[int, list[np.ndarray[Any, np.dtype[np.uint8]]]] = {}

    def pictures(self, row: int) -> list[Image.Image]:
        """Give a row's pictures: RGB, fitted, the main one first."""
        if row in self._kept:
            return [Image.fromarray(pixels) for pixels in self._kept[row]]
        opened = vlm.list_pictures(self._open_pictures(row))
        pictures = [fit_picture(self._processor, each) for each in opened]
        arrays = [np.array(picture) for picture in pictures]  # (height, width, 3) each
        needed = sum(pixels.nbytes for pixels in arrays)
        if needed <= self._free_bytes:
            self._free_bytes -= needed
            self._kept[row] = arrays
        return pictures


def vary_picture(picture: Image.Image, key: str) -> Image.Image:
    """Shift, scale and mirror a picture by a little; the same key gives the same picture.

    What comes in from outside has the mean colour of the corners. The size stays.
    """
    draw = random.Random(key)
    width, height = picture.size
    step = MAX_ZOOM ** draw.uniform(-1, 1)  # source pixels per pixel
    mirror = -1 if draw.random() < MIRROR_PROBABILITY else 1
    shift_x = draw.uniform(-MAX_SHIFT, MAX_SHIFT) * width
    shift_y = draw.uniform(-MAX_SHIFT, MAX_SHIFT) * height
    left = (1 - mirror * step) * width / 2 + shift_x
    top = (1 - step) * height / 2 + shift_y
    return picture.transform(
        picture.size,
        Image.Transform.AFFINE,
        (mirror * step, 0, left, 0, step, top),
        Image.Resampling.BILINEAR,
        fillcolor=_corner_colour(picture),
    )


def _corner_colour(picture: Image.Image) -> tuple[int, ...]:
    pixels = np.asarray(picture)  # (height, width, 3)
    corners = pixels[[0, 0, -1, -1], [0, -1, 0, -1]]  # (4, 3)
    return tuple(int(level) for level in corners.mean(axis=0).round())
