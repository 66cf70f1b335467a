"""Find and open the pictures to read: any mode and size, brought upright and to 8-bit RGB.

Pixels come out as `loupe build` stores them, so that a model sees what it was trained on.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from loupe.errors import PredictError

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["find_pictures", "open_picture", "to_rgb"]

FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".mpo"}
)
SIXTEEN_TO_EIGHT_BITS = 257  # 65535 / 255
ORIENTATION_TAG = 0x0112
TURNS = {  # EXIF 2.32, section 4.6.4
    2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE",
    6: "ROTATE_270", 7: "TRANSVERSE", 8: "ROTATE_90",
}  # fmt: skip
# What Pillow's readers raise on damaged files.
DECODE_ERRORS = (
    OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, AttributeError,
    OverflowError, struct.error, zlib.error,
)  # fmt: skip


def find_pictures(names: Iterable[str]) -> list[Path]:
    """Expand folders to the picture files below them, in order of name; files stay as given."""
    return [path for name in names for path in _expand(Path(name))]


def _expand(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for below in sorted(path.rglob("*")):
        if below.suffix.lower() in SUFFIXES and below.is_file():
            yield below


def open_picture(path: Path) -> Image.Image:
    """Open a picture file, upright and RGB.

    Raises:
        PredictError: there is no such file, or it is no picture that can be decoded.
    """
    from PIL import Image

    if not path.is_file():
        raise PredictError(f"There is no picture file {str(path)!r}.")
    Image.init()
    formats = [name for name in FORMATS if name in Image.OPEN]
    try:
        with warnings.catch_warnings(), Image.open(path, formats=formats) as picture:
            warnings.simplefilter("ignore")  # Pillow warns of what is decided here
            return _upright(picture)
    except Image.DecompressionBombError as error:
        raise PredictError(f"Picture {str(path)!r} is too large: {error}") from error
    except DECODE_ERRORS as error:
        raise PredictError(
            f"File {str(path)!r} cannot be read as a picture ({error}); expected JPEG, PNG, WEBP, "
            "GIF, BMP, TIFF or AVIF."
        ) from error


def to_rgb(picture: Image.Image) -> Image.Image:
    """Convert to 8-bit RGB: transparency onto white, 16 bits scaled where Pillow would clip."""
    from PIL import Image

    if picture.mode == "RGB" and not picture.has_transparency_data:
        return picture
    if picture.mode.startswith("I;16"):
        import numpy as np

        values = np.asarray(picture).astype(np.uint32)
        scaled = (values + SIXTEEN_TO_EIGHT_BITS // 2) // SIXTEEN_TO_EIGHT_BITS
        return Image.fromarray(scaled.astype(np.uint8)).convert("RGB")
    if picture.has_transparency_data:
        white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white, picture.convert("RGBA")).convert("RGB")
    return picture.convert("RGB")


def _upright(picture: Image.Image) -> Image.Image:
    from PIL.Image import Transpose

    picture.load()
    method = TURNS.get(_read_orientation(picture))
    rgb = to_rgb(picture).copy()
    return rgb if method is None else rgb.transpose(Transpose[method])


def _read_orientation(picture: Image.Image) -> int:
    try:
        return int(picture.getexif().get(ORIENTATION_TAG, 1))
    except DECODE_ERRORS:  # a damaged EXIF block says nothing; the pixels are still good
        return 1
