"""Open any picture and bring it upright and to 8-bit sRGB, the same for datasets and answers.

Profiles, transparency, 16 bits, CMYK and palettes are what readers disagree about.
"""

import contextlib
import io
import struct
import zlib
from functools import cache, lru_cache
from importlib import import_module
from typing import TYPE_CHECKING

from PIL import Image, ImageCms

if TYPE_CHECKING:
    from PIL.ImageCms import ImageCmsTransform

__all__ = [
    "DECODE_ERRORS",
    "FORMATS",
    "SUFFIXES",
    "UPRIGHT",
    "find_formats",
    "is_srgb",
    "read_orientation",
    "to_srgb",
    "to_upright_srgb",
]

FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF")
"""What is read; formats outside are not tried: some of Pillow's readers start other programs."""

SUFFIXES = (
    ".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif",
)  # fmt: skip
"""Of files that are taken for pictures where a folder is searched."""

DECODE_ERRORS = (
    OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, AttributeError,
    OverflowError, RuntimeError, struct.error, zlib.error,
)  # fmt: skip
"""What readers were seen to raise on damaged files; UnidentifiedImageError is an OSError."""

UPRIGHT = 1
_ORIENTATION_TAG = 0x0112
_TURNS = {  # EXIF 2.32, section 4.6.4
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_SIXTEEN_TO_EIGHT_BITS = 257  # 65535 / 255
_SPACES = {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK"}  # by mode, as profiles name them
_UNSEEN_DIFFERENCE = 3  # of 255: profiles named sRGB differ by as much among themselves
_PROFILES_KEPT = 64  # a catalogue has a few; a transform is slow to make


@cache
def find_formats() -> list[str]:
    """Give the formats that can be read here, HEIF among them where its reader is installed."""
    for name in ("Jpeg", "Mpo", "Png", "WebP", "Gif", "Bmp", "Tiff", "Avif"):
        with contextlib.suppress(ImportError):  # Pillow may be built without
            import_module(f"PIL.{name}ImagePlugin")
    with contextlib.suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
    return [name for name in FORMATS if name in Image.OPEN]


def read_orientation(image: Image.Image) -> int | None:
    """Read the EXIF orientation of a decoded picture; None where the EXIF block is damaged."""
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, UPRIGHT))
    except DECODE_ERRORS:
        return None


def to_upright_srgb(image: Image.Image) -> Image.Image:
    """Give a decoded picture upright and as 8-bit sRGB; a damaged EXIF block says nothing.

    Raises:
        ValueError: the range of its pixels is not known.
    """
    method = _TURNS.get(read_orientation(image) or UPRIGHT)
    pixels = to_srgb(image)
    return pixels if method is None else pixels.transpose(method)


def to_srgb(image: Image.Image) -> Image.Image:
    """Give the picture as 8-bit sRGB, transparency laid onto white; itself where it is so already.

    Raises:
        ValueError: the range of its pixels is not known.
    """
    base = _to_base(image)
    transform = _transform_of(image, base.mode)
    rgb = ImageCms.applyTransform(base, transform) if transform else _convert(base, "RGB")
    assert rgb is not None  # which it is for transforms in place
    if not image.has_transparency_data:
        return rgb
    white = Image.new("RGB", image.size, "white")
    white.paste(rgb, mask=image.convert("RGBA").getchannel("A"))
    return white


def is_srgb(image: Image.Image) -> bool:
    """Tell whether the picture's colours look the same to readers that ignore its profile."""
    return _transform_of(image, _base_mode(image)) is None


def _base_mode(image: Image.Image) -> str:
    if image.mode == "CMYK":
        return "CMYK"
    return "L" if image.mode in {"1", "L", "LA", "La"} or image.mode.startswith("I;16") else "RGB"


def _to_base(image: Image.Image) -> Image.Image:
    """Give the colours without transparency, 8 bits each; Pillow alone would clip 16 to white."""
    if image.mode in {"I", "F"}:
        raise ValueError("the range of its pixels is not known")
    if image.mode.startswith("I;16"):
        import numpy as np

        values = np.asarray(image).astype(np.uint32)
        scaled = (values + _SIXTEEN_TO_EIGHT_BITS // 2) // _SIXTEEN_TO_EIGHT_BITS
        return Image.fromarray(scaled.astype(np.uint8))
    return _convert(image, _base_mode(image))


def _convert(image: Image.Image, mode: str) -> Image.Image:
    return image if image.mode == mode else image.convert(mode)


def _transform_of(image: Image.Image, mode: str) -> "ImageCmsTransform | None":
    profile = image.info.get("icc_profile")
    return _make_transform(profile, mode) if isinstance(profile, bytes) and profile else None


@lru_cache(_PROFILES_KEPT)
def _make_transform(profile: bytes, mode: str) -> "ImageCmsTransform | None":
    """Give the way from a profile to sRGB; None where it changes nothing or cannot be used."""
    try:
        source = ImageCms.getOpenProfile(io.BytesIO(profile))
        if source.profile.xcolor_space.strip() != _SPACES[mode]:
            return None
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
        sample = _sample_colours(mode)
        changed = ImageCms.applyTransform(sample, transform)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None
    assert changed is not None
    pairs = zip(changed.tobytes(), sample.convert("RGB").tobytes(), strict=True)
    largest = max(abs(one - other) for one, other in pairs)
    return None if largest <= _UNSEEN_DIFFERENCE else transform


def _sample_colours(mode: str) -> Image.Image:
    """Give a picture of colours from everywhere: 256 greys, or a coarse grid of the space."""
    channels = len(Image.new(mode, (1, 1)).getbands())
    steps = [*range(256)] if channels == 1 else [0, 64, 128, 192, 255]
    count = len(steps) ** channels
    content = bytes(
        steps[place // len(steps) ** channel % len(steps)]
        for place in range(count)
        for channel in range(channels)
    )
    return Image.frombytes(mode, (count, 1), content)
