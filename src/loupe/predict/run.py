"""Answer any number of products into a folder: streaming, stopped and gone on with at will."""

from __future__ import annotations

import errno
import json
import logging
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loupe.build.ledger import Rejection
from loupe.build.parquet import FIELD_TYPES
from loupe.build.progress import Progress, show_rate
from loupe.certainty import Calibration
from loupe.errors import LoupeError, PredictError, StoppedError
from loupe.options import PredictOptions, save_options
from loupe.predict.answer_files import JsonLines, ParquetParts
from loupe.predict.answering import Answered
from loupe.predict.engines import Engine, start_engine
from loupe.predict.fingerprint import fingerprint_model
from loupe.predict.folder import AnswerFolder, Counts, open_folder
from loupe.predict.sources import Asked, Source, ask_each, find_sources, name_field, name_kept
from loupe.predict.stopping import Stop, stop_after_batch
from loupe.task import Task

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["PredictedFolder", "predict_into_folder"]

logger = logging.getLogger(__name__)

Describe = Callable[[Answered], dict[str, Any]]


@dataclass(frozen=True)
class PredictedFolder:
    """What a run wrote, in all and by itself."""

    output: str
    format: str
    counts: Counts
    answered_now: int
    seconds: float
    example: str | None

    def summary(self) -> str:
        """Tell a person what became of the products, and where the answers stand."""
        counts = self.counts
        rejected = "".join(f"\n  {name}: {count:,}" for name, count in counts.rejected.items())
        rate = show_rate(self.answered_now / self.seconds) if self.seconds else "none"
        files = "answers.jsonl" if self.format == "json" else "answers-*.parquet"
        return (
            f"Answered {counts.answered:,} of {counts.pictures:,} products, of which "
            f"{counts.unparsed:,} do not parse; rejected {counts.rejected.total():,}{rejected}\n"
            f"This run: {self.answered_now:,} products in {self.seconds:,.0f} s, {rate}\n"
            f"Wrote {files}{' and rejected.jsonl' if rejected else ''} to {self.output}. The same "
            "command answers products that are new; --retry failed tries rejected ones again."
        )

    def to_dict(self) -> dict[str, Any]:
        """Give the same as plain data."""
        return {
            "output": self.output,
            "counts": self.counts.to_dict(),
            "last_run": {
                "pictures": self.answered_now,
                "seconds": round(self.seconds, 1),
                "pictures_per_second": round(self.answered_now / max(self.seconds, 1e-9), 2),
            },
        }


def predict_into_folder(options: PredictOptions, describe: Describe) -> PredictedFolder:
    """Answer products into a folder, going on from what an earlier run of the same terms left.

    Raises:
        PredictError: there is no picture, none can be read, the folder is someone else's or holds
            answers under other terms, or the disk is full.
        StoppedError: a signal ended the run; what was answered is kept.
        CheckpointError: no model can be loaded.
        TaskError: the task file declares no task.
        BuildError: a table cannot be read.
    """
    path = Path(options.output or "")
    try:
        with open_folder(path) as folder:
            sources = find_sources(options, folder.scratch)
            engine = start_engine(options)
            _prepare(folder, options, engine.task, sources)
            with stop_after_batch() as stop:
                result = _answer_all(folder, sources, engine, options, describe, stop)
            if not stop.asked_by:
                folder.close()
                folder.finish(_make_record(result, options, engine.task))
    except OSError as error:
        raise _explain(error, path) from error
    if stop.asked_by:
        raise StoppedError(
            f"stopped by {signal.Signals(stop.asked_by).name} after {result.answered_now:,} "
            f"products of this run; {result.counts.pictures:,} are done, the same command goes on.",
            stop.asked_by,
        )
    if not result.counts.answered:
        raise PredictError(
            f"None of the {result.counts.pictures:,} products can be read. "
            f"{result.example or 'rejected.jsonl tells why.'}"
        )
    return result


def _prepare(
    folder: AnswerFolder, options: PredictOptions, task: Task, sources: Sequence[Source]
) -> None:
    """Check that the folder goes with this run, and open its files."""
    terms = {
        "format": options.format,
        "model": fingerprint_model(options.model),
        "task": task.to_dict(),
        **{name: getattr(options, name) for name in ("decoding", "price", "max_new_tokens")},
        **{name: getattr(options, name) for name in ("together", "max_pictures", "keep")},
    }
    if options.asks_certainty:
        asked = {name: getattr(options, name) for name in ("coverage", "at_most_error")}
        asked |= {"confidence": options.confidence} if options.at_most_error is not None else {}
        terms |= asked | {"calibration": Calibration.load(options.model).digest()}
    folder.begin(terms, overwrite=options.overwrite, retry=options.retry == "failed")
    save_options(replace(options, overwrite=False, retry=None), folder.path)
    folder.take_up(
        ParquetParts(folder.path, _schema(task, sources, certainty=options.asks_certainty))
        if options.format == "parquet"
        else JsonLines(folder.path / "answers.jsonl")
    )


