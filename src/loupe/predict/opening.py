"""Open pictures ahead of the model, a bounded number, and part them into batches of like size."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image, UnidentifiedImageError

from loupe.build.ledger import Reason, Rejection
from loupe.build.rows.locate import Embedded, LocalFile, Url
from loupe.errors import PredictError
from loupe.options import BuildOptions, PredictOptions
from loupe.predict.pictures import decode_picture, fit_picture, open_picture
from loupe.predict.sources import Asked

__all__ = ["Opened", "cut_batches", "open_ahead", "open_asked"]

_BATCHES_AHEAD = 4  # opened together and sorted by length; as many again while they are answered


@dataclass(frozen=True)
class Opened:
    """What became of a picture: its pixels as the model will see them, or why there are none.

    `size` is its width and height before it was fitted.
    """

    asked: Asked
    picture: Image.Image | Rejection
    size: tuple[int, int] = (0, 0)


def open_ahead(
    asked: Iterable[Asked], processor: Any, options: PredictOptions, scratch: Path | None
) -> Iterator[list[Opened]]:
    """Open some batches of pictures at a time, the next ones while these are answered.

    URLs are fetched by the rules of `loupe build`, into files that are gone afterwards.
    """
    waiting = iter(asked)
    count = options.workers or os.cpu_count() or 1
    with (
        warnings.catch_warnings(),
        ThreadPoolExecutor(1, "ahead") as ahead,
        ThreadPoolExecutor(count, "open") as openers,
    ):
        warnings.filterwarnings("ignore", module=r"PIL\.")  # threads share their filters
        fit = partial(fit_picture, processor)

        def prepare() -> list[Opened]:
            window = list(islice(waiting, _BATCHES_AHEAD * options.batch_size))
            return _open_window(window, openers, fit, options, scratch)

        following = ahead.submit(prepare)
        while window := following.result():
            following = ahead.submit(prepare)
            yield window


def cut_batches(
    lengths: Sequence[int], batch_size: int, batch_tokens: int | None
) -> Iterator[list[int]]:
    """Give places of samples of like length, at most so many, padded to at most so many tokens.

    A sample that is longer than the budget is alone.
    """
    batch: list[int] = []
    for place in sorted(range(len(lengths)), key=lengths.__getitem__):  # the last is the longest
        tokens = (len(batch) + 1) * lengths[place]
        is_full = len(batch) == batch_size or (batch_tokens is not None and tokens > batch_tokens)
        if batch and is_full:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


def _open_window(
    window: Sequence[Asked],
    openers: Executor,
    fit: Callable[[Image.Image], Image.Image],
    options: PredictOptions,
    scratch: Path | None,
) -> list[Opened]:
    urls = [each for each in window if isinstance(each.place, Url)]
    if not urls:
        return list(openers.map(partial(open_asked, fit=fit, fetched={}), window))
    with TemporaryDirectory(dir=scratch, prefix="fetched-") as spool:
        fetched = _fetch(urls, Path(spool), options)
        return list(openers.map(partial(open_asked, fit=fit, fetched=fetched), window))


def open_asked(
    asked: Asked,
    fit: Callable[[Image.Image], Image.Image],
    fetched: Mapping[int, Path | Rejection],
) -> Opened:
    """Open a picture, fitted, or tell why it cannot be; that of a URL is the file in `fetched`."""
    place = asked.place
    found = fetched[asked.number] if isinstance(place, Url) else place
    if isinstance(found, Rejection):
        return Opened(asked, found)
    try:
        match found:
            case Path():
                picture = decode_picture(found, str(asked.columns["picture"]))
            case LocalFile():
                picture = open_picture(found.path)
            case Embedded():
                picture = decode_picture(found.content, str(asked.columns["picture"]))
        return Opened(asked, fit(picture), picture.size)
    except PredictError as error:
        return Opened(asked, Rejection(_reason_of(error), str(error)))
    except OSError as error:  # of a path: too long, or through a folder that is closed to us
        detail = f"{asked.columns['picture']!r}: {error.strerror}"
        return Opened(asked, Rejection(Reason.MISSING_PICTURE, detail))
    except ValueError as error:  # of a picture that is too narrow to be fitted
        return Opened(asked, Rejection(Reason.UNANSWERABLE, str(error)))


def _reason_of(error: PredictError) -> Reason:
    match error.__cause__:
        case None:
            return Reason.MISSING_PICTURE
        case Image.DecompressionBombError():
            return Reason.TOO_MANY_PIXELS
        case UnidentifiedImageError():
            return Reason.NOT_A_PICTURE
        case PermissionError():
            return Reason.MISSING_PICTURE
        case _:
            return Reason.TRUNCATED


def _fetch(
    asked: Sequence[Asked], spool: Path, options: PredictOptions
) -> dict[int, Path | Rejection]:
    """Fetch pictures into the folder `spool`; by number, the file of each, or why it has none."""
    from loupe.build.fetching import FetchRules, Gathering, gather_pictures
    from loupe.build.journal import Entry
    from loupe.build.pictures import PictureRules

    usual = BuildOptions(source="", output="")
    how = Gathering(
        spool=spool,
        fetching=FetchRules(
            timeout_seconds=usual.timeout_seconds,
            connect_timeout_seconds=usual.connect_timeout_seconds,
            read_timeout_seconds=usual.read_timeout_seconds,
            max_bytes=usual.max_bytes,
            retries=usual.retries,
            allow_private=options.allow_private,
            honour_opt_out=False,  # which is about training
            user_agent="loupe-vlm (reads pictures)",
        ),
        checking=PictureRules(
            min_side_px=1,
            min_contrast=0,
            max_pixels=usual.max_pixels,
            max_side_px=None,
            max_bytes=usual.max_bytes,
        ),
        concurrency=usual.concurrency,
        per_host=usual.per_host,
        workers=options.workers,
    )
    found: dict[int, Path | Rejection] = {}

    def record(number: int, entry: Entry) -> None:
        outcome = entry.outcome
        found[number] = outcome if isinstance(outcome, Rejection) else outcome.path

    jobs = [(each.number, each.place) for each in asked if isinstance(each.place, Url)]
    gather_pictures(jobs, len(jobs), how, record)
    return found
