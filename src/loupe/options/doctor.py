"""Options of `loupe doctor`."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DoctorOptions"]


@dataclass(frozen=True, kw_only=True)
class DoctorOptions:
    """Tell whether a checkpoint is whole, its processor fits and it looks at pictures."""

    checkpoint: str
    """Folder of a checkpoint or adapter, whoever wrote it, or `tiny`; of other families than
    Phi-3-Vision only processor and sight are judged."""
    sight: bool = True
    """Also load the model and ask it about drawn pictures; without it only files are read."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    threads: int | None = None
    """CPU threads; none means one per core."""
