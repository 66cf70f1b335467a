"""Tensors in safetensors files: where they lie, their shapes by the headers, what their values are.

Headers are read without the values, values by pieces of a tensor: memory does not grow with the
checkpoint.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from loupe.doctor.findings import Finding, Part, name_some

__all__ = ["Place", "Values", "find_tensors", "measure"]

WHOLE, INDEX, ADAPTER = (
    "model.safetensors",
    "model.safetensors.index.json",
    "adapter_model.safetensors",
)
NUMBERS_AT_A_TIME = 2**20
FEWEST_JUDGED = 4096  # numbers below which chance and training cannot be told apart
STANDARD_ERRORS = 5.0
NORMAL_KURTOSIS = 3.0
ROUNDING = 0.01  # what storing in 16 bits may change of a variance or a kurtosis

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Place:
    """Where a tensor lies."""

    file: Path
    shape: Shape


@dataclass(frozen=True)
class Values:
    """What the numbers of a tensor are like."""

    not_finite: int
    is_zero: bool
    looks_random: bool
    """As drawn from a normal distribution that models start from: training would show."""


def find_tensors(folder: Path, part: Part) -> tuple[dict[str, Place], list[Finding]]:
    """Find the tensors that loading would read, by their files' headers, and what is amiss."""
    files, findings = _find_files(folder, part)
    places: dict[str, Place] = {}
    twice: list[str] = []
    for file in files:
        try:
            for name, shape in _read_header(file):
                if name in places:
                    twice.append(name)
                places[name] = Place(file, shape)
        except (OSError, SafetensorError) as error:
            findings.append(
                Finding(
                    part,
                    "wrong",
                    f"{file.name} cannot be read to its end ({error}).",
                    "Copy or download this file again; compare its size with the source.",
                )
            )
    if twice:
        findings.append(
            Finding(
                part,
                "wrong",
                f"{len(twice)} tensors stand in two files: {name_some(twice)}.",
                "Keep the files of one save only: empty the folder and save or download anew.",
            )
        )
    return places, findings


def _find_files(folder: Path, part: Part) -> tuple[list[Path], list[Finding]]:
    """Give the files that transformers and peft would read."""
    present = {path.name for path in folder.glob("*.safetensors")}
    findings = []
    named = {WHOLE, ADAPTER} & present
    if (folder / INDEX).is_file() and WHOLE not in present:
        named |= _files_of_index(folder / INDEX)
        if lacking := sorted(named - present):
            findings.append(
                Finding(
                    part,
                    "wrong",
                    f"{INDEX} names files that are not there: {name_some(lacking)}.",
                    "Copy or download these files into the folder.",
                )
            )
    idle = sorted(present - named)
    if idle:
        findings.append(
            Finding(
                part,
                "note" if named else "wrong",
                f"No loader reads {name_some(idle)}: {INDEX} does not name it.",
                "Remove what a former save left."
                if named
                else f"Add {INDEX}, or rename a single file to {WHOLE}.",
            )
        )
    return [folder / name for name in sorted(named & present)], findings


def _files_of_index(path: Path) -> set[str]:
    try:
        return set(map(str, json.loads(path.read_text("utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, AttributeError, TypeError):
        return set()


def _read_header(file: Path) -> Iterator[tuple[str, Shape]]:
    with safe_open(file, framework="pt") as opened:
        for name in opened.keys():  # noqa: SIM118  # no mapping: it has nothing to iterate over
            yield name, tuple(opened.get_slice(name).get_shape())


def measure(place: Place, name: str, initial: Collection[float]) -> Values:
    """Read a tensor piece by piece and tell what its numbers are like.

    `initial`: standard deviations with which the model's matrices may be drawn at first.
    """
    not_finite = count = done = 0
    # Made at once: small tensors kept between large ones would break the heap into pieces.
    rows = torch.zeros(place.shape[0] if len(place.shape) > 1 else 1, dtype=torch.float64)
    sums = torch.zeros(3, dtype=torch.float64)  # of powers 1, 2 and 4
    for piece in _pieces(place, name):
        numbers = piece.double().flatten(1)  # (rows, numbers of a row)
        not_finite += int((~numbers.isfinite()).sum())
        squares = numbers.square()
        rows[done : done + len(squares)] = squares.mean(dim=1)
        done += len(squares)
        sums += torch.stack([numbers.sum(), squares.sum(), squares.square().sum()])
        count += numbers.numel()
    is_zero = bool(sums[1] == 0)
    looks_random = not not_finite and any(
        _looks_drawn(place.shape, rows, sums, count, deviation) for deviation in initial
    )
    return Values(not_finite, is_zero, looks_random)


def _pieces(place: Place, name: str) -> Iterator[torch.Tensor]:
    with safe_open(place.file, framework="pt") as opened:
        if len(place.shape) < 2:
            yield opened.get_tensor(name).reshape(1, -1)
            return
        view: Any = opened.get_slice(name)
        step = max(1, NUMBERS_AT_A_TIME // max(1, math.prod(place.shape[1:])))
        for start in range(0, place.shape[0], step):
            yield view[start : start + step]


def _looks_drawn(
    shape: Shape, rows: torch.Tensor, sums: torch.Tensor, count: int, deviation: float
) -> bool:
    """Compare mean, deviation, kurtosis and the rows' spread with those of a normal draw.

    rows: mean squares. Rows that training moved differ far more than those of a draw.
    """
    rows = rows[rows > 0]  # an embedding's padding row is set to zero
    if len(shape) < 2 or count < FEWEST_JUDGED or len(rows) < 2:
        return False
    mean, _, fourth = (sums / count).tolist()
    width = count / shape[0]
    square = float(rows.mean())
    kurtosis = fourth * shape[0] / len(rows) / square**2
    spread = float(rows.var()) / square**2 * width / 2  # 1 for a normal draw
    return (
        abs(mean) <= STANDARD_ERRORS * math.sqrt(square / count)
        and abs(square / deviation**2 - 1) <= STANDARD_ERRORS * math.sqrt(2 / count) + ROUNDING
        and abs(kurtosis - NORMAL_KURTOSIS) <= STANDARD_ERRORS * math.sqrt(24 / count) + ROUNDING
        and abs(spread - 1) <= STANDARD_ERRORS * math.sqrt(2 / len(rows))
    )
