"""Find what a source is, and read it with the reader for its kind."""

import glob
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa

from loupe.build.sources.delimited import read_delimited
from loupe.build.sources.excel import EXCEL_SUFFIXES, read_excel
from loupe.build.sources.hugging_face import is_opened_by_datasets, read_hugging_face
from loupe.build.sources.jsonl import read_jsonl
from loupe.build.sources.parquet_files import read_parquet
from loupe.build.sources.reading import Reading, list_some
from loupe.build.table import Table
from loupe.errors import BuildError
from loupe.pixels import SUFFIXES

__all__ = ["TABLE_SUFFIXES", "read_table"]

_Reader = Callable[[Sequence[Path], str, Reading], Table]
_READERS: dict[str, _Reader] = {
    ".csv": read_delimited,
    ".tsv": read_delimited,
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".parquet": read_parquet,
    **dict.fromkeys(EXCEL_SUFFIXES, read_excel),
}
TABLE_SUFFIXES = tuple(_READERS)
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)


def read_table(source: str | Path, how: Reading | None = None) -> Table:
    """Read a table, files by a glob, a folder, or a Hugging Face dataset.

    Raises:
        BuildError: there is no such source, it is of another kind, or it cannot be read as such.
        MissingExtraError: its reader is not installed.
    """
    how = how or Reading()
    path = Path(source)
    if path.is_dir():
        return _read_folder(path, how)
    if path.exists():
        return _read_files([path], str(source), how)
    if glob.has_magic(str(source)):
        return _read_files(_expand(str(source)), str(source), how)
    if _HUB_NAME.fullmatch(str(source)) and path.suffix.lower() not in _READERS:
        return read_hugging_face(str(source), how)
    raise BuildError(
        f"There is no {str(source)!r}; expected a table ({', '.join(TABLE_SUFFIXES)}), a "
        "folder, or owner/name of a Hugging Face dataset. Check the path of source."
    )


def _expand(pattern: str) -> list[Path]:
    found = sorted(map(Path, glob.glob(pattern, recursive=True)))  # noqa: PTH207 - may be absolute
    if not found:
        raise BuildError(f"No file matches the source {pattern!r}. Check the pattern.")
    return found


def _read_files(paths: Sequence[Path], name: str, how: Reading) -> Table:
    readers = {_READERS.get(path.suffix.lower()) for path in paths}
    reader = readers.pop()
    if readers:
        raise BuildError(
            f"Source {name!r} matches files of several kinds ({list_some(p.name for p in paths)}); "
            "expected one kind. Narrow the pattern."
        )
    if reader is None:
        raise BuildError(
            f"Source {name!r} is not a table that Loupe reads; expected one of "
            f"{', '.join(TABLE_SUFFIXES)}, or a folder. Convert it first."
        )
    return reader(paths, name, how)


def _read_folder(folder: Path, how: Reading) -> Table:
    if is_opened_by_datasets(folder):
        return read_hugging_face(str(folder), how)
    tables = sorted(path for path in folder.iterdir() if path.suffix.lower() in TABLE_SUFFIXES)
    metadata = [path for path in tables if path.stem == "metadata"]
    if len(tables) == 1 or len(metadata) == 1:
        return _read_files((metadata or tables)[:1], str(folder), how)
    if tables:
        names = list_some(path.name for path in tables)
        raise BuildError(
            f"Folder {str(folder)!r} holds {len(tables)} tables ({names}); expected one. Give the "
            "path of the table, or a glob, as source."
        )
    files = sorted(path for path in folder.rglob("*") if not _is_hidden(path.relative_to(folder)))
    if any(path.suffix.lower() in TABLE_SUFFIXES for path in files):
        return read_hugging_face(str(folder), how)
    return _list_pictures(folder, files)


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _list_pictures(folder: Path, files: Sequence[Path]) -> Table:
    found = [path.relative_to(folder) for path in files if path.suffix.lower() in SUFFIXES]
    if not found:
        raise BuildError(
            f"Folder {str(folder)!r} holds neither a table ({', '.join(TABLE_SUFFIXES)}) nor a "
            "picture in it or its sub-folders. Check the path of source."
        )
    categories = [path.parts[0] if len(path.parts) > 1 else None for path in found]
    columns = {
        "image": pa.array([path.as_posix() for path in found], pa.string()),
        "category": pa.array(categories, pa.string()),
        "name": pa.array([path.stem for path in found], pa.string()),
    }
    return Table(str(folder), folder, pa.table(columns))
