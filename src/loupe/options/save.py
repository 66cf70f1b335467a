"""Keep resolved options beside what they made."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

__all__ = ["save_options"]


def save_options(options: Any, folder: Path) -> Path:
    """Write resolved options beside what they made; `--config` reads them back to the same run."""
    path = folder / "options.yaml"
    path.write_text(yaml.safe_dump(asdict(options), sort_keys=False, allow_unicode=True), "utf-8")
    return path
