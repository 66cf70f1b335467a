"""One pass over pictures: answers, thumbnails, and the vectors that find neighbours."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from loupe.evaluate.baselines import pixels
from loupe.evaluate.rows import Rows
from loupe.evaluate.weighted import Values
from loupe.options import Decoding, PriceReading
from loupe.task import Answer

if TYPE_CHECKING:
    from PIL.Image import Image

    from loupe.predict import Predictor
    from loupe.predict.readings import Reading

__all__ = ["Looker", "Seen", "make_thumbnail"]

PIXEL_SIDES = (16, 32)
THUMBNAIL_PX = 128
THUMBNAIL_QUALITY = 80


@dataclass(frozen=True)
class Seen:
    """What is kept of the evaluated rows' pictures, one entry per row."""

    answers: tuple[Answer, ...]
    free: tuple[Answer, ...] | None
    """Without the grammar's guidance; None where the answers are free themselves."""
    vectors: dict[str, Values]
    """Name of a kind of vector: (rows, width)."""
    sizes_px: tuple[tuple[tuple[int, int], ...], ...]
    """Of all of a row's pictures, the main one first."""
    thumbnails: tuple[bytes, ...]
    """JPEG of the main picture; only the first rows have one."""
    readings: tuple[Reading, ...] = ()
    """What the model might have said of each row; empty where that was not asked for."""


@dataclass(frozen=True)
class Looker:
    """A model that answers, and the size of its bites."""

    predictor: Predictor
    batch_size: int
    max_new_tokens: int
    decoding: Decoding
    price: PriceReading
    thumbnails: int
    """How many rows get a thumbnail."""
    tick: Callable[[int], object]
    """Told the number of pictures done since last time."""
    reads: bool = False
    """Whether to keep what the model might have said of each row."""

    def answer(self, pictures: Sequence[list[Image]]) -> list[Answer]:
        """Answer rows by their pictures, greedily and free-running; prices are read as asked."""
        return self._answer(pictures, self.decoding, self.price)

    def _answer(
        self, pictures: Sequence[list[Image]], decoding: Decoding, price: PriceReading
    ) -> list[Answer]:
        return self.predictor.predict(
            pictures,
            batch_size=self.batch_size,
            max_new_tokens=self.max_new_tokens,
            decoding=decoding,
            price=price,
        )

    def _answer_freely(
        self, pictures: Sequence[list[Image]], guided: Sequence[Answer]
    ) -> list[Answer]:
        """Answer without guidance; where that gives the same text, it is the same answer."""
        said = self._answer(pictures, "free", "said")
        pairs = zip(guided, said, strict=True)
        other = [place for place, (one, free) in enumerate(pairs) if one.text != free.text]
        read = (
            self._answer([pictures[place] for place in other], "free", self.price)
            if self.price != "said"
            else [said[place] for place in other]
        )
        answers = dict(enumerate(guided)) | dict(zip(other, read, strict=True))
        return [*answers.values()]

    def see(self, rows: Rows) -> Seen:
        """Answer the rows' pictures and keep what the baselines and the report need."""
        answers: list[Answer] = []
        readings: list[Reading] = []
        free: list[Answer] = []
        sizes: list[tuple[tuple[int, int], ...]] = []
        thumbnails: list[bytes] = []
        blocks: list[dict[str, Values]] = []
        for numbers in self._bites(rows):
            pictures = [rows.split.pictures(number) for number in numbers]
            if self.reads:
                said = self._answer(pictures, self.decoding, "said")
                found = self.predictor.read(pictures, said, batch_size=self.batch_size)
                readings += found
                answers += [each.read(self.predictor.task, self.price) for each in found]
            else:
                answers += self.answer(pictures)
            if self.decoding != "free":
                free += self._answer_freely(pictures, answers[-len(pictures) :])
            mains = [row[0] for row in pictures]
            blocks.append(self._vectors(mains))
            sizes += [tuple(picture.size for picture in row) for row in pictures]
            thumbnails += map(make_thumbnail, mains[: self.thumbnails - len(thumbnails)])
            self.tick(len(pictures))
        return Seen(
            tuple(answers),
            tuple(free) if self.decoding != "free" else None,
            _joined(blocks),
            tuple(sizes),
            tuple(thumbnails),
            tuple(readings),
        )

    def vectors(self, rows: Rows) -> dict[str, Values]:
        """Give the vectors of the rows' main pictures: (rows, width) by name."""
        blocks = []
        for numbers in self._bites(rows):
            blocks.append(self._vectors([rows.split.picture(number) for number in numbers]))
            self.tick(len(numbers))
        return _joined(blocks)

    def _bites(self, rows: Rows) -> Iterator[Sequence[int]]:
        for start in range(0, len(rows), self.batch_size):
            yield rows.numbers[start : start + self.batch_size]

    def _vectors(self, pictures: Sequence[Image]) -> dict[str, Values]:
        found: dict[str, Values] = {
            f"pixels_{side}": np.stack([pixels(picture, side) for picture in pictures])
            for side in PIXEL_SIDES
        }
        found["features"] = self.predictor.features(pictures, batch_size=self.batch_size)
        return found


def _joined(blocks: list[dict[str, Values]]) -> dict[str, Values]:
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def make_thumbnail(picture: Image, side_px: int = THUMBNAIL_PX) -> bytes:
    """Shrink a picture to fit into a square, and give it as a JPEG."""
    small = picture.convert("RGB")
    small.thumbnail((side_px, side_px))
    written = io.BytesIO()
    small.save(written, "JPEG", quality=THUMBNAIL_QUALITY)
    return written.getvalue()
