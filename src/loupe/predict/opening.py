"""Open pictures ahead of the model, a bounded number, and part products into batches alike."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
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

__all__ = ["Opened", "cut_batches", "open_ahead"]

_BATCHES_AHEAD = 4  # opened together and sorted by length; as many again while they are answered


@dataclass(frozen=True)
class Opened:
    """What became of a product's pictures: their pixels as the model will see them, or why not.

    Of several, those that cannot be read are left out, as `asked` then tells; `lost` is why none
    is there. `sizes` are widths and heights before they were fitted.
    """

    asked: Asked
    pictures: Sequence[Image.Image]
    sizes: Sequence[tuple[int, int]]
    lost: Rejection | None = None


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
    urls = {place for each in window for place in each.places if isinstance(place, Url)}
    if not urls:
        return list(openers.map(partial(_open_product, fit=fit, fetched={}), window))
    with TemporaryDirectory(dir=scratch, prefix="fetched-") as spool:
        fetched = _fetch(sorted(urls, key=lambda each: each.url), Path(spool), options)
        return list(openers.map(partial(_open_product, fit=fit, fetched=fetched), window))


def _open_product(
    asked: Asked,
    fit: Callable[[Image.Image], Image.Image],
    fetched: Mapping[Url, Path | Rejection],
) -> Opened:
    """Open a product's pictures, fitted; those of URLs are the files in `fetched`."""
    pictures: list[Image.Image] = []
    sizes: list[tuple[int, int]] = []
    lost: list[Rejection] = []
    for name, place in zip(asked.names, asked.places, strict=True):
        found = _try_to_open(str(name), fetched[place] if isinstance(place, Url) else place)
        if isinstance(found, Rejection):
            lost.append(found)
            continue
        try:
            pictures.append(fit(found))
            sizes.append(found.size)
        except ValueError as error:  # it is too narrow to be fitted
            lost.append(Rejection(Reason.UNANSWERABLE, str(error)))
    if not pictures:
        reason, details = lost[0].reason, dict.fromkeys(each.detail for each in lost)
        return Opened(asked, (), (), Rejection(reason, " ".join(details)))
    if lost:
        columns = {**asked.columns, "left_out": [each.detail for each in lost]}
        asked = replace(asked, columns=columns)
    return Opened(asked, pictures, sizes)


def _try_to_open(
    name: str, place: LocalFile | Embedded | Path | Rejection
) -> Image.Image | Rejection:
    try:
        match place:
            case LocalFile():
                return open_picture(place.path)
            case Embedded():
                return decode_picture(place.content, name)
            case Path():
                return decode_picture(place, name)
    except PredictError as error:
        return Rejection(_reason_of(error), str(error))
    except OSError as error:  # of a path: too long, or through a folder that is closed to us
        return Rejection(Reason.MISSING_PICTURE, f"{name!r}: {error.strerror}")
    return place


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
    urls: Sequence[Url], spool: Path, options: PredictOptions
) -> dict[Url, Path | Rejection]:
    """Fetch pictures into the folder `spool`; give the file of each, or why it has none."""
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
    found: dict[Url, Path | Rejection] = {}

    def record(number: int, entry: Entry) -> None:
        outcome = entry.outcome
        found[urls[number]] = outcome if isinstance(outcome, Rejection) else outcome.path

    gather_pictures(list(enumerate(urls)), len(urls), how, record)
    return found
