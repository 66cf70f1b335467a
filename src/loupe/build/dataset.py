"""Read a dataset folder: its task, its record, and the rows and pictures of each split."""

import hashlib
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loupe.errors import DatasetError, TaskError
from loupe.task import Task

if TYPE_CHECKING:
    import pyarrow as pa
    from PIL import Image

__all__ = ["FORMAT", "Dataset", "Split", "split_file"]

FORMAT = 1
_RECORD = "dataset.json"
_CACHE_BYTES = 512 * 2**20  # of encoded pictures, per split


def split_file(split: str) -> str:
    """Give the path of a split's file within the folder, as `datasets` names such files."""
    return f"data/{split}-00000-of-00001.parquet"


class Dataset:
    """A finished dataset: `path`, its `task` with choices closed, and `info`, its dataset.json."""

    def __init__(self, path: Path, task: Task, info: dict[str, Any]) -> None:
        self.path = path
        self.task = task
        self.info = info

    @classmethod
    def open(cls, path: str | Path) -> "Dataset":
        """Open a folder that `loupe build` finished.

        Raises:
            DatasetError: the folder is missing, unfinished, or something else.
        """
        folder = Path(path)
        info = _read_record(folder)
        try:
            task = Task.from_dict(info["task"])
        except (KeyError, TaskError) as error:
            raise DatasetError(
                f"The record {str(folder / _RECORD)!r} holds no task that can be read ({error}). "
                "Build the dataset again."
            ) from error
        return cls(folder, task, info)

    def rows(self, split: str) -> "Split":
        """Give the rows of train, validation or test.

        Raises:
            DatasetError: there is no such split, or its file is not as the record says.
        """
        counts = {
            name: count
            for name, count in self.info["counts"].items()
            if name not in {"read", "rejected"}
        }
        if split not in counts:
            raise DatasetError(
                f"Dataset {str(self.path)!r} has no split {split!r}; it has {', '.join(counts)}."
            )
        return Split(self.path / split_file(split), self.task, counts[split])


class Split:
    """The rows of one split; pictures are read when asked for, a row group at a time."""

    def __init__(self, path: Path, task: Task, count: int) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            self._metadata = pq.read_metadata(path)
            names = [name for name in pq.read_schema(path).names if name != "image"]
            self._table = pq.read_table(path, columns=names)
        except (OSError, pa.ArrowInvalid) as error:
            raise DatasetError(
                f"Split file {str(path)!r} cannot be read ({error}). Build the dataset again."
            ) from error
        if self._table.num_rows != count:
            raise DatasetError(
                f"Split file {str(path)!r} has {self._table.num_rows} rows, its record says "
                f"{count}. Build the dataset again."
            )
        self.columns: list[str] = names
        self._path = path
        self._fields = list(task.fields)
        self._pictures = _RowGroups(path, self._metadata)

    def __len__(self) -> int:
        """Give the number of rows."""
        return int(self._table.num_rows)

    @property
    def kept_bytes(self) -> int:
        """Most bytes of encoded pictures that stay in memory once rows were read."""
        groups = range(self._metadata.num_row_groups)
        encoded = (int(self._metadata.row_group(number).total_byte_size) for number in groups)
        return min(sum(encoded), _CACHE_BYTES)

    def column(self, name: str) -> list[Any]:
        """Give the values of a column, in the order of rows.

        Raises:
            DatasetError: there is no such column.
        """
        if name not in self.columns:
            raise DatasetError(
                f"Split file {str(self._path)!r} has no column {name!r}; it has "
                f"{', '.join(self.columns)}."
            )
        values: list[Any] = self._table.column(name).to_pylist()
        return values

    def row(self, place: int) -> dict[str, Any]:
        """Give a row's columns without its picture; rows count from 0."""
        row: dict[str, Any] = self._table.slice(self._checked(place), 1).to_pylist()[0]
        return row

    def values(self, place: int) -> dict[str, Any]:
        """Give a row's typed values of the task's fields."""
        row = self.row(place)
        return {name: row[name] for name in self._fields}

    def picture(self, place: int) -> "Image.Image":
        """Give a row's picture, RGB and upright."""
        from PIL import Image

        content = self._pictures.read(self._checked(place))
        return Image.open(io.BytesIO(content)).convert("RGB")

    def picture_hash(self, place: int) -> str:
        """Give the SHA-256 of a row's picture as it is stored, in hexadecimal."""
        return hashlib.sha256(self._pictures.read(self._checked(place))).hexdigest()

    def _checked(self, place: int) -> int:
        if not 0 <= place < len(self):
            raise IndexError(f"row {place} of a split with {len(self)} rows")
        return place


class _RowGroups:
    """Encoded pictures by row, with the row groups read last kept within a bound of memory."""

    def __init__(self, path: Path, metadata: Any) -> None:
        self._path = path
        self._metadata = metadata
        self._starts = [0]
        largest = 1
        for number in range(metadata.num_row_groups):
            group = metadata.row_group(number)
            self._starts.append(self._starts[-1] + group.num_rows)
            largest = max(largest, group.total_byte_size)
        self._max_cached = max(1, _CACHE_BYTES // largest)
        self._cached: dict[int, pa.Array] = {}

    def read(self, row: int) -> bytes:
        """Give the encoded picture of a row."""
        from bisect import bisect_right

        number = bisect_right(self._starts, row) - 1
        content: bytes = self._group(number)[row - self._starts[number]].as_py()
        return content

    def _group(self, number: int) -> "pa.Array":
        import pyarrow.parquet as pq

        found = self._cached.pop(number, None)
        if found is None:
            # Opened anew each time: a split can be pickled, and shared by forked processes.
            with pq.ParquetFile(self._path, metadata=self._metadata) as file:
                column = file.read_row_group(number, columns=["image"]).column("image")
            found = column.combine_chunks().field("bytes")
        self._cached[number] = found  # last in order: the dict's first is the oldest
        while len(self._cached) > self._max_cached:
            self._cached.pop(next(iter(self._cached)))
        return found


def _read_record(folder: Path) -> dict[str, Any]:
    record = folder / _RECORD
    make = "Make one: `loupe build --source TABLE --output FOLDER`"
    if not folder.is_dir():
        raise DatasetError(f"There is no dataset folder {str(folder)!r}. {make}.")
    if not record.exists():
        raise DatasetError(
            f"Folder {str(folder)!r} holds no finished dataset: it has no {_RECORD}. {make}."
        )
    try:
        info = json.loads(record.read_text("utf-8"))
        found = info["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            f"{str(record)!r} is not the record of a dataset that `loupe build` made. {make}."
        ) from error
    if found != FORMAT:
        raise DatasetError(
            f"Dataset {str(folder)!r} has format {found}; this Loupe reads format {FORMAT}. "
            "Build it again."
        )
    checked: dict[str, Any] = info
    return checked
