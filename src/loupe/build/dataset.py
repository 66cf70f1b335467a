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
_IMAGES = ("image", "more_images")  # the main picture of a row, and the list of the others
_CACHE_BYTES = 512 * 2**20  # of encoded pictures, per split


def split_file(split: str) -> str:
    """Give the path of a split's file within the folder, as `datasets` names such files."""
    return f"data/{split}-00000-of-00001.parquet"


class Dataset:
    """A finished dataset: `path`, its `task` with choices closed, and `info`, its dataset.json.

    `most_pictures` is how many of a row's pictures its splits give; None for all.
    """

    def __init__(
        self, path: Path, task: Task, info: dict[str, Any], most_pictures: int | None = None
    ) -> None:
        self.path = path
        self.task = task
        self.info = info
        self.most_pictures = most_pictures

    @classmethod
    def open(cls, path: str | Path, *, most_pictures: int | None = None) -> "Dataset":
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
        return cls(folder, task, info, most_pictures)

    def count_pictures(self) -> int:
        """Count the pictures of the row that has most, as far as they are given."""
        if "more_images" not in self.info:
            return 1
        splits = map(self.rows, self._counts())
        return max((len(row) for rows in splits for row in rows.picture_sizes()), default=1)

    def rows(self, split: str) -> "Split":
        """Give the rows of train, validation or test.

        Raises:
            DatasetError: there is no such split, or its file is not as the record says.
        """
        counts = self._counts()
        if split not in counts:
            raise DatasetError(
                f"Dataset {str(self.path)!r} has no split {split!r}; it has {', '.join(counts)}."
            )
        path = self.path / split_file(split)
        return Split(path, self.task, counts[split], self.most_pictures)

    def _counts(self) -> dict[str, int]:
        """Give the number of rows of each split."""
        counts = self.info["counts"].items()
        return {name: count for name, count in counts if name not in {"read", "rejected"}}


class Split:
    """The rows of one split; pictures are read when asked for, a row group at a time.

    A row has a main picture and may have more, of which at most `most_pictures` in all are given.
    """

    def __init__(
        self, path: Path, task: Task, count: int, most_pictures: int | None = None
    ) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            self._metadata = pq.read_metadata(path)
            schema = pq.read_schema(path)
            images = [name for name in _IMAGES if _holds_images(schema, name)]
            names = [name for name in schema.names if name not in images]
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
        self._most_further = None if most_pictures is None else most_pictures - 1
        has_more = len(images) > 1 and self._most_further != 0
        self._pictures = _RowGroups(path, self._metadata, images if has_more else images[:1])

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
        """Give a row's main picture, RGB and upright."""
        return _decode(self._pictures.read(self._checked(place))[0])

    def pictures(self, place: int) -> "list[Image.Image]":
        """Give a row's pictures, the main one first, RGB and upright."""
        return [_decode(content) for content in self._encoded(place)]

    def picture_hash(self, place: int) -> str:
        """Give the SHA-256 of a row's main picture as it is stored, in hexadecimal."""
        return hashlib.sha256(self._pictures.read(self._checked(place))[0]).hexdigest()

    def picture_hashes(self, place: int) -> list[str]:
        """Give the SHA-256 of each of a row's pictures as it is stored, in hexadecimal."""
        return [hashlib.sha256(content).hexdigest() for content in self._encoded(place)]

    def picture_sizes(self) -> list[tuple[tuple[int, int], ...]]:
        """Give for each row the (width, height) of its pictures, in pixels; none is opened."""
        mains = zip(self.column("image_width"), self.column("image_height"), strict=True)
        if not self._pictures.has_more:
            return [(size,) for size in mains]
        lists = self.column("more_image_widths"), self.column("more_image_heights")
        more = (list(zip(*each, strict=True)) for each in zip(*lists, strict=True))
        return [
            (size, *further[: self._most_further])
            for size, further in zip(mains, more, strict=True)
        ]

    def _encoded(self, place: int) -> list[bytes]:
        main, *further = self._pictures.read(self._checked(place))
        return [main, *further[: self._most_further]]

    def _checked(self, place: int) -> int:
        if not 0 <= place < len(self):
            raise IndexError(f"row {place} of a split with {len(self)} rows")
        return place


def _holds_images(schema: "pa.Schema", name: str) -> bool:
    """Tell whether a column is one of ours: a table's own may be called more_images too."""
    from loupe.build.table import holds_bytes

    return name in schema.names and (name == _IMAGES[0] or holds_bytes(schema.field(name)))


def _decode(content: bytes) -> "Image.Image":
    from PIL import Image

    return Image.open(io.BytesIO(content)).convert("RGB")


class _RowGroups:
    """Encoded pictures by row, with the row groups read last kept within a bound of memory.

    `columns` has that of main pictures, and that of the lists of further ones where they are asked
    for.
    """

    def __init__(self, path: Path, metadata: Any, columns: list[str]) -> None:
        self._path = path
        self._metadata = metadata
        self._columns = columns
        self._starts = [0]
        largest = 1
        for number in range(metadata.num_row_groups):
            group = metadata.row_group(number)
            self._starts.append(self._starts[-1] + group.num_rows)
            largest = max(largest, group.total_byte_size)
        self._max_cached = max(1, _CACHE_BYTES // largest)
        self._cached: dict[int, list[pa.Array]] = {}

    @property
    def has_more(self) -> bool:
        """Tell whether further pictures are given."""
        return len(self._columns) > 1

    def read(self, row: int) -> list[bytes]:
        """Give the encoded pictures of a row."""
        from bisect import bisect_right

        number = bisect_right(self._starts, row) - 1
        main, *more = (each[row - self._starts[number]].as_py() for each in self._group(number))
        return [main["bytes"], *(each["bytes"] for images in more for each in images)]

    def _group(self, number: int) -> "list[pa.Array]":
        import pyarrow.parquet as pq

        found = self._cached.pop(number, None)
        if found is None:
            # Opened anew each time: a split can be pickled, and shared by forked processes.
            with pq.ParquetFile(self._path, metadata=self._metadata) as file:
                group = file.read_row_group(number, columns=self._columns)
            found = [group.column(name).combine_chunks() for name in self._columns]
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
