"""What of a dataset and of a model goes into an artifact, for W&B and trackio alike."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["artifact_name", "dataset_files", "model_files", "refer_to_rows"]


def artifact_name(kind: str, name: str) -> str:
    """Give a name that both trackers accept: letters, digits, dots, dashes, underscores.

    >>> artifact_name("dataset", "Herbst & Winter")
    'dataset-Herbst-Winter'
    """
    return f"{kind}-{re.sub(r'[^A-Za-z0-9_.-]+', '-', name).strip('-.')}"[:128]


def dataset_files(folder: Path) -> list[Path]:
    """Name the files that describe a dataset: its record, task and options."""
    return sorted(path for path in folder.iterdir() if path.suffix in {".json", ".yaml"})


def refer_to_rows(artifact: Any, folder: Path) -> None:
    """Refer to a dataset's rows and pictures where they lie; they are neither copied nor sent.

    The record's fingerprint stands for their content, so their bytes are not hashed again.
    """
    for path in sorted(folder.glob("data/*.parquet")):
        artifact.add_reference(path.resolve().as_uri(), name=f"data/{path.name}", checksum=False)


def model_files(folder: Path) -> Iterator[Path]:
    """Name the files of a model folder, without checkpoints and what trackers keep in it."""
    yield from sorted(
        path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")
    )
