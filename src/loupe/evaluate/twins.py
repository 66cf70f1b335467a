"""The model's twins: the same weights with a grey picture, and with another row's picture.

What a twin gets right was learnt from the answers, not seen. The two differ: grey is like no
picture of the training, and a model may fall silent before it; another row's picture is an
ordinary one that shows the wrong thing.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from loupe.task import Answer

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["blind_answers", "grey_picture", "shuffled_rows"]

GREY = (128, 128, 128)


def grey_picture(size_px: tuple[int, int]) -> Image:
    """Make a picture of (width, height) that shows nothing."""
    from PIL import Image

    return Image.new("RGB", size_px, GREY)


def blind_answers(
    answer: Callable[[Sequence[list[Image]]], list[Answer]],
    sizes_px: Sequence[tuple[tuple[int, int], ...]],
) -> list[Answer]:
    """Answer each row's grey twin; equal sizes give equal answers, so each is asked once.

    `sizes_px` has for each row the sizes of all its pictures, which all turn grey.
    """
    distinct = list(dict.fromkeys(sizes_px))
    answered = answer([[grey_picture(size) for size in sizes] for sizes in distinct])
    of_sizes = dict(zip(distinct, answered, strict=True))
    return [of_sizes[sizes] for sizes in sizes_px]


def shuffled_rows(groups: Sequence[Hashable], seed: int) -> NDArray[np.integer] | None:
    """Choose for each row another one, of another group wherever the groups allow it.

    Rows stand in a random order with groups side by side and take the picture one largest group
    further on, so each row's pictures are used once. None where there is a single row.
    """
    if len(groups) < 2:
        return None
    generator = np.random.default_rng(seed)
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    group_of_row = np.array([numbers[group] for group in groups])
    place = generator.permutation(len(numbers))[group_of_row]
    order = np.lexsort((generator.permutation(len(groups)), place))
    step = min(int(np.bincount(group_of_row).max()), len(groups) // 2)
    chosen = np.empty(len(groups), dtype=np.int64)
    chosen[order] = np.roll(order, -step)
    return chosen
