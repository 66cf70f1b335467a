"""Bring every picture to a checked local file: downloads and checks overlap, both bounded."""

import asyncio
import os
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_all_start_methods, get_context, parent_process
from pathlib import Path
from typing import Any

from loupe.build.fetching.fetch import Fetched, Fetcher, FetchRules
from loupe.build.fetching.stores import Stores, open_store
from loupe.build.journal import Entry, picture_file
from loupe.build.ledger import Rejection
from loupe.build.pictures import CheckedPicture, PictureRules, check_picture
from loupe.build.rows.locate import Embedded, LocalFile, Place, Url
from loupe.errors import BuildError, OptionError

__all__ = ["Gathering", "Job", "Waiting", "gather_pictures"]

_MANY_PICTURES = 1000  # below it, starting processes takes longer than checking
_LOOK_AHEAD = 10_000  # places held back because their host is busy

_NO_HOST = ""

Job = tuple[int, Place]  # its key, and where the picture is


@dataclass(frozen=True)
class Gathering:
    """How pictures are gathered.

    `spool` is the folder for downloads and rewritten pictures; `concurrency` counts pictures on
    their way at a time, `per_host` those from one host, `workers` the processes that check them
    (0: one per core); `stores` are the schemes of object stores.
    """

    spool: Path
    fetching: FetchRules
    checking: PictureRules
    concurrency: int
    per_host: int
    workers: int
    stores: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _require_at_least(1, "concurrency", self.concurrency)
        _require_at_least(1, "per_host", self.per_host)
        _require_at_least(0, "workers", self.workers)
        _require_at_least(0, "retries", self.fetching.retries)
        for scheme in self.stores:
            open_store(scheme)
        for name in ("timeout_seconds", "connect_timeout_seconds", "read_timeout_seconds"):
            seconds = getattr(self.fetching, name)
            if not seconds > 0:
                raise OptionError(f"{name} is {seconds:g}; expected more than 0 seconds.")
        if self.checking.max_side_px is not None:
            _require_at_least(1, "max_side_px", self.checking.max_side_px)


def gather_pictures(
    jobs: Iterable[Job], count: int, how: Gathering, record: Callable[[int, Entry], object]
) -> None:
    """Fetch and check about `count` pictures; `record` is given each one's key and fate at once.

    Raises:
        BuildError: a process that checks pictures died.
        OSError: the spool cannot be written.
    """
    try:
        with _checkers(how.workers, count) as pool:
            _run(_Gatherer(how, pool, record).gather(jobs))
    except BrokenProcessPool as error:
        raise BuildError(
            "A process that checks pictures could not start or died. Called from a script, "
            "build_dataset must stand under `if __name__ == '__main__':`; else set workers to 1 "
            "to see the picture that ends it."
        ) from error


