import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from loupe.pixels import is_srgb, to_srgb

from .build.conftest import draw, encode
from .build.profiles import SRGB_TO_XYZ, WIDE_TO_XYZ, grey_profile, ink_profile, matrix_profile


def reopen(image, kind="PNG", **settings):
    return Image.open(io.BytesIO(encode(image, kind, **settings)))


def pixel(image):
    return image.getpixel((0, 0))


def convert_by_hand(colour, primaries, gamma=2.2):
    """From a matrix profile to sRGB, in floating point."""
    linear = (np.asarray(colour) / 255) ** gamma
    to_srgb_matrix = np.linalg.inv(np.asarray(SRGB_TO_XYZ).T)
    linear = np.clip(to_srgb_matrix @ np.asarray(primaries).T @ linear, 0, 1)
    curved = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return curved * 255


@pytest.mark.parametrize("colour", [(200, 80, 60), (20, 160, 90), (130, 130, 130), (40, 60, 200)])
def test_wide_colours_become_srgb(colour):
    image = reopen(Image.new("RGB", (40, 32), colour), icc_profile=matrix_profile(WIDE_TO_XYZ))
    assert not is_srgb(image)
    expected = convert_by_hand(colour, WIDE_TO_XYZ)
    assert np.abs(np.subtract(pixel(to_srgb(image)), expected)).max() <= 2  # lcms computes in ints


def test_profile_that_is_srgb_changes_nothing():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = reopen(draw(5), icc_profile=profile)
    assert is_srgb(image)
    assert to_srgb(image).tobytes() == draw(5).tobytes()


def test_grey_profile_is_applied():
    image = reopen(Image.new("L", (40, 32), 128), icc_profile=grey_profile(1.0))
    expected = convert_by_hand((128,) * 3, SRGB_TO_XYZ, gamma=1.0)
    assert np.abs(np.subtract(pixel(to_srgb(image)), expected)).max() <= 2


def test_ink_profile_is_applied():
    plain = Image.new("CMYK", (40, 32), (255, 0, 0, 0))
    image = reopen(plain, "TIFF", icc_profile=ink_profile())
    assert not is_srgb(image)
    red, green, blue = pixel(to_srgb(image))
    assert (red, green, blue) != (0, 255, 255)
    assert red < 60 < green < 180
    assert 60 < blue < 220


def test_transparency_and_profile_go_together():
    picture = Image.new("RGBA", (40, 32), (200, 80, 60, 255))
    picture.putpixel((39, 31), (0, 0, 0, 0))
    image = reopen(picture, icc_profile=matrix_profile(WIDE_TO_XYZ))
    expected = convert_by_hand((200, 80, 60), WIDE_TO_XYZ)
    assert np.abs(np.subtract(pixel(to_srgb(image)), expected)).max() <= 2
    assert to_srgb(image).getpixel((39, 31)) == (255, 255, 255)


@pytest.mark.parametrize(
    "profile",
    [b"no profile", matrix_profile(WIDE_TO_XYZ)[:200], grey_profile(1.0), ink_profile()],
    ids=["text", "cut", "of greys", "of inks"],
)
def test_profile_that_cannot_be_used_is_ignored(profile):
    image = reopen(draw(5), icc_profile=profile)
    assert is_srgb(image)
    assert to_srgb(image).tobytes() == draw(5).tobytes()


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "LA", "RGBA", "I;16"])
def test_every_mode_becomes_rgb(mode):
    image = Image.new("I;16", (9, 9)) if mode == "I;16" else draw(5).convert(mode)
    assert to_srgb(image).mode == "RGB"
    assert is_srgb(image)
