import io
import string

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from loupe.build.pictures.perceptual_hash import HASH_BYTES, perceptual_hash, small_pixels
from loupe.build.splits.likeness import find_alike

from ..pictures.test_perceptual_hash import pack


def draw(seed=0, colour=None, size=(224, 224)):
    """A product on white: a few shapes that the seed decides."""
    random = np.random.default_rng(seed)
    image = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(image)
    for _ in range(5):
        (left, top), (width, height) = random.integers(20, 130, 2), random.integers(20, 90, 2)
        drawn = tuple(random.integers(0, 256, 3).tolist())
        box = (left, top, left + width, top + height)
        (pen.ellipse if random.random() < 0.5 else pen.rectangle)(box, fill=colour or drawn)
    return image


def compress(image, quality):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


def are_alike(one, other, max_bits=4):
    return bool(find_alike(pack(one, other), max_bits).all())


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(
    "change",
    [
        lambda image: image,
        lambda image: compress(image, 30),
        lambda image: image.resize((112, 112), Image.Resampling.BICUBIC),
        lambda image: compress(image.resize((600, 600)), 60),
    ],
    ids=["same", "compressed", "halved", "enlarged"],
)
def test_picture_made_anew_is_alike(seed, change):
    assert are_alike(draw(seed), change(draw(seed)))


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_any_mode_is_hashed(mode):
    assert are_alike(draw(1, (90, 90, 90)).convert(mode), draw(1, (90, 90, 90)))


def test_other_pictures_are_not_alike():
    assert not find_alike(pack(*map(draw, range(200))), 4).any()


def test_one_shape_in_two_colours_is_not_alike():
    red, green = draw(3, (200, 30, 30)), draw(3, (30, 104, 30))  # of one grey
    bits = perceptual_hash(red) ^ perceptual_hash(green)
    assert (bits >> 8 * (HASH_BYTES - 8)).bit_count() <= 4
    assert not are_alike(red, green)


def test_small_things_on_white_are_told_apart():
    """They differ in few pixels of many, as rings and earrings do."""
    font, letters = ImageFont.load_default(80), []
    for letter in string.ascii_uppercase:
        letters.append(Image.new("RGB", (224, 224), "white"))
        ImageDraw.Draw(letters[-1]).text((112, 112), letter, "black", font, anchor="mm")
    assert (find_alike(pack(*letters), 4) != 0).sum() <= 4
    assert are_alike(letters[0], letters[0].resize((448, 448), Image.Resampling.NEAREST))


def test_more_bits_find_more():
    shifted = Image.new("RGB", (224, 224), "white")
    shifted.paste(draw(2), (1, 1))
    pair = pack(draw(2), shifted)
    assert find_alike(pair, 0).tolist() == [0, 0]
    assert find_alike(pair, 16).tolist() == [1, 1]


def test_rows_alike_by_steps_have_one_key():
    base = pack(draw(5))[0]
    steps = np.stack([base] * 3)
    steps[1, 0] ^= 0b111
    steps[2, 0] ^= 0b111111
    assert find_alike(steps[[0, 2]], 3).tolist() == [0, 0]
    assert find_alike(steps, 3).tolist() == [1, 1, 1]


@pytest.mark.parametrize("max_bits", [0, 1, 4, 7, 16])
def test_no_pair_is_overlooked(max_bits):
    """Compared with looking at every pair, on hashes that differ in a few bits."""
    random = np.random.default_rng(0)
    bases = random.integers(0, 256, (30, HASH_BYTES)).astype(np.uint8)
    hashes = bases[random.integers(0, 30, 300)]
    for row in hashes:
        for bit in random.integers(0, 64, random.integers(0, 12)):
            row[bit // 8] ^= 1 << bit % 8
    bits = np.unpackbits(hashes[:, :8], axis=1).astype(int)
    far = np.abs(bits[:, None] - bits[None]).sum(axis=2)
    gaps = small_pixels(hashes).astype(float)
    colours = np.sqrt(((gaps[:, None] - gaps[None]) ** 2).mean(axis=2))
    alike = (far <= max_bits) & (colours <= 5)  # of noise, whose contrast is high
    expected = alike.sum(axis=1) > 1
    assert ((find_alike(hashes, max_bits) != 0) == expected).all()
    assert expected.any()


def test_no_rows_give_no_keys():
    assert find_alike(np.zeros((0, HASH_BYTES), np.uint8), 4).tolist() == []
