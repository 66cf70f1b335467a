"""Options of `loupe calibrate`."""

from __future__ import annotations

from dataclasses import dataclass

from loupe.options.reading import Decoding

__all__ = ["CalibrateOptions"]


@dataclass(frozen=True, kw_only=True)
class CalibrateOptions:
    """Learn from validation rows how far a model's answers can be trusted."""

    model: str
    """Folder that `loupe train` wrote; calibration.json is written into it."""
    dataset: str
    """Folder that `loupe build` wrote, whose validation rows are answered."""
    max_rows: int | None = None
    """Answer only this many rows, drawn by seed; none means all."""
    decoding: Decoding = "guided"
    """How answers are written: guided by the task's grammar, or freely. The calibration holds for
    answers of the same decoding alone."""
    batch_size: int = 32
    """Pictures answered at a time."""
    max_new_tokens: int = 96
    """Longest answer, in tokens."""
    bootstrap: int = 1000
    """Resamples of the rows behind each interval of what is told."""
    seed: int = 0
    """Drawn rows, resamples."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    threads: int | None = None
    """CPU threads; none means one per core."""
    overwrite: bool = False
    """Replace the calibration that stands in the model's folder."""
