import pytest
import torch

from loupe.phi3_v.placement_phi3_v import (
    find_image_places,
    published_picture_order,
    repeat_by_row,
)

IMAGE = 9


def test_our_token_and_negative_ids_mark_places():
    ids = torch.tensor([[1, IMAGE, IMAGE, 2], [1, -1, -7, 3]])
    expected = [[False, True, True, False], [False, True, True, False]]
    assert find_image_places(ids, IMAGE).tolist() == expected


@pytest.mark.parametrize(
    ("ids", "images", "order"),
    [
        ([[1, -1, -1, 2, -2]], 2, [0, 1]),
        ([[1, -2, -2, 2, -1]], 2, [1, 0]),
        ([[-1, -2, 5], [-2, -1, 5]], 4, [0, 1, 3, 2]),
        ([[-1, 4, 5], [-2, 4, 5]], 2, [0, 1]),
        ([[-1, 3, -1, 5]], 2, [0, 1]),
        ([[IMAGE, 3, IMAGE, 5]], 2, [0, 1]),
    ],
    ids=["in-order", "swapped", "two-rows", "numbered-through", "unnumbered", "our-token"],
)
def test_numbered_places_name_their_pictures(ids, images, order):
    assert published_picture_order(torch.tensor(ids), images) == order


def test_pictures_are_repeated_with_their_rows():
    first, second, third = (torch.zeros(n, 4) for n in (2, 3, 5))
    repeated = repeat_by_row([first, second, third], places=[5, 0, 5], times=2)
    assert [len(feature) for feature in repeated] == [2, 3, 2, 3, 5, 5]
