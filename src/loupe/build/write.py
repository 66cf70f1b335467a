"""Write the dataset folder: splits, rejected rows, card, task, options; the record last."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from loupe.build.dataset import FORMAT, split_file
from loupe.build.export import export_dataset
from loupe.build.ledger import Rejection
from loupe.build.output import FINISHED_FILE, MORE_LEDGER
from loupe.build.parquet import (
    Fate,
    KeptRow,
    SplitWriter,
    TableWriter,
    arrange_kept,
    arrange_ledger,
    arrange_more,
    arrange_rejected,
)
from loupe.build.profile import write_profile
from loupe.build.splits import SPLITS
from loupe.build.table import Table
from loupe.options import BuildOptions, save_options
from loupe.task import Task

__all__ = ["Contents", "Record", "write_dataset"]

_REJECTED = "rejected"


@dataclass(frozen=True)
class Contents:
    """All that goes into a dataset: the table it is made of and the fate of each row, in order.

    `split` is what to record about the split; `has_more` tells whether rows name further pictures.
    """

    table: Table
    columns_of_fields: Mapping[str, str]
    fates: Iterator[Fate]
    split: dict[str, Any]
    has_more: bool


@dataclass(frozen=True)
class Record:
    """What a finished dataset says of itself, in part: see dataset.json."""

    counts: dict[str, Any]
    split: dict[str, Any]
    fingerprint: str
    more_images: dict[str, Any] | None = None
    """Further pictures named, kept and left out; None where rows name none."""

    def to_dict(self) -> dict[str, Any]:
        """Give the same as plain data."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def write_dataset(folder: Path, contents: Contents, task: Task, options: BuildOptions) -> Record:
    """Write everything into a new folder; give the record that ends up in dataset.json.

    Raises:
        BuildError: a picture changed after it was checked.
        OSError: the folder cannot be written.
    """
    tally = _Tally(task)
    digests = _write_rows(folder, contents, task, tally)
    closed = task.with_choices(tally.trained())
    counts = tally.counts()
    _write_card(folder / "README.md", counts, task, has_more=contents.has_more)
    closed.save(folder / "task.yaml")
    save_options(options, folder)
    audit = {**contents.split["audit"], "unseen_choices": tally.unseen_choices(closed)}
    record = Record(
        counts=counts,
        split=contents.split | {"audit": audit},
        fingerprint=_fingerprint(closed, digests),
        more_images=tally.count_more() if contents.has_more else None,
    )
    # By the task as it was given: a held-out row may have a choice that no training row has.
    export_dataset(folder, task, options.export, counts)
    write_profile(folder, closed, options.source, record.to_dict())
    _write_record(folder / FINISHED_FILE, record, closed, options)
    return record


def _write_rows(folder: Path, contents: Contents, task: Task, tally: "_Tally") -> list[str]:
    """Write each row where it belongs, a batch in memory at a time; give the splits' hashes."""
    (folder / "data").mkdir(parents=True)
    with ExitStack() as files:
        splits = {
            split: files.enter_context(
                closing(SplitWriter(folder / split_file(split), has_more=contents.has_more))
            )
            for split in SPLITS
        }
        rejected = files.enter_context(closing(TableWriter(folder / "rejected.parquet")))
        ledger = files.enter_context(closing(TableWriter(folder / "ledger.parquet")))
        more_ledger = files.enter_context(closing(TableWriter(folder / MORE_LEDGER)))
        for batch in contents.table.batches():
            part = pa.Table.from_batches([batch])
            fates = list(islice(contents.fates, part.num_rows))
            ledger.add(arrange_ledger(fates))
            if contents.has_more:
                more_ledger.add(arrange_more(fates))
            for side, places in _sort(fates).items():
                chosen = [fates[place] for place in places]
                rows = part.take(pa.array(places, pa.int64()))
                tally.add(side, chosen)
                if side == _REJECTED:
                    rejected.add(arrange_rejected(chosen, rows))
                else:
                    columns = arrange_kept(
                        chosen, task, rows, contents.columns_of_fields, has_more=contents.has_more
                    )
                    kept = [fate.result for fate in chosen if isinstance(fate.result, KeptRow)]
                    splits[side].add(columns, kept)
        return [split.finish() for split in splits.values()]


