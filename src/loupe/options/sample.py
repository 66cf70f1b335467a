"""Options of `loupe sample`."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SampleOptions"]


@dataclass(frozen=True, kw_only=True)
class SampleOptions:
    """Invent a catalogue whose pictures decide the labels."""

    output: str
    """Folder to write: products.parquet, images/, sample.json, contact_sheet.jpg."""
    house: str = "corvane"
    """The brand to invent, with its goods, palette, words and price law: alder, corvane or
    mistral."""
    rows: int = 2000
    """Number of products (rows and pictures)."""
    seed: int = 0
    """Same seed, same bytes, whatever the number of workers."""
    views: int = 1
    """Pictures of each product: the same product, its pose, light and paper drawn anew."""
    image_size_px: int = 224
    """Side of the square pictures, in pixels."""
    workers: int = 0
    """Processes that draw; 0 means one per core."""
    overwrite: bool = False
    """Replace a sample that stands in the output folder."""
