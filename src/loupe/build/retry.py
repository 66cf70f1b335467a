"""Take the pictures of a finished dataset over into a new build, but for those that failed."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from loupe.build.dataset import Dataset, split_file
from loupe.build.journal import Entry, Journal, picture_file
from loupe.build.output import FINISHED_FILE, MORE_LEDGER, Workplace
from loupe.build.pictures import CheckedPicture
from loupe.build.splits import SPLITS
from loupe.errors import BuildError

__all__ = ["take_over"]

_AT_A_TIME = 64  # pictures in memory


@dataclass(frozen=True)
class _Kept:
    """A kept picture: its line of a ledger, and itself as the dataset holds it, with its sides."""

    noted: dict[str, Any]
    stored: dict[str, Any]
    size: tuple[int, int]


def take_over(output: Path, place: Workplace, terms: Mapping[str, Any]) -> None:
    """Note every fetched picture of a dataset in a new journal, with its bytes in the spool.

    Pictures of local files are not taken over: checking them again costs little.

    Raises:
        BuildError: `output` holds no dataset, was built under other terms, or has no ledger.
    """
    if not (output / FINISHED_FILE).exists():
        raise BuildError(
            f"There is no dataset {str(output)!r} whose failures could be tried again. Build it "
            "first, without --retry."
        )
    _check_terms(Dataset.open(output), terms)
    draft = place.scratch / "journal"
    with closing(Journal(draft, place.spool, np.zeros(0, np.uint64), dict(terms))) as journal:
        known = set()
        for row in _read_kept(output):
            key = row.noted["picture_key"]
            if row.noted["attempts"] and key not in known:
                known.add(key)
                journal.write(key, _restore(row, picture_file(place.spool, key)))
    draft.rename(place.journal)


def _check_terms(dataset: Dataset, terms: Mapping[str, Any]) -> None:
    if not (dataset.path / "ledger.parquet").exists():
        raise BuildError(
            f"Dataset {str(dataset.path)!r} has no ledger.parquet: an older Loupe made it. Build "
            "it again with --overwrite."
        )
    before = dataset.info["options"]
    for name, value in terms.items():
        if before.get(name) != value:
            raise BuildError(
                f"Dataset {str(dataset.path)!r} was built with {name} {before.get(name)}, now it "
                f"is {value}; --retry keeps the pictures as they are. Give the same, or build "
                "anew with --overwrite."
            )


def _read_kept(folder: Path) -> Iterator[_Kept]:
    """Give the pictures of kept rows in the order of the table, which is that of each split."""
    has_more = (folder / MORE_LEDGER).is_file()
    columns = ["image", "image_width", "image_height"]
    if has_more:
        columns += ["more_images", "more_image_widths", "more_image_heights"]
    stored = {split: _read(folder / split_file(split), columns) for split in SPLITS}
    more = _read(folder / MORE_LEDGER, None) if has_more else iter(())
    kept_more = (noted for noted in more if noted["fate"] in stored)
    for noted in _read(folder / "ledger.parquet", None):
        if noted["fate"] in stored:
            main, *further = _pictures_of(next(stored[noted["fate"]]))
            yield _Kept(noted, *main)
            for each in further:
                yield _Kept(next(kept_more), *each)


def _pictures_of(row: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], tuple[int, int]]]:
    yield row["image"], (row["image_width"], row["image_height"])
    sides = row.get("more_image_widths", ()), row.get("more_image_heights", ())
    yield from zip(row.get("more_images", ()), zip(*sides, strict=True), strict=True)


def _read(path: Path, columns: list[str] | None) -> Iterator[dict[str, Any]]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_AT_A_TIME, columns=columns):
            yield from batch.to_pylist()


def _restore(row: _Kept, path: Path) -> Entry:
    content, noted = row.stored["bytes"], row.noted
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    picture = CheckedPicture(
        path=path,
        suffix=Path(row.stored["path"]).suffix,
        size_bytes=len(content),
        width=row.size[0],
        height=row.size[1],
        sha256=noted["sha256"],
        pixel_sha256=noted["pixel_sha256"],
        perceptual_hash=int.from_bytes(noted["perceptual_hash"], "big"),
    )
    return Entry(picture, noted["attempts"], noted["bytes"], noted["seconds"])
