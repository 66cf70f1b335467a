"""Bring every picture to a checked local file: downloads and checks overlap, both bounded."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_all_start_methods, get_context, parent_process
from pathlib import Path

from loupe.build.fetch import Fetcher, FetchRules
from loupe.build.ledger import Rejection
from loupe.build.locate import LocalFile, Url
from loupe.build.pictures import CheckedPicture, PictureRules, check_picture
from loupe.errors import BuildError, OptionError

__all__ = ["Gathering", "Outcome", "gather_pictures"]

Outcome = CheckedPicture | Rejection
_MANY_PICTURES = 500  # below it, starting processes takes longer than checking


@dataclass(frozen=True)
class Gathering:
    """How pictures are gathered.

    `spool` is the folder for downloads and rewritten pictures; `concurrency` counts pictures on
    their way at a time, `workers` the processes that check them (0: one per core).
    """

    spool: Path
    fetching: FetchRules
    checking: PictureRules
    concurrency: int
    workers: int

    def __post_init__(self) -> None:
        _require_at_least(1, "concurrency", self.concurrency)
        _require_at_least(0, "workers", self.workers)
        _require_at_least(0, "retries", self.fetching.retries)
        if not self.fetching.timeout_seconds > 0:
            seconds = self.fetching.timeout_seconds
            raise OptionError(f"timeout_seconds is {seconds:g}; expected more than 0 seconds.")
        if self.checking.max_side_px is not None:
            _require_at_least(1, "max_side_px", self.checking.max_side_px)


def gather_pictures(
    places: Iterable[LocalFile | Url], how: Gathering, progress: Callable[[], object]
) -> dict[LocalFile | Url, Outcome]:
    """Fetch and check each place once; `progress` is called after each.

    Raises:
        BuildError: a process that checks pictures died.
        OSError: the spool cannot be written.
    """
    unique = list(dict.fromkeys(places))
    try:
        with _checkers(how.workers, len(unique)) as pool:
            return _run(_Gatherer(how, pool, progress), unique)
    except BrokenProcessPool as error:
        raise BuildError(
            "A process that checks pictures could not start or died. Called from a script, "
            "build_dataset must stand under `if __name__ == '__main__':`; else set workers to 1 "
            "to see the picture that ends it."
        ) from error


def _run(gatherer: "_Gatherer", unique: list[LocalFile | Url]) -> dict[LocalFile | Url, Outcome]:
    """Run the event loop here, or in a thread of its own where one runs already (a notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(gatherer.gather(unique))
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, gatherer.gather(unique)).result()


class _Gatherer:
    """The work on one list of places: as many tasks as pictures may be on their way."""

    def __init__(self, how: Gathering, pool: Executor, progress: Callable[[], object]) -> None:
        self._how = how
        self._pool = pool
        self._progress = progress
        self._outcomes: dict[LocalFile | Url, Outcome] = {}

    async def gather(self, places: list[LocalFile | Url]) -> dict[LocalFile | Url, Outcome]:
        """Give the outcome of each place."""
        waiting = iter(enumerate(places))
        async with Fetcher(self._how.fetching, self._how.concurrency) as fetcher:
            # Where a task fails, asyncio.run cancels the others.
            tasks = (self._work(waiting, fetcher) for _ in range(self._how.concurrency))
            await asyncio.gather(*tasks)
        return self._outcomes

    async def _work(self, waiting: Iterator[tuple[int, LocalFile | Url]], fetcher: Fetcher) -> None:
        for number, place in waiting:
            self._outcomes[place] = await self._obtain(number, place, fetcher)
            self._progress()

    async def _obtain(self, number: int, place: LocalFile | Url, fetcher: Fetcher) -> Outcome:
        if isinstance(place, LocalFile):
            path = place.path
        else:
            path = self._how.spool / f"{number}.fetched"
            rejection = await fetcher.fetch(place.url, path)
            if rejection:
                path.unlink(missing_ok=True)
                return rejection
        rewritten = self._how.spool / f"{number}.rewritten"
        return await asyncio.get_running_loop().run_in_executor(
            self._pool, check_picture, path, self._how.checking, rewritten
        )


def _require_at_least(least: int, name: str, value: int) -> None:
    if value < least:
        raise OptionError(f"{name} is {value}; expected at least {least}.")


@contextmanager
def _checkers(workers: int, pictures: int) -> Iterator[Executor]:
    """Give processes where there are many pictures, else one thread."""
    count = workers or os.cpu_count() or 1
    if count == 1 or pictures < _MANY_PICTURES:
        pool: Executor = ThreadPoolExecutor(1)
    else:
        # A forked child would inherit the locks of this process's threads in whatever state.
        method = "forkserver" if "forkserver" in get_all_start_methods() else "spawn"
        pool = ProcessPoolExecutor(count, get_context(method), initializer=_follow_parent)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _follow_parent() -> None:
    """Leave Ctrl-C to the parent, which stops the workers; and end when it was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # from a thread, sys.exit would end the thread alone
