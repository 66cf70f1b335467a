"""Know a model again: a hash of its folder's small files, and of samples of its weights."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from loupe import vlm

__all__ = ["fingerprint_model"]

_SAMPLES = 64  # of a file of weights, evenly spaced: training changes every matrix that it trains
_SAMPLE_BYTES = 64 * 1024
_ADAPTER = "adapter_config.json"
_FILES = ("config.json", _ADAPTER, "preprocessor_config.json", "tokenizer.json")


def fingerprint_model(model: str) -> str:
    """Give 16 hexadecimal digits that change with the weights; a hub name is its own.

    A folder may move: its name is no part of them.
    """
    folder = Path(model)
    if model == vlm.TINY and not folder.is_dir():
        folder = vlm.TINY_FOLDER
    if not folder.is_dir():
        return model
    digest = hashlib.sha256()
    for name in _FILES:
        if (folder / name).is_file():
            digest.update((folder / name).read_bytes())
    for path in sorted(folder.glob("*.safetensors")):
        _add_samples(path, digest)
    if (folder / _ADAPTER).is_file():
        settings = json.loads((folder / _ADAPTER).read_text("utf-8"))
        digest.update(fingerprint_model(str(settings.get("base_model_name_or_path"))).encode())
    return digest.hexdigest()[:16]


def _add_samples(path: Path, digest: hashlib._Hash) -> None:
    size = path.stat().st_size
    digest.update(f"{path.name} {size}".encode())
    with path.open("rb") as file:
        for sample in range(_SAMPLES):
            file.seek(sample * max(size - _SAMPLE_BYTES, 0) // max(_SAMPLES - 1, 1))
            digest.update(file.read(_SAMPLE_BYTES))
