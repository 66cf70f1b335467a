"""What an examination found, each with what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ["Finding", "Part", "name_some"]

Part = Literal["weights", "base", "processor", "sight"]
NAMED = 3


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    part: Part
    """What it is about; `base` are the weights below an adapter."""
    verdict: Literal["well", "note", "wrong"]
    """A note is worth knowing and stops nothing."""
    what: str
    cure: str = ""
    """What to do; empty where all is well."""


def name_some(names: Sequence[str]) -> str:
    """Name the first few and count the others."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