def _answer_all(
    folder: AnswerFolder,
    sources: Sequence[Source],
    engine: Engine,
    options: PredictOptions,
    describe: Describe,
    stop: Stop,
) -> PredictedFolder:
    known = folder.counts.pictures
    if known:
        logger.info("An earlier run left off here: %s products are done", f"{known:,}")
    total = max(sum(source.count for source in sources) - known, 0)
    unknown = (each for each in ask_each(sources, engine.task) if not folder.is_known(each.key))
    count, example, started = 0, None, time.monotonic()
    with Progress(total, "Answered") as progress:
        for answered in engine.answer(_until(stop, unknown), options, folder.scratch):
            rows = [_lay_out(each, describe(each)) for each in answered]
            if options.format == "parquet":
                rows = [_as_columns(row) for row in rows]
            folder.add(answered, rows)
            for _, found in answered:
                failure = found if isinstance(found, Rejection) else None
                example = failure.detail if failure and not example else example
                progress.count_one(failure)
            count += len(answered)
            if stop.asked_by:
                break
    seconds = time.monotonic() - started
    return PredictedFolder(str(folder.path), options.format, folder.counts, count, seconds, example)


def _until(stop: Stop, asked: Iterable[Asked]) -> Iterator[Asked]:
    for each in asked:
        if stop.asked_by:
            return
        yield each


def _lay_out(answered: Answered, described: dict[str, Any]) -> dict[str, Any]:
    """Give the row of a picture: as it is described, the reason of a rejection, and its key."""
    asked, found = answered
    key = {"key": f"{asked.key:016x}"}
    if not isinstance(found, Rejection):
        return described | key
    del described["answer"]
    return described | {"reason": str(found.reason)} | key


def _as_columns(row: dict[str, Any]) -> dict[str, Any]:
    """Write certainty, whose fields differ from task to task, as JSON in one column."""
    told = "certainty" in row
    return row | ({"certainty": json.dumps(row["certainty"])} if told else {})


def _schema(task: Task, sources: Sequence[Source], *, certainty: bool) -> pa.Schema:
    """Give the columns of Parquet parts."""
    import pyarrow as pa

    named = [
        [(name_kept([column], task)[column], kind) for column, kind in source.kept.items()]
        for source in sources
    ]
    try:
        joined = pa.unify_schemas(map(pa.schema, named), promote_options="permissive")
    except pa.ArrowException as error:
        raise PredictError(
            f"The tables disagree on a column to keep ({error}). Read them into an output each, "
            "or choose format json."
        ) from error
    names = ("more_pictures", "left_out") if any(each.shows_more for each in sources) else ()
    several = [(name, pa.list_(pa.string())) for name in names]
    head = [("picture", pa.string()), *several, ("row", pa.int64()), ("id", pa.string())]
    fields = [
        (name_field(name), FIELD_TYPES.get(field.type, pa.string()))
        for name, field in task.fields.items()
    ]
    last = (*(["certainty"] if certainty else []), "answer", "problem", "key")
    tail = [(name, pa.string()) for name in last]
    return pa.schema([*head, *joined, *fields, *tail])


def _make_record(result: PredictedFolder, options: PredictOptions, task: Task) -> dict[str, Any]:
    plain = result.to_dict()
    del plain["output"]
    return {
        "format": 1,
        "model": options.model,
        "model_fingerprint": fingerprint_model(options.model),
        "engine": options.engine,
        "task": task.to_dict(),
        **plain,
    }


def _explain(error: OSError, output: Path) -> LoupeError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return PredictError(
            f"The disk is full while {str(output)!r} is written ({error.strerror}). Free some "
            "room: the same command goes on with the answers that are there."
        )
    where = f" {str(error.filename)!r}" if error.filename else ""
    return PredictError(
        f"Answering into {str(output)!r} failed at{where}: {error.strerror or error}. Check that "
        "the pictures can be read and the folder can be written."
    )
