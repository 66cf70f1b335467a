"""Options of `loupe predict`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from loupe.options.reading import Decoding, PriceReading

__all__ = ["PredictOptions"]


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """Read products off pictures."""

    pictures: list[str]
    """Picture files, or folders of them."""
    model: str
    """Folder that `loupe train` wrote."""
    task: str | None = None
    """Task file; none means the one beside the model, else the tutorial's."""
    together: bool = False
    """Read one product off several pictures: off all files named, and off the files of each folder,
    those below it too. Files named, the main picture first; those of a folder by name."""
    format: Literal["json", "table"] = "json"
    """One JSON object per picture and line, or a table for people."""
    decoding: Decoding = "guided"
    """How answers are written: guided by the task's grammar, so that each parses, or freely, token
    by token the likeliest."""
    price: PriceReading = "said"
    """How prices are read: as the answer says them, or as the median of all prices that the model
    might say there."""
    batch_size: int = 16
    """Pictures answered at a time."""
    max_new_tokens: int = 96
    """Longest answer, in tokens; a guided answer that is longer has its texts cut, to end in …"""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    threads: int | None = None
    """CPU threads; none means one per core."""
