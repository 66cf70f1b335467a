import numpy as np
import pytest
import torch
from PIL import Image

from loupe import vlm
from loupe.train.pictures import PictureCache, vary_picture


@pytest.fixture(scope="module")
def processor(tiny_checkpoint):
    return vlm.load_processor(str(tiny_checkpoint))


def noise(width, height):
    levels = np.random.default_rng(width * height).integers(0, 256, (height, width, 3))
    return Image.fromarray(levels.astype(np.uint8))


@pytest.mark.parametrize("size", [(90, 70), (70, 90), (200, 200), (20, 30)], ids=str)
def test_a_cached_picture_gives_the_model_the_same_pixels(processor, size):
    drawn = noise(*size)
    cached = PictureCache(lambda _: drawn, processor).pictures(0)[0]
    plain, prepared = (vlm.prepare_pictures(processor, [each]) for each in (drawn, cached))
    assert torch.equal(plain["pixel_values"], prepared["pixel_values"])
    assert torch.equal(plain["image_sizes"], prepared["image_sizes"])


def test_a_picture_is_opened_once_and_kept_small(processor):
    opened = []

    def open_picture(row):
        opened.append(row)
        return noise(200, 200)

    cache = PictureCache(open_picture, processor)
    first, second = cache.pictures(3)[0], cache.pictures(3)[0]
    assert opened == [3]
    assert first.size == (56, 56)
    assert np.array_equal(first, second)


def test_the_cache_keeps_no_more_than_its_bytes(processor):
    opened = []

    def open_picture(row):
        opened.append(row)
        return noise(200, 200)

    cache = PictureCache(open_picture, processor, max_bytes=56 * 56 * 3)
    for row in (0, 1, 0, 1):
        cache.pictures(row)[0]
    assert opened == [0, 1, 1]


def test_varying_is_the_same_for_the_same_key_and_other_for_another():
    drawn = noise(60, 40)
    one, again, other = (vary_picture(drawn, key) for key in ("0 1 2", "0 1 2", "0 2 2"))
    assert one.size == (60, 40)
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_varying_moves_a_picture_by_a_little_and_mirrors_half_of_the_time():
    drawn = Image.new("RGB", (100, 100), "white")
    drawn.paste("black", (20, 40, 40, 60))  # left of the middle
    centres = []
    for key in range(200):
        dark = np.argwhere(np.asarray(vary_picture(drawn, str(key)))[..., 0] < 128)
        assert 17**2 <= len(dark) <= 23**2
        centres.append(dark.mean(axis=0))
    rows, columns = np.transpose(centres)
    assert abs(rows - 50).max() < 8
    assert abs(np.minimum(abs(columns - 30), abs(columns - 70))).max() < 9
    assert 60 < (columns > 50).sum() < 140


def test_what_comes_in_from_outside_has_the_colour_of_the_corners():
    drawn = Image.new("RGB", (50, 50), (200, 210, 220))
    for key in range(20):
        assert vary_picture(drawn, str(key)).getcolors() == [(2500, (200, 210, 220))]
