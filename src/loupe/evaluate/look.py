"""One pass over pictures: answers, thumbnails, and the vectors that find neighbours."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from loupe.evaluate.baselines import pixels
from loupe.evaluate.rows import Rows
from loupe.evaluate.weighted import Values
from loupe.task import Answer

if TYPE_CHECKING:
    from PIL.Image import Image

    from loupe.predict import Predictor

__all__ = ["Looker", "Seen"]

PIXEL_SIDES = (16, 32)
THUMBNAIL_PX = 128
THUMBNAIL_QUALITY = 80


@dataclass(frozen=True)
class Seen:
    """What is kept of the evaluated rows' pictures, one entry per row."""

    answers: tuple[Answer, ...]
    vectors: dict[str, Values]
    """Name of a kind of vector: (rows, width)."""
    sizes_px: tuple[tuple[int, int], ...]
    thumbnails: tuple[bytes, ...]
    """JPEG; only the first rows have one."""


@dataclass(frozen=True)
class Looker:
    """A model that answers, and the size of its bites."""

    predictor: Predictor
    batch_size: int
    max_new_tokens: int
    price: Literal["said", "median"]
    thumbnails: int
    """How many rows get a thumbnail."""
    tick: Callable[[int], object]
    """Told the number of pictures done since last time."""

    def answer(self, pictures: Sequence[Image]) -> list[Answer]:
        """Answer pictures, greedily and free-running; prices are read as asked."""
        return self.predictor.predict(
            pictures,
            batch_size=self.batch_size,
            max_new_tokens=self.max_new_tokens,
            price=self.price,
        )

    def see(self, rows: Rows) -> Seen:
        """Answer the rows' pictures and keep what the baselines and the report need."""
        answers: list[Answer] = []
        sizes: list[tuple[int, int]] = []
        thumbnails: list[bytes] = []
        blocks: list[dict[str, Values]] = []
        for pictures in self._bites(rows):
            answers += self.answer(pictures)
            blocks.append(self._vectors(pictures))
            sizes += [picture.size for picture in pictures]
            thumbnails += map(_thumbnail, pictures[: self.thumbnails - len(thumbnails)])
            self.tick(len(pictures))
        return Seen(tuple(answers), _joined(blocks), tuple(sizes), tuple(thumbnails))

    def vectors(self, rows: Rows) -> dict[str, Values]:
        """Give the vectors of the rows' pictures: (rows, width) by name."""
        blocks = []
        for pictures in self._bites(rows):
            blocks.append(self._vectors(pictures))
            self.tick(len(pictures))
        return _joined(blocks)

    def _bites(self, rows: Rows) -> Iterator[list[Image]]:
        for start in range(0, len(rows), self.batch_size):
            numbers = rows.numbers[start : start + self.batch_size]
            yield [rows.split.picture(number) for number in numbers]

    def _vectors(self, pictures: Sequence[Image]) -> dict[str, Values]:
        found: dict[str, Values] = {
            f"pixels_{side}": np.stack([pixels(picture, side) for picture in pictures])
            for side in PIXEL_SIDES
        }
        found["features"] = self.predictor.features(pictures, batch_size=self.batch_size)
        return found


def _joined(blocks: list[dict[str, Values]]) -> dict[str, Values]:
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def _thumbnail(picture: Image) -> bytes:
    small = picture.convert("RGB")
    small.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    written = io.BytesIO()
    small.save(written, "JPEG", quality=THUMBNAIL_QUALITY)
    return written.getvalue()
