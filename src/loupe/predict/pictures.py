"""Find and open the pictures to read: any mode and size, brought upright and to sRGB.

Pixels come out as `loupe build` stores them, so that a model sees what it was trained on.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from loupe.errors import PredictError
from loupe.pixels import DECODE_ERRORS, FORMATS, SUFFIXES, find_formats, to_upright_srgb

__all__ = [
    "decode_picture",
    "find_pictures",
    "fit_picture",
    "open_picture",
    "walk_folders",
    "walk_pictures",
]


def find_pictures(names: Iterable[str]) -> list[Path]:
    """Expand folders to the picture files below them, in order of name; files stay as given."""
    return [path for name in names for path in _expand(Path(name))]


def _expand(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from walk_pictures(path)
    else:
        yield path


def walk_pictures(folder: Path) -> Iterator[Path]:
    """Give the picture files below a folder in order of name, one folder in memory at a time.

    Raises:
        OSError: a folder cannot be read.
    """
    for entry in _list_entries(folder):
        if entry.is_dir(follow_symlinks=False):
            yield from walk_pictures(Path(entry.path))
        elif _is_picture(entry):
            yield Path(entry.path)


def walk_folders(folder: Path) -> Iterator[list[Path]]:
    """Give the picture files of a folder, then of each below it, in order of name.

    A folder without any is passed over.

    Raises:
        OSError: a folder cannot be read.
    """
    entries = _list_entries(folder)
    pictures = [Path(entry.path) for entry in entries if _is_picture(entry)]
    if pictures:
        yield pictures
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from walk_folders(Path(entry.path))


def _list_entries(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _is_picture(entry: os.DirEntry[str]) -> bool:
    """Tell by its name whether an entry is a picture file; a folder is none."""
    return entry.name.lower().endswith((*SUFFIXES, ".mpo")) and entry.is_file()


def open_picture(path: Path) -> Image.Image:
    """Open a picture file, upright and as 8-bit sRGB.

    Raises:
        PredictError: there is no such file, or it is no picture that can be decoded.
    """
    if not path.is_file():
        raise PredictError(f"There is no picture file {str(path)!r}.")
    return decode_picture(path, str(path))


def decode_picture(source: Path | bytes, name: str) -> Image.Image:
    """Decode a picture from a file or from its bytes, upright and as 8-bit sRGB.

    Raises:
        PredictError: it is no picture that can be decoded; its cause tells why.
    """
    file: Any = BytesIO(source) if isinstance(source, bytes) else source
    try:
        with warnings.catch_warnings(), Image.open(file, formats=find_formats()) as picture:
            warnings.simplefilter("ignore")  # Pillow warns of what is decided here
            picture.load()
            return to_upright_srgb(picture)
    except Image.DecompressionBombError as error:
        raise PredictError(f"Picture {name!r} is too large: {error}") from error
    except DECODE_ERRORS as error:
        raise PredictError(
            f"File {name!r} cannot be read as a picture ({error}); expected {', '.join(FORMATS)}."
        ) from error


def fit_picture(processor: Any, picture: Image.Image) -> Image.Image:
    """Shrink a picture to what the processor will resize it to, so that it gives the same inputs.

    A picture that fitting would enlarge stays as it is, and so does one of a family whose way is
    not known.
    """
    from loupe import vlm

    size = vlm.fit_picture_size(processor, picture.size)
    if size is None or size[0] * size[1] >= picture.width * picture.height:
        return picture
    if picture.width >= picture.height:
        return picture.resize(size, Image.Resampling.BILINEAR)
    # As the processor does it: portraits are resized lying down, for the same rounding.
    lying = picture.transpose(Image.Transpose.TRANSPOSE)
    lying = lying.resize(size[::-1], Image.Resampling.BILINEAR)
    return lying.transpose(Image.Transpose.TRANSPOSE)
