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
STANDARD_ERRORS = 6.0  # of five figures together, as the length of a vector: one draw in a million
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
    shape = place.shape if len(place.shape) > 1 else (1, math.prod(place.shape))
    rows = torch.zeros(shape[0], dtype=torch.float64)
    columns = torch.zeros(math.prod(shape[1:]), dtype=torch.float64)
    sums = torch.zeros(3, dtype=torch.float64)  # of powers 1, 2 and 4
    for piece in _pieces(place, name):
        numbers = piece.double().flatten(1)  # (rows, numbers of a row)
        not_finite += int((~numbers.isfinite()).sum())
        squares = numbers.square()
        rows[done : done + len(squares)] = squares.mean(dim=1)
        columns += squares.sum(dim=0)
        done += len(squares)
        sums += torch.stack([numbers.sum(), squares.sum(), squares.square().sum()])
        count += numbers.numel()
    is_zero = bool(sums[1] == 0)
    looks_random = not not_finite and any(
        _looks_drawn(rows, columns, sums, count, deviation) for deviation in initial
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
    rows: torch.Tensor, columns: torch.Tensor, sums: torch.Tensor, count: int, deviation: float
) -> bool:
    """Compare mean, deviation, kurtosis, the rows' and the columns' spread with a normal draw's.

    rows: mean squares, columns: sums of squares. Those that training moved differ far more than
    those of a draw.
    """
    rows_drawn = rows[rows > 0]  # an embedding's padding row is set to zero
    if count < FEWEST_JUDGED or len(rows_drawn) < 2:
        return False
    mean, _, fourth = (sums / count).tolist()
    square = float(rows_drawn.mean())
    kurtosis = fourth * len(rows) / len(rows_drawn) / square**2
    off = (
        mean / math.sqrt(square / count),
        _excess(square / deviation**2 - 1) / math.sqrt(2 / count),
        _excess(kurtosis - NORMAL_KURTOSIS) / math.sqrt(24 / count),
        _spread(rows_drawn, len(columns)),
        _spread(columns, len(rows_drawn)),
    )
    return math.hypot(*off) <= STANDARD_ERRORS


def _excess(difference: float) -> float:
    """Give how far a figure is off beyond what rounding may do."""
    return max(abs(difference) - ROUNDING, 0.0)


def _spread(squares: torch.Tensor, numbers: int) -> float:
    """Give by how many standard errors sums of that many squares differ more than a draw's."""
    spread = float(squares.var() / squares.mean() ** 2) * numbers / 2  # 1 for a normal draw
    return (spread - 1) / math.sqrt(2 / len(squares))
