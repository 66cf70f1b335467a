"""Draw many products to a folder, in this process or in several."""

import logging
import os
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from tqdm import tqdm

from loupe.sample.catalogue import Product
from loupe.sample.pictures import draw_picture, picture_rng
from loupe.sample.table import image_path

JPEG_QUALITY = 92
PRODUCTS_PER_TASK = 16
TOLD_EVERY_SECONDS = 10

logger = logging.getLogger(__name__)


def write_pictures(
    products: Sequence[Product],
    folder: Path,
    image_size_px: int,
    seed: int,
    workers: int,
    views: int = 1,
) -> None:
    """Draw each view of each product into the folder's `images/`; 0 workers means one per core.

    The bytes do not depend on the number of workers: every picture has its own generator.
    """
    batches = [
        products[start : start + PRODUCTS_PER_TASK]
        for start in range(0, len(products), PRODUCTS_PER_TASK)
    ]
    write = partial(
        _write_batch, folder=folder, image_size_px=image_size_px, seed=seed, views=views
    )
    processes = min(workers or os.cpu_count() or 1, len(batches))
    done = map(write, batches) if processes == 1 else _in_processes(write, batches, processes)
    count, told = 0, time.monotonic()
    with tqdm(total=len(products), desc="Drawing", unit=" products", disable=None) as progress:
        for written in done:
            count += written
            progress.update(written)
            if progress.disable and time.monotonic() - told >= TOLD_EVERY_SECONDS:
                told = time.monotonic()
                logger.info("Drew %s of %s products", f"{count:,}", f"{len(products):,}")


def _in_processes(
    write: "partial[int]", batches: Sequence[Sequence[Product]], workers: int
) -> Iterator[int]:
    # Spawned, not forked: the caller may hold threads (torch's, OpenBLAS') that a fork would break.
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_leave_ctrl_c_to_parent)
    try:
        yield from pool.map(write, batches)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _leave_ctrl_c_to_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _write_batch(
    products: Sequence[Product], folder: Path, image_size_px: int, seed: int, views: int
) -> int:
    for product in products:
        for view in range(1, views + 1):
            picture = draw_picture(product, image_size_px, picture_rng(product, seed, view))
            path = folder / image_path(product, view)
            picture.save(path, quality=JPEG_QUALITY, subsampling=0)
    return len(products)
