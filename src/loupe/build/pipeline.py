"""The steps of a build in order, each on what the one before gives."""

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from loupe.build.fetching import FetchRules, Gathering, Job, gather_pictures
from loupe.build.journal import Entry, Journal
from loupe.build.ledger import Rejection
from loupe.build.output import Workplace
from loupe.build.parquet import Fate, KeptRow, PictureFate
from loupe.build.pictures import CheckedPicture, PictureRules
from loupe.build.progress import Progress
from loupe.build.retry import take_over
from loupe.build.rows.examine import Examined, Examiner, GoodRow, examine_rows
from loupe.build.rows.names import RowNames
from loupe.build.rows.plan import plan_columns
from loupe.build.sources import Reading, read_table
from loupe.build.splits import SPLITS, Placement, place_rows
from loupe.build.write import Contents, Record, write_dataset
from loupe.errors import BuildError
from loupe.options import BuildOptions
from loupe.task import Task

__all__ = ["fill_folder"]

logger = logging.getLogger(__name__)


def fill_folder(place: Workplace, options: BuildOptions, task: Task) -> Record:
    """Build a dataset, going on from what an earlier build left in its workplace.

    The table is read several times, and of its rows a few bytes each stay in memory.

    Raises:
        BuildError: no dataset can be made of the source.
        OSError: the folder cannot be written.
    """
    table = read_table(options.source, _plan_reading(options, place.scratch))
    task, columns = plan_columns(table, task, options)
    logger.info("Read %s rows of %s", f"{table.arrow.num_rows:,}", table.name)
    root = table.folder if options.picture_root is None else Path(options.picture_root)
    examiner = Examiner(table, task, columns, root, tuple(options.stores), options.max_pictures)
    examined = examine_rows(examiner)
    how = _plan_gathering(options, place.spool)
    with closing(_open_journal(place, examined, options, asdict(how.checking))) as journal:
        _obtain_pictures(examiner, examined, journal, how, options.engine)
        if not journal.kept[examined.places[examined.places >= 0]].any():
            place.journal.unlink()  # to go on from failures alone would be to fail again
            _complain_of_rejected(examiner, examined, journal)
        placement = place_rows(examined, journal, task, options)
        fates = _tell_fates(examiner, examined, journal, placement)
        contents = Contents(
            table, columns.fields, fates, placement.record, has_more=examined.names_more
        )
        return write_dataset(place.dataset, contents, task, options)


def _plan_reading(options: BuildOptions, scratch: Path) -> Reading:
    return Reading(
        encoding=options.encoding,
        delimiter=options.delimiter,
        has_decimal_comma=options.decimal_mark == "comma",
        part=options.source_part,
        streaming=options.streaming,
        scratch=scratch,
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
            min_contrast=options.min_contrast,
            max_pixels=options.max_pixels,
            max_side_px=options.max_side_px,
            max_bytes=options.max_bytes,
        ),
        concurrency=options.concurrency,
        per_host=options.per_host,
        stores=tuple(options.stores),
        workers=options.workers,
    )


def _open_journal(
    place: Workplace, examined: Examined, options: BuildOptions, terms: dict[str, Any]
) -> Journal:
    if options.retry and not place.journal.exists():
        take_over(Path(options.output), place, terms)
    return Journal(
        place.journal,
        place.spool,
        examined.place_keys,
        terms,
        forget_failed=options.retry == "failed",
    )


def _obtain_pictures(
    examiner: Examiner, examined: Examined, journal: Journal, how: Gathering, engine: str
) -> None:
    unknown = np.flatnonzero(~journal.known)
    if len(unknown) < len(journal.known):
        done = len(journal.known) - len(unknown)
        logger.info("An earlier build left off here: %s pictures are known", f"{done:,}")
    if not len(unknown):
        return
    with Progress(len(unknown)) as progress:

        def record(key: int, entry: Entry) -> None:
            journal.write(key, entry)
            progress.count(entry)

        jobs = _list_jobs(examiner, examined, journal)
        if engine == "ray":
            from loupe.build.fetching.ray_engine import gather_with_ray

            gather_with_ray(jobs, how, record)
        else:
            gather_pictures(jobs, len(unknown), how, record)


def _list_jobs(examiner: Examiner, examined: Examined, journal: Journal) -> Iterator[Job]:
    """Give each unknown place once, in the order of rows."""
    wanted, more_places = ~journal.known, iter(examined.more_places)
    for (_, found), place in zip(examiner.rows(), examined.places, strict=True):
        if not isinstance(found, GoodRow):
            continue
        more = [each for each in found.more if not isinstance(each, Rejection)]
        named = [(place, found.place), *zip(islice(more_places, len(more)), more, strict=True)]
        for key_place, where in named:
            if wanted[key_place]:
                wanted[key_place] = False
                yield int(examined.place_keys[key_place]), where


def _tell_fates(
    examiner: Examiner, examined: Examined, journal: Journal, placement: Placement
) -> Iterator[Fate]:
    """Give the fate of each row, in order."""
    names, id_column = RowNames(examined.names), examiner.columns.id
    more_places = iter(examined.more_places)

    def tell(place: int) -> PictureFate:
        return PictureFate(journal.read(place), int(examined.place_keys[place]))

    for number, (row, found) in enumerate(examiner.rows()):
        row_id = names.name(None if id_column is None else row[id_column])
        if isinstance(found, Rejection):
            yield Fate(number, row_id, found)
            continue
        main = tell(int(examined.places[number]))
        more = tuple(
            PictureFate(Entry(each)) if isinstance(each, Rejection) else tell(next(more_places))
            for each in found.more
        )
        outcome = main.entry.outcome
        result: KeptRow | Rejection = (
            outcome
            if isinstance(outcome, Rejection)
            else KeptRow(
                group_id=f"{placement.groups[number]:016x}",
                split=SPLITS[placement.sides[number]],
                values=found.values,
                picture=outcome,
                more=tuple(
                    each.entry.outcome
                    for each in more
                    if isinstance(each.entry.outcome, CheckedPicture)
                ),
            )
        )
        yield Fate(number, row_id, result, main, more)


def _complain_of_rejected(examiner: Examiner, examined: Examined, journal: Journal) -> NoReturn:
    read, name = examiner.table.arrow.num_rows, examiner.table.name
    if read == 0:
        raise BuildError(f"Table {name!r} has no rows. Give a source with at least one.")
    nowhere = Placement(np.zeros(read, np.uint64), np.zeros(read, np.int8), {})
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
