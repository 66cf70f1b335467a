"""The steps of a build in order, each on what the one before gives."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from loupe.build.examine import Examined, Examiner, GoodRow, examine_rows
from loupe.build.fetch import FetchRules
from loupe.build.gather import Gathering, Job, gather_pictures
from loupe.build.groups import Keys, group_rows
from loupe.build.journal import Entry, Journal
from loupe.build.ledger import Rejection
from loupe.build.output import Workplace
from loupe.build.parquet import Fate, KeptRow
from loupe.build.pictures import PictureRules
from loupe.build.progress import Progress
from loupe.build.rows import Columns, RowNames, resolve_columns
from loupe.build.sources import read_table
from loupe.build.split import SPLITS, audit_split, split_groups
from loupe.build.table import Table
from loupe.build.write import Contents, Record, write_dataset
from loupe.errors import BuildError
from loupe.options import BuildOptions
from loupe.task import Task

__all__ = ["fill_folder"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Sides:
    """The group and the split of each row of the table; of no meaning where it was rejected."""

    groups: npt.NDArray[np.uint64]
    splits: npt.NDArray[np.int8]


def fill_folder(place: Workplace, options: BuildOptions, task: Task) -> Record:
    """Build a dataset, going on from what an earlier build left in its workplace.

    The table is read several times, and of its rows a few bytes each stay in memory.

    Raises:
        BuildError: no dataset can be made of the source.
        OSError: the folder cannot be written.
    """
    table = read_table(options.source)
    columns = _find_columns(table, task, options)
    logger.info("Read %s rows of %s", f"{table.arrow.num_rows:,}", table.name)
    root = table.folder if options.picture_root is None else Path(options.picture_root)
    examiner = Examiner(table, task, columns, root)
    examined = examine_rows(examiner)
    how = _plan_gathering(options, place.spool)
    terms = asdict(how.checking)
    with closing(Journal(place.journal, place.spool, examined.place_keys, terms)) as journal:
        _obtain_pictures(examiner, examined, journal, how)
        if not journal.kept.any():
            place.journal.unlink()  # to go on from failures alone would be to fail again
            _complain_of_rejected(examiner, examined, journal)
        sides, split = _split(examined, journal, options)
        fates = _tell_fates(examiner, examined, journal, sides)
        contents = Contents(table, columns.fields, fates, split)
        return write_dataset(place.dataset, contents, task, options)


def _find_columns(table: Table, task: Task, options: BuildOptions) -> Columns:
    return resolve_columns(
        table.columns,
        task,
        picture=options.image_column,
        row_id=options.id_column,
        fields=options.columns,
        group_by=options.group_by,
    )


def _plan_gathering(options: BuildOptions, spool: Path) -> Gathering:
    return Gathering(
        spool=spool,
        fetching=FetchRules(
            timeout_seconds=options.timeout_seconds,
            connect_timeout_seconds=options.connect_timeout_seconds,
            read_timeout_seconds=options.read_timeout_seconds,
            max_bytes=options.max_bytes,
            retries=options.retries,
            allow_private=options.allow_private,
            honour_opt_out=options.honour_opt_out,
            user_agent=options.user_agent,
        ),
        checking=PictureRules(
            min_side_px=options.min_side_px,
            max_pixels=options.max_pixels,
            max_side_px=options.max_side_px,
            max_bytes=options.max_bytes,
        ),
        concurrency=options.concurrency,
        per_host=options.per_host,
        workers=options.workers,
    )


def _obtain_pictures(
    examiner: Examiner, examined: Examined, journal: Journal, how: Gathering
) -> None:
    unknown = np.flatnonzero(~journal.known)
    if len(unknown) < len(journal.known):
        done = len(journal.known) - len(unknown)
        logger.info("An earlier build left off here: %s pictures are known", f"{done:,}")
    with Progress(len(unknown)) as progress:

        def record(key: int, entry: Entry) -> None:
            journal.write(key, entry)
            progress.count(entry)

        jobs = _list_jobs(examiner, examined, journal)
        gather_pictures(jobs, len(unknown), how, record)


def _list_jobs(examiner: Examiner, examined: Examined, journal: Journal) -> Iterator[Job]:
    """Give each unknown place once, in the order of rows."""
    wanted = ~journal.known
    for (_, found), place in zip(examiner.rows(), examined.places, strict=True):
        if isinstance(found, GoodRow) and wanted[place]:
            wanted[place] = False
            yield int(examined.place_keys[place]), found.place


def _tell_fates(
    examiner: Examiner, examined: Examined, journal: Journal, sides: _Sides
) -> Iterator[Fate]:
    """Give the fate of each row, in order."""
    names, id_column = RowNames(), examiner.columns.id
    for number, (row, found) in enumerate(examiner.rows()):
        row_id = names.name(None if id_column is None else row[id_column])
        if isinstance(found, Rejection):
            yield Fate(number, row_id, found)
            continue
        place = int(examined.places[number])
        entry = journal.read(place)
        result: KeptRow | Rejection = (
            entry.outcome
            if isinstance(entry.outcome, Rejection)
            else KeptRow(
                group_id=f"{sides.groups[number]:016x}",
                split=SPLITS[sides.splits[number]],
                values=found.values,
                picture=entry.outcome,
            )
        )
        key = int(examined.place_keys[place])
        cost = (entry.attempts, entry.received_bytes, entry.seconds)
        yield Fate(number, row_id, result, key, *cost)


def _complain_of_rejected(examiner: Examiner, examined: Examined, journal: Journal) -> NoReturn:
    read, name = examiner.table.arrow.num_rows, examiner.table.name
    if read == 0:
        raise BuildError(f"Table {name!r} has no rows. Give a source with at least one.")
    nowhere = _Sides(np.zeros(read, np.uint64), np.zeros(read, np.int8))
    counts, example = Counter[str](), ""
    for fate in _tell_fates(examiner, examined, journal, nowhere):
        assert isinstance(fate.result, Rejection)
        counts[str(fate.result.reason)] += 1
        example = example or f"row {fate.number + 1}: {fate.result.detail}"
    raise BuildError(
        f"All {read:,} rows of {name!r} were rejected ("
        f"{', '.join(f'{reason}: {count:,}' for reason, count in counts.most_common())}); "
        f"{example}. Check the columns and the pictures' paths."
    )


def _split(
    examined: Examined, journal: Journal, options: BuildOptions
) -> tuple[_Sides, dict[str, Any]]:
    """Group the rows and choose their splits; also give what to record about it."""
    usable = np.flatnonzero(examined.places >= 0)
    kept = usable[journal.kept[examined.places[usable]]]  # rows of the table
    hashes = {rule: column[kept] for rule, column in examined.keys.items()}
    hashes["picture"] = journal.pixels[examined.places[kept]]
    keys: Keys = {
        rule: [key or None for key in column.tolist()] for rule, column in hashes.items()
    }
    titles = hashes.get("title", np.zeros(len(kept), np.uint64))
    anchors = np.where(titles == 0, hashes["picture"], titles)
    groups = _name_groups(group_rows(keys), anchors)
    names = [f"{group:016x}" for group in groups]
    chosen, policy = split_groups(
        Counter(names),
        validation_share=options.validation_share,
        test_share=options.test_share,
        seed=options.seed,
    )
    splits = [chosen[name] for name in names]
    audit = audit_split(splits, names, keys)
    assert audit["test_rows_leaked"] == 0, f"{audit['test_rows_leaked']} test rows leaked"
    sides = _Sides(np.zeros(len(examined.places), np.uint64), np.zeros(len(examined.places), np.int8))
    sides.groups[kept] = groups
    sides.splits[kept] = [SPLITS.index(split) for split in splits]
    return sides, {"policy": policy, "seed": options.seed, "audit": audit}


def _name_groups(roots: Sequence[int], anchors: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Name each group by the smallest of its members' titles, or pictures where they have none.

    So the name does not depend on the order of rows, and a row that joins a group renames it
    only where its own hash is new and happens to be the smallest.
    """
    smallest = np.full(len(anchors), np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(smallest, roots, anchors)
    return smallest[roots]
