"""Which places of a text belong to which picture.

Microsoft's processor marks places by negative ids; they are understood here and go no further.
"""

from collections.abc import Sequence
from itertools import groupby

import torch


def find_image_places(input_ids: torch.Tensor, image_token_id: int) -> torch.Tensor:
    """Mark the places of picture features: our token, or a negative id of Microsoft's processor."""
    return (input_ids == image_token_id) | (input_ids < 0)


def published_picture_order(input_ids: torch.Tensor, images: int) -> list[int]:
    """Order in which ids (rows, tokens) show the pictures; reading order unless they say otherwise.

    Microsoft's processor writes -k for picture k of a row, and its model ignores the number, so
    that swapped tags show swapped pictures. The number is heeded here, where the numbers of every
    row are 1 to n.
    """
    order: list[int] = []
    for row in input_ids.tolist() if bool((input_ids < 0).any()) else []:
        numbers = [-number for number, _ in groupby(i for i in row if i < 0)]
        if sorted(numbers) != list(range(1, len(numbers) + 1)):
            return list(range(images))
        order += [len(order) + number - 1 for number in numbers]
    return order if len(order) == images else list(range(images))


def repeat_by_row(
    features: Sequence[torch.Tensor], places: Sequence[int], times: int
) -> list[torch.Tensor]:
    """Repeat each row's pictures `times` times, as its row is repeated: 1 2 | 3 to 1 2 1 2 | 3 3.

    `places`: number of picture places of each row, by which the pictures are dealt out.
    """
    remaining = list(features)
    repeated: list[torch.Tensor] = []
    for wanted in places:
        row: list[torch.Tensor] = []
        while remaining and sum(len(feature) for feature in row) < wanted:
            row.append(remaining.pop(0))
        repeated += row * times
    return repeated + remaining
