"""Options of `loupe compare`."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CompareOptions"]


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """Tell which of two evaluations is better at what, by how much, and how sure that is."""

    evaluations: list[str]
    """Two folders that `loupe evaluate` wrote on the same rows. A quoted pattern, such as
    'plain-*', stands for several training runs of one recipe: their mean is compared, and the
    interval then tells of other training runs too."""
    bootstrap: int = 2000
    """Resamples of the rows behind each interval."""
    confidence: float = 0.95
    """Coverage of the intervals."""
    seed: int = 0
    """Resamples."""
