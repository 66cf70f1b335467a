"""Read from a dataset's files what its profile shows."""

import io
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
from PIL import Image

from loupe.build.dataset import split_file
from loupe.build.rows.columns import NUMBER_TYPES
from loupe.build.splits import SPLITS
from loupe.task import Task

__all__ = ["Example", "Material", "Tile", "read_material"]

_EXAMPLES = 3  # of each reason
_TILES = {"train": 24, "validation": 8, "test": 16}
_TILE_PX = 160
_TILE_QUALITY = 80
_BATCH_ROWS = 10_000
_SIDE = "{longest side}"  # no field can have such a name

Values = npt.NDArray[Any]


@dataclass(frozen=True)
class Example:
    """A rejected row; its number counts from 1."""

    row_number: int
    row_id: str
    detail: str


@dataclass(frozen=True)
class Tile:
    """A row of the contact sheet, with its picture as a small JPEG."""

    split: str
    values: dict[str, Any]
    picture: bytes


@dataclass(frozen=True)
class Material:
    """What the page shows, by split where it is one value a row.

    `sides_px` has the longest side of each picture; `group_sizes` how many rows each group has.
    """

    numbers: dict[str, dict[str, Values]]
    choices: dict[str, dict[str, Counter[str]]]
    sides_px: dict[str, Values]
    picture_sizes: Counter[tuple[int, int]]
    group_sizes: Values
    examples: dict[str, list[Example]]
    tiles: list[Tile]


def read_material(folder: Path, task: Task) -> Material:
    """Read the columns that are needed, and the pictures of the contact sheet."""
    numbers = [name for name, field in task.fields.items() if field.type in NUMBER_TYPES]
    choices = [name for name, field in task.fields.items() if field.type == "choice"]
    splits = {split: _read_split(folder, split, numbers, choices) for split in SPLITS}
    groups = np.concatenate([each.groups for each in splits.values()])
    return Material(
        numbers={name: _by_split(splits, name) for name in numbers},
        choices={
            name: {split: each.choices[name] for split, each in splits.items()} for name in choices
        },
        sides_px=_by_split(splits, _SIDE),
        picture_sizes=sum((each.picture_sizes for each in splits.values()), Counter()),
        group_sizes=np.unique(groups, return_counts=True)[1],
        examples=_read_examples(folder / "rejected.parquet"),
        tiles=[tile for split in SPLITS for tile in _read_tiles(folder, split, task)],
    )


@dataclass(frozen=True)
class _Columns:
    """Columns of one split: values of each row, and counts of what there are few different of."""

    values: dict[str, Values]
    groups: npt.NDArray[np.uint64]
    choices: dict[str, Counter[str]]
    picture_sizes: Counter[tuple[int, int]]


def _read_split(folder: Path, split: str, numbers: list[str], choices: list[str]) -> _Columns:
    """Read columns a batch at a time; texts do not stay in memory."""
    values: dict[str, list[Values]] = {name: [np.zeros(0)] for name in (*numbers, _SIDE)}
    groups: list[npt.NDArray[np.uint64]] = [np.zeros(0, np.uint64)]
    counts = {name: Counter[str]() for name in choices}
    sizes = Counter[tuple[int, int]]()
    names = ["group_id", "image_width", "image_height", *numbers, *choices]
    with pq.ParquetFile(folder / split_file(split)) as file:
        for batch in file.iter_batches(_BATCH_ROWS, columns=names):
            width, height = (batch[name].to_numpy() for name in ("image_width", "image_height"))
            values[_SIDE].append(np.maximum(width, height))
            for name in numbers:
                values[name].append(batch[name].to_numpy())
            ids = [int(name, 16) for name in batch["group_id"].to_pylist()]
            groups.append(np.array(ids, np.uint64))
            sizes.update(zip(width.tolist(), height.tolist(), strict=True))
            for name in choices:
                counts[name].update(batch[name].to_pylist())
    whole = {name: np.concatenate(parts) for name, parts in values.items()}
    return _Columns(whole, np.concatenate(groups), counts, sizes)


def _by_split(splits: Mapping[str, _Columns], name: str) -> dict[str, Values]:
    return {split: each.values[name] for split, each in splits.items()}


def _read_examples(path: Path) -> dict[str, list[Example]]:
    found: dict[str, list[Example]] = {}
    names = ["row_number", "row_id", "reason", "detail"]
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(columns=names):
            for number, row_id, reason, detail in zip(*batch.to_pydict().values(), strict=True):
                examples = found.setdefault(reason, [])
                if len(examples) < _EXAMPLES:
                    examples.append(Example(number, row_id, detail))
    return found


def _read_tiles(folder: Path, split: str, task: Task) -> Iterator[Tile]:
    """Give rows evenly spaced over the split; one row group is in memory at a time."""
    with pq.ParquetFile(folder / split_file(split)) as file:
        ends = np.cumsum([file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)])
        count = file.metadata.num_rows
        wanted = np.unique(np.linspace(0, count, _TILES[split], endpoint=False).astype(np.int64))
        wanted = wanted[wanted < count]
        groups = np.searchsorted(ends, wanted, side="right")
        for group in np.unique(groups):
            rows = file.read_row_group(int(group), columns=["image", *task.fields])
            start = ends[group] - rows.num_rows
            for row in rows.take(wanted[groups == group] - start).to_pylist():
                picture = _shrink(row.pop("image")["bytes"])
                yield Tile(split, row, picture)


def _shrink(content: bytes) -> bytes:
    image = Image.open(io.BytesIO(content)).convert("RGB")
    image.thumbnail((_TILE_PX, _TILE_PX))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_TILE_QUALITY)
    return buffer.getvalue()