def _run(work: Coroutine[Any, Any, None]) -> None:
    """Run the event loop here, or in a thread of its own where one runs already (a notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(work)
        return
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()


class Waiting:
    """Jobs in an order in which no host keeps others waiting, and none gets more than its share.

    Jobs are drawn from their source only as far as is needed to find one that may start.
    """

    def __init__(self, jobs: Iterable[Job], per_host: int) -> None:
        self._source = iter(jobs)
        self._per_host = per_host
        self._queues: dict[str, deque[Job]] = {}
        self._held_back = 0
        self._active = Counter[str]()
        self._free: dict[str, None] = {}  # hosts with a job that may start, in their order
        self.is_exhausted = False

    def take(self) -> Job | None:
        """Give a job that may start now; None where each has to wait, or none is left."""
        while not self._free and self._held_back < _LOOK_AHEAD:
            job = next(self._source, None)
            if job is None:
                self.is_exhausted = not self._held_back
                return None
            host = _host_of(job)
            self._queues.setdefault(host, deque()).append(job)
            self._held_back += 1
            self._update(host)
        if not self._free:
            return None
        host = next(iter(self._free))
        del self._free[host]  # it queues up again behind the others
        job = self._queues[host].popleft()
        self._held_back -= 1
        self._active[host] += 1
        self._update(host)
        return job

    def release(self, job: Job) -> None:
        """Take back the place of a job that has ended."""
        host = _host_of(job)
        self._active[host] -= 1
        self._update(host)

    def _update(self, host: str) -> None:
        if not self._queues.get(host):
            self._queues.pop(host, None)
            if not self._active[host]:
                del self._active[host]
        elif self._active[host] < self._per_host or host == _NO_HOST:
            self._free.setdefault(host)


def _host_of(job: Job) -> str:
    place = job[1]
    return place.url.split("/", 3)[2].lower() if isinstance(place, Url) else _NO_HOST


class _Gatherer:
    """The work on a list of places: as many tasks as pictures may be on their way."""

    def __init__(
        self, how: Gathering, pool: Executor, record: Callable[[int, Entry], object]
    ) -> None:
        self._how = how
        self._pool = pool
        self._record = record
        self._released = asyncio.Event()
        self._folders: set[Path] = set()  # made so far
        fetching = how.fetching
        self._stores = Stores(how.stores, fetching.timeout_seconds, fetching.max_bytes)

    async def gather(self, jobs: Iterable[Job]) -> None:
        """Record the fate of each place."""
        waiting = Waiting(jobs, self._how.per_host)
        async with Fetcher(self._how.fetching) as fetcher:
            # Where a task fails, asyncio.run cancels the others.
            tasks = (self._work(waiting, fetcher) for _ in range(self._how.concurrency))
            await asyncio.gather(*tasks)

    async def _work(self, waiting: Waiting, fetcher: Fetcher) -> None:
        while True:
            job = waiting.take()
            if job is not None:
                self._record(job[0], await self._obtain(job, waiting, fetcher))
            elif waiting.is_exhausted:
                self._released.set()
                return
            else:
                self._released.clear()
                await self._released.wait()

    async def _obtain(self, job: Job, waiting: Waiting, fetcher: Fetcher) -> Entry:
        key, place = job
        ours = picture_file(self._how.spool, key)
        if ours.parent not in self._folders:
            ours.parent.mkdir(exist_ok=True)
            self._folders.add(ours.parent)
        started = time.monotonic()
        try:
            fetched = await self._bring(place, fetcher, ours)
        finally:
            waiting.release(job)
            self._released.set()
        seconds = round(time.monotonic() - started, 3)
        outcome = fetched.rejection or await self._check(
            place.path if isinstance(place, LocalFile) else ours, ours.with_suffix(".rewritten")
        )
        if isinstance(outcome, Rejection) or outcome.path != ours:
            ours.unlink(missing_ok=True)
        return Entry(outcome, fetched.attempts, fetched.received_bytes, seconds)

    async def _check(self, path: Path, rewritten: Path) -> CheckedPicture | Rejection:
        return await asyncio.get_running_loop().run_in_executor(
            self._pool, check_picture, path, self._how.checking, rewritten
        )

    async def _bring(self, place: Place, fetcher: Fetcher, target: Path) -> Fetched:
        if isinstance(place, Url):
            source = fetcher if place.is_web else self._stores
            return await source.fetch(place.url, target)
        if isinstance(place, Embedded):
            target.write_bytes(place.content)
        return Fetched()


def _require_at_least(least: int, name: str, value: int) -> None:
    if value < least:
        raise OptionError(f"{name} is {value}; expected at least {least}.")


@contextmanager
def _checkers(workers: int, pictures: int) -> Iterator[Executor]:
    """Give processes where there are many pictures, else one thread."""
    count = workers or os.cpu_count() or 1
    if count == 1 or pictures < _MANY_PICTURES:
        pool: Executor = ThreadPoolExecutor(count)  # decoding and hashing let others run
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
