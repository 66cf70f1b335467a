"""Read a Hugging Face dataset: a name on the hub, or a folder that `datasets` saved or opens."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from loupe.build.sources.parquet_files import fit_batch, name_labels, plain_schema
from loupe.build.sources.reading import Reading, complain_of_empty, first_line
from loupe.build.table import Table, holds_bytes, keep_batches
from loupe.errors import BuildError

__all__ = ["is_opened_by_datasets", "read_hugging_face"]

_SAVED = ("dataset_dict.json", "state.json")  # Dataset.save_to_disk and DatasetDict's
_ROWS_AT_A_TIME = 64


def is_opened_by_datasets(folder: Path) -> bool:
    """Tell whether a folder is a saved dataset, or a repository that says where its data is."""
    if any((folder / name).exists() for name in _SAVED):
        return True
    card = folder / "README.md"
    return (
        card.is_file() and "\nconfigs:" in card.read_text("utf-8", "replace").partition("\n---")[0]
    )


def read_hugging_face(source: str, how: Reading) -> Table:
    """Read all splits, one after the other; labels become their names, pictures stay encoded.

    Raises:
        BuildError: `datasets` cannot open it, or there is no row.
    """
    import datasets

    is_local = Path(source).is_dir()
    try:
        splits = [_plain(split) for split in _open(source, how, is_local=is_local)]
        schema = _join_schemas(splits)
        with_bytes = () if how.streaming else tuple(
            field.name for field in schema if holds_bytes(field)
        )  # fmt: skip
        kept = pa.schema([field for field in schema if field.name not in with_bytes])
        arrow = keep_batches(kept, _read_batches(splits, kept), how.scratch)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise BuildError(
            f"Dataset {source!r} cannot be opened by `datasets` ({first_line(error)}). Check the "
            "path or the name; --source-part names one of several configurations."
        ) from error
    if not arrow.num_rows:
        complain_of_empty(source)
    # What `datasets` downloads lies in its cache; the table must not point anywhere else.
    folder = Path(source) if is_local else Path(datasets.config.HF_CACHE_HOME)
    reopen = partial(_read_batches, splits, schema) if with_bytes else None
    return Table(source, folder, arrow, byte_columns=with_bytes, reopen=reopen)


def _open(source: str, how: Reading, *, is_local: bool) -> list[Any]:
    """Give the splits of a dataset."""
    import datasets

    if is_local and any((Path(source) / name).exists() for name in _SAVED):
        found = datasets.load_from_disk(source)
    else:
        scratch = str(how.scratch) if is_local and how.scratch else None
        found = datasets.load_dataset(source, how.part, streaming=how.streaming, cache_dir=scratch)
    return list(found.values()) if isinstance(found, dict) else [found]


def _plain(split: Any) -> Any:
    """Leave pictures as they are encoded: decoding is the check's work, within its limits."""
    import datasets

    for name, feature in (split.features or {}).items():
        if isinstance(feature, datasets.Image):
            split = split.cast_column(name, datasets.Image(decode=False))
        elif isinstance(getattr(feature, "feature", None), datasets.Image):  # a list of pictures
            split = split.cast_column(name, datasets.List(datasets.Image(decode=False)))
    return split


def _join_schemas(splits: Sequence[Any]) -> pa.Schema:
    schemas = []
    for split in splits:
        features = split.features
        if features is None:  # a stream of text tells its columns with its first rows
            schemas.append(next(iter(split.with_format("arrow").iter(_ROWS_AT_A_TIME))).schema)
        else:
            labels = _labels_of(split)
            schemas.append(pa.schema([
                field.with_type(pa.string()) if field.name in labels else field
                for field in features.arrow_schema
            ]))  # fmt: skip
    return pa.unify_schemas(list(map(plain_schema, schemas)), promote_options="permissive")


def _labels_of(split: Any) -> dict[str, list[str]]:
    """Give the names of labels, by column."""
    import datasets

    features = (split.features or {}).items()
    return {name: kind.names for name, kind in features if isinstance(kind, datasets.ClassLabel)}


def _read_batches(splits: Sequence[Any], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for split in splits:
        names = [name for name in split.column_names or schema.names if name in schema.names]
        labels = {name: texts for name, texts in _labels_of(split).items() if name in names}
        for table in split.select_columns(names).with_format("arrow").iter(_ROWS_AT_A_TIME):
            for batch in name_labels(table, labels).to_batches():
                yield fit_batch(batch, schema)
