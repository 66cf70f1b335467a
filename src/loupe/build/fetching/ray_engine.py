"""Gather pictures on the workers of a Ray cluster; the driver records each fate as it comes."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from loupe.build.fetching.gather import Gathering, Job, gather_pictures
from loupe.build.journal import Entry, picture_file
from loupe.build.pictures import CheckedPicture
from loupe.errors import BuildError, MissingExtraError

__all__ = ["gather_with_ray"]

_BLOCK_JOBS = 128  # what is done again where a worker dies
_STRETCH_BLOCKS = 256  # handed to Ray at a time, so that the table is never in memory


@dataclass(frozen=True)
class _Block:
    """What one task of a worker gathers."""

    jobs: list[Job]


@dataclass(frozen=True)
class _Result:
    """A picture's fate, and its bytes where the worker holds them in a file of its own."""

    key: int
    entry: Entry
    content: bytes | None


@dataclass(frozen=True)
class _Gathered:
    """What came of a block."""

    results: list[_Result]


def gather_with_ray(
    jobs: Iterable[Job], how: Gathering, record: Callable[[int, Entry], object]
) -> None:
    """Do what `gather_pictures` does on the cluster of RAY_ADDRESS, else on one of this machine.

    `concurrency` and `per_host` are shared out among the workers, so that both hold for the
    cluster as a whole. Paths of local pictures must be readable on every machine.

    Raises:
        MissingExtraError: Ray is not installed.
        BuildError: the cluster cannot be reached, or its workers die again and again.
        OSError: the spool cannot be written.
    """
    try:
        import ray.data
    except ImportError as error:
        raise MissingExtraError("Building on a cluster (--engine ray)", "ray", "ray") from error
    try:
        ray.init(ignore_reinit_error=True, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise BuildError(
            f"The Ray cluster cannot be reached ({error}). Check RAY_ADDRESS, or unset it to start "
            "one on this machine."
        ) from error
    ray.data.DataContext.get_current().enable_progress_bars = False  # the build has its own
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # importing it sets another
    cores = int(ray.cluster_resources().get("CPU", 1))
    workers = max(1, min(cores, how.per_host, how.concurrency))
    share = replace(
        how, concurrency=how.concurrency // workers, per_host=how.per_host // workers, workers=1
    )
    waiting = iter(jobs)
    try:
        while blocks := _take_blocks(waiting):
            done = ray.data.from_items(blocks, override_num_blocks=len(blocks)).map(
                partial(_gather_block, how=share),
                compute=ray.data.TaskPoolStrategy(size=workers),
                num_cpus=1,
            )
            for row in done.iter_rows():
                for result in row["gathered"].results:
                    record(result.key, _bring_home(result, how.spool))
    except ray.exceptions.RayError as error:
        raise BuildError(
            f"Ray gave up ({str(error).splitlines()[0]}). What is done is kept: the same command "
            "goes on from there."
        ) from error


def _take_blocks(waiting: Iterable[Job]) -> list[dict[str, Any]]:
    stretch = list(islice(waiting, _BLOCK_JOBS * _STRETCH_BLOCKS))
    return [
        {"block": _Block(stretch[first : first + _BLOCK_JOBS])}
        for first in range(0, len(stretch), _BLOCK_JOBS)
    ]


def _gather_block(row: dict[str, Any], how: Gathering) -> dict[str, Any]:
    """Gather a block on a worker, in a folder that is gone afterwards."""
    jobs = row["block"].jobs
    results: list[_Result] = []
    with TemporaryDirectory(prefix="loupe-build-") as folder:
        here = replace(how, spool=Path(folder))

        def keep(key: int, entry: Entry) -> None:
            picture, content = entry.outcome, None
            if isinstance(picture, CheckedPicture) and picture.path.is_relative_to(here.spool):
                content = picture.path.read_bytes()
            results.append(_Result(key, entry, content))

        gather_pictures(jobs, len(jobs), here, keep)
    return {"gathered": _Gathered(results)}


def _bring_home(result: _Result, spool: Path) -> Entry:
    """Write a picture's bytes to the spool of the driver."""
    picture = result.entry.outcome
    if result.content is None or not isinstance(picture, CheckedPicture):
        return result.entry
    path = picture_file(spool, result.key).with_name(picture.path.name)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(result.content)
    return replace(result.entry, outcome=replace(picture, path=path))
