"""Find and open the pictures to read: any mode and size, brought upright and to sRGB.

Pixels come out as `loupe build` stores them, so that a model sees what it was trained on.
"""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from PIL import Image

from loupe.errors import PredictError
from loupe.pixels import DECODE_ERRORS, FORMATS, SUFFIXES, find_formats, to_upright_srgb

__all__ = ["find_pictures", "find_products", "open_picture"]


def find_pictures(names: Iterable[str]) -> list[Path]:
    """Expand folders to the picture files below them, in order of name; files stay as given."""
    return [path for name in names for path in _expand(Path(name))]


def find_products(names: Sequence[str]) -> list[list[Path]]:
    """Give the pictures of each product: the files named are one, those of each folder another.

    Folders are searched to any depth; each that holds pictures holds one product.
    """
    named = [Path(name) for name in names if not Path(name).is_dir()]
    found = find_pictures(name for name in names if Path(name).is_dir())
    folders: dict[Path, list[Path]] = {}
    for path in found:
        folders.setdefault(path.parent, []).append(path)
    return [*([named] if named else []), *folders.values()]


def _expand(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for below in sorted(path.rglob("*")):
        if below.suffix.lower() in (*SUFFIXES, ".mpo") and below.is_file():
            yield below


def open_picture(path: Path) -> Image.Image:
    """Open a picture file, upright and as 8-bit sRGB.

    Raises:
        PredictError: there is no such file, or it is no picture that can be decoded.
    """
    if not path.is_file():
        raise PredictError(f"There is no picture file {str(path)!r}.")
    try:
        with warnings.catch_warnings(), Image.open(path, formats=find_formats()) as picture:
            warnings.simplefilter("ignore")  # Pillow warns of what is decided here
            picture.load()
            return to_upright_srgb(picture)
    except Image.DecompressionBombError as error:
        raise PredictError(f"Picture {str(path)!r} is too large: {error}") from error
    except DECODE_ERRORS as error:
        raise PredictError(
            f"File {str(path)!r} cannot be read as a picture ({error}); expected "
            f"{', '.join(FORMATS)}."
        ) from error
