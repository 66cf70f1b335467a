"""The steps of a build in order, each on what the one before gives."""

import logging
import shutil
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from loupe.build.fetch import FetchRules
from loupe.build.gather import Gathering, gather_pictures
from loupe.build.groups import Keys, group_rows, name_groups, normalise_title
from loupe.build.ledger import Reason, Rejection
from loupe.build.locate import Embedded, LocalFile, Url, locate_picture
from loupe.build.parquet import KeptRow
from loupe.build.pictures import CheckedPicture, PictureRules
from loupe.build.rows import Columns, name_rows, read_values, resolve_columns
from loupe.build.split import audit_split, split_groups
from loupe.build.table import Table, read_table
from loupe.build.write import Contents, Record, write_dataset
from loupe.errors import BuildError
from loupe.options import BuildOptions
from loupe.task import Task, is_missing

__all__ = ["fill_folder"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Candidate:
    """A row whose values are good: where its picture is, and by what it may be tied to others."""

    number: int
    values: dict[str, Any]
    place: LocalFile | Url
    keys: dict[str, Hashable | None]


@dataclass(frozen=True)
class _Checked:
    """A candidate whose picture is good."""

    row: _Candidate
    picture: CheckedPicture


def fill_folder(folder: Path, options: BuildOptions, task: Task) -> Record:
    """Build into an empty folder.

    Raises:
        BuildError: no dataset can be made of the source.
        OSError: the folder cannot be written.
    """
    table = read_table(options.source)
    columns = _find_columns(table, task, options)
    logger.info("Read %s rows of %s", f"{table.arrow.num_rows:,}", table.name)
    spool = folder / "spool"
    spool.mkdir()
    root = table.folder if options.picture_root is None else Path(options.picture_root)
    candidates, rejected = _examine_rows(table, task, columns, root=root, spool=spool)
    checked, unusable = _obtain_pictures(candidates, _plan_gathering(options, spool))
    rejected |= unusable
    _check_fates(table, len(checked), rejected)
    row_ids = name_rows(_read_cells(table, columns.id), table.arrow.num_rows)
    rows, split = _split(checked, row_ids, options)
    contents = Contents(table, columns.fields, row_ids, rows, rejected, split)
    record = write_dataset(folder, contents, task, options)
    shutil.rmtree(spool)
    return record


def _find_columns(table: Table, task: Task, options: BuildOptions) -> Columns:
    return resolve_columns(
        table.columns,
        task,
        picture=options.image_column,
        row_id=options.id_column,
        fields=options.columns,
        group_by=options.group_by,
    )


def _examine_rows(
    table: Table, task: Task, columns: Columns, *, root: Path, spool: Path
) -> tuple[list[_Candidate], dict[int, Rejection]]:
    """Sort out rows that fail before any picture is touched: those are not downloaded."""
    candidates: list[_Candidate] = []
    rejected: dict[int, Rejection] = {}
    for number, row in enumerate(table.rows()):
        if number in table.problems:
            rejected[number] = Rejection(Reason.MALFORMED_ROW, table.problems[number])
            continue
        values = read_values(row, task, columns)
        place = locate_picture(row[columns.picture], root)
        if isinstance(values, Rejection):
            rejected[number] = values
        elif isinstance(place, Rejection):
            rejected[number] = place
        else:
            if isinstance(place, Embedded):
                place = _spool(place, spool / f"{number}.embedded")
            candidates.append(_Candidate(number, values, place, _make_keys(row, columns)))
    return candidates, rejected


def _spool(place: Embedded, path: Path) -> LocalFile:
    """Move a picture's bytes to a file, so that memory holds one of them at a time."""
    path.write_bytes(place.content)
    return LocalFile(path)


def _make_keys(row: Mapping[str, Any], columns: Columns) -> dict[str, Hashable | None]:
    """Give, by rule, what ties a row to others; the picture's key comes when it is decoded."""
    keys: dict[str, Hashable | None] = {}
    if columns.title is not None:
        title = row[columns.title]
        keys["title"] = None if is_missing(title) else normalise_title(str(title))
    if columns.id is not None:
        keys["id"] = None if is_missing(row[columns.id]) else str(row[columns.id])
    if columns.group_by:
        cells = [row[column] for column in columns.group_by]
        keys["group_by"] = None if all(map(is_missing, cells)) else tuple(map(str, cells))
    return keys


def _plan_gathering(options: BuildOptions, spool: Path) -> Gathering:
    return Gathering(
        spool=spool,
        fetching=FetchRules(
            timeout_seconds=options.timeout_seconds,
            max_bytes=options.max_bytes,
            retries=options.retries,
            allow_private=options.allow_private,
        ),
        checking=PictureRules(
            min_side_px=options.min_side_px,
            max_pixels=options.max_pixels,
            max_side_px=options.max_side_px,
            max_bytes=options.max_bytes,
        ),
        concurrency=options.concurrency,
        workers=options.workers,
    )


def _obtain_pictures(
    candidates: Sequence[_Candidate], how: Gathering
) -> tuple[list[_Checked], dict[int, Rejection]]:
    places = list(dict.fromkeys(row.place for row in candidates))
    with tqdm(total=len(places), desc="pictures", unit="picture", disable=None) as bar:
        outcomes = gather_pictures(places, how, bar.update)
    checked: list[_Checked] = []
    rejected: dict[int, Rejection] = {}
    for row in candidates:
        outcome = outcomes[row.place]
        if isinstance(outcome, Rejection):
            rejected[row.number] = outcome
        else:
            checked.append(_Checked(row, outcome))
    return checked, rejected


def _check_fates(table: Table, kept: int, rejected: Mapping[int, Rejection]) -> None:
    """Hold the build to its promise: every row is kept or has a reason, and some are kept."""
    read = table.arrow.num_rows
    assert kept + len(rejected) == read, f"{kept} kept + {len(rejected)} rejected, {read} read"
    if read == 0:
        raise BuildError(f"Table {table.name!r} has no rows. Give a source with at least one.")
    if kept == 0:
        counts = Counter(str(rejection.reason) for rejection in rejected.values())
        number, example = min(rejected.items())
        raise BuildError(
            f"All {read:,} rows of {table.name!r} were rejected ("
            f"{', '.join(f'{reason}: {count:,}' for reason, count in counts.most_common())}); "
            f"row {number + 1}: {example.detail}. Check the columns and the pictures' paths."
        )


def _read_cells(table: Table, column: str | None) -> list[Any] | None:
    return None if column is None else list(table.arrow.column(column).to_pylist())


def _split(
    checked: Sequence[_Checked], row_ids: Sequence[str], options: BuildOptions
) -> tuple[list[KeptRow], dict[str, Any]]:
    """Group the rows and choose their splits; also give what to record about it."""
    keys: Keys = {
        **{rule: [each.row.keys[rule] for each in checked] for rule in checked[0].row.keys},
        "picture": [each.picture.pixel_sha256 for each in checked],
    }
    groups = name_groups(group_rows(keys), _make_anchors(checked))
    sides, policy = split_groups(
        Counter(groups),
        validation_share=options.validation_share,
        test_share=options.test_share,
        seed=options.seed,
    )
    rows = [
        KeptRow(
            number=each.row.number,
            row_id=row_ids[each.row.number],
            group_id=group,
            split=sides[group],
            values=each.row.values,
            picture=each.picture,
        )
        for each, group in zip(checked, groups, strict=True)
    ]
    audit = audit_split([row.split for row in rows], groups, keys)
    assert audit["test_rows_leaked"] == 0, f"{audit['test_rows_leaked']} test rows leaked"
    return rows, {"policy": policy, "seed": options.seed, "audit": audit}


def _make_anchors(checked: Sequence[_Checked]) -> list[str]:
    """Give each row what its group's id is made of: its title, else its picture."""
    titles = [each.row.keys.get("title") for each in checked]
    return [
        f"picture {each.picture.pixel_sha256}" if title is None else f"title {title}"
        for each, title in zip(checked, titles, strict=True)
    ]
