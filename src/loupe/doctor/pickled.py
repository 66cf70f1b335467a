"""Pickled weights, told without unpickling: a zip's listing, and the words in its pickle.

`pickletools` reads opcodes as text and runs none of them.
"""

from __future__ import annotations

import pickletools
import zipfile
from collections.abc import Collection
from pathlib import Path

from loupe.doctor.findings import Finding, name_some
from loupe.vlm import PICKLED_WEIGHTS

__all__ = ["find_pickles"]

LONGEST_PICKLE = 2**26  # bytes; a state dict's names and sizes take a few 100,000
HARMLESS = ("torch ", "torch._utils ", "torch.storage ", "collections OrderedDict")
NOT_WEIGHTS = ("training_args", "optimizer", "scheduler", "rng_state", "scaler")


def find_pickles(folder: Path, expected: Collection[str], *, has_weights: bool) -> list[Finding]:
    """Tell of each pickled file of weights; it is wrong only where nothing else holds them."""
    found = sorted({path for pattern in PICKLED_WEIGHTS for path in folder.glob(pattern)})
    return [
        Finding(
            "weights",
            "note" if has_weights else "wrong",
            f"{path.name} is pickled and was not opened: loading it could run code. "
            f"{_describe(path, expected)}",
            "Remove it: the safetensors are what is read."
            if has_weights
            else "Where it was made, save it anew as safetensors: "
            "`model.save_pretrained(FOLDER, safe_serialization=True)`.",
        )
        for path in found
        if not path.name.startswith(NOT_WEIGHTS)
    ]


def _describe(path: Path, expected: Collection[str]) -> str:
    """Say what can be known of a pickled file from outside."""
    try:
        with zipfile.ZipFile(path) as archive:
            listed = archive.infolist()
            pickles = [each for each in listed if each.filename.endswith("/data.pkl")]
            storages = [each for each in listed if "/data/" in each.filename]
            if len(pickles) != 1 or pickles[0].file_size > LONGEST_PICKLE:
                return f"It is a zip of {len(listed)} files, not as torch writes them."
            words = archive.read(pickles[0])
    # The last two: a compression that is not known, and a file that is encrypted.
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError):
        return "It is no zip as torch writes them since 1.6, so nothing more can be told of it."
    size = sum(each.file_size for each in storages)
    told = f"Its zip lists {len(storages)} tensors of {size / 2**20:,.1f} MiB in all"
    try:
        opcodes = [(code.name, value) for code, value, _ in pickletools.genops(words)]
    except ValueError:
        return f"{told}; its pickle is broken."
    if expected:
        met = len(set(expected) & {value for _, value in opcodes if isinstance(value, str)})
        told += f" and names {met} of the {len(expected)} that the config expects"
    called = sorted({str(value) for name, value in opcodes if name in {"GLOBAL", "INST"}})
    odd = [each for each in called if not each.startswith(HARMLESS)]
    if odd:
        told += f". Beware: it calls {name_some(odd)}, which no weights need"
    elif any(name == "STACK_GLOBAL" for name, _ in opcodes):
        told += "; what it calls cannot be told"
    return f"{told}."