def _sort(fates: Sequence[Fate]) -> dict[str, list[int]]:
    """Give the places of the fates by split, and of the rejected ones."""
    places: dict[str, list[int]] = {side: [] for side in (*SPLITS, _REJECTED)}
    for place, fate in enumerate(fates):
        places[fate.place].append(place)
    return places


class _Tally:
    """What is counted while rows pass: rows by side, reasons, and choices by side."""

    def __init__(self, task: Task) -> None:
        self._choices = [name for name, field in task.fields.items() if field.type == "choice"]
        self._rows = Counter[str]()
        self._reasons = Counter[str]()
        self._trained = Counter[tuple[Any, ...]]()
        self._held_out = Counter[tuple[Any, ...]]()
        self._more = Counter[str]()
        self._left_out = Counter[str]()

    def add(self, side: str, fates: Sequence[Fate]) -> None:
        """Count rows of one side."""
        self._rows[side] += len(fates)
        counter = self._trained if side == "train" else self._held_out
        for fate in fates:
            kept = len(fate.result.more) if isinstance(fate.result, KeptRow) else 0
            self._more.update(named=len(fate.more), kept=kept)
            if isinstance(fate.result, Rejection):
                self._more["of_rejected_rows"] += len(fate.more)
                self._reasons[str(fate.result.reason)] += 1
            else:
                counter[tuple(fate.result.values[name] for name in self._choices)] += 1
                outcomes = (each.entry.outcome for each in fate.more)
                self._left_out.update(
                    str(each.reason) for each in outcomes if isinstance(each, Rejection)
                )

    def counts(self) -> dict[str, Any]:
        """Give the rows read, of each split, and rejected by reason."""
        return {
            "read": self._rows.total(),
            **{split: self._rows[split] for split in SPLITS},
            "rejected": dict(self._reasons.most_common()),
        }

    def count_more(self) -> dict[str, Any]:
        """Give the further pictures named, kept, gone with their rows, and left out by reason."""
        names = ("named", "kept", "of_rejected_rows")
        counts = {name: self._more[name] for name in names}
        return {**counts, "left_out": dict(self._left_out.most_common())}

    def trained(self) -> Iterator[dict[str, Any]]:
        """Give the choices of the training rows, equal ones once."""
        return (dict(zip(self._choices, values, strict=True)) for values in self._trained)

    def unseen_choices(self, closed: Task) -> dict[str, int]:
        """Count, by field, the held-out rows whose choice no training row has."""
        counts = dict.fromkeys(self._choices, 0)
        for values, rows in self._held_out.items():
            for name, value in zip(self._choices, values, strict=True):
                counts[name] += rows * (value not in getattr(closed.fields[name], "choices", ()))
        return counts


def _fingerprint(task: Task, digests: Sequence[str]) -> str:
    content = json.dumps([task.to_dict(), *digests], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(content.encode()).hexdigest()


def _write_card(path: Path, counts: Mapping[str, Any], task: Task, *, has_more: bool) -> None:
    """Write the dataset card, which tells `datasets` where each split is."""
    files = "".join(
        f"  - split: {split}\n    path: data/{split}-*.parquet\n"
        for split in SPLITS
        if counts[split]
    )
    rows = ", ".join(f"{counts[split]:,} {split}" for split in SPLITS)
    pictures = "a main picture, further ones in `more_images`," if has_more else "a picture"
    path.write_text(
        f"---\nconfigs:\n- config_name: default\n  data_files:\n{files}---\n\n"
        f"# Dataset\n\nMade by `loupe build`: {rows} rows. Each has {pictures} and the fields "
        f"{', '.join(f'`{name}`' for name in task.fields)}.\n\n"
        "`dataset.json` tells how it was made and split; `rejected.parquet` holds each row left "
        "out, with the reason; `ledger.parquet` tells the fate of every row.\n",
        "utf-8",
    )


def _write_record(path: Path, record: Record, task: Task, options: BuildOptions) -> None:
    declared = {
        "format": FORMAT,
        "task": task.to_dict(),
        "source": options.source,
        "options": asdict(options),
        **record.to_dict(),
    }
    path.write_text(json.dumps(declared, indent=2, ensure_ascii=False) + "\n", "utf-8")
