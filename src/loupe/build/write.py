"""Write the dataset folder: splits, rejected rows, card, task, options; the record last."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from loupe.build.dataset import FORMAT, split_file
from loupe.build.ledger import Rejection
from loupe.build.output import FINISHED_FILE
from loupe.build.parquet import KeptRow, arrange_columns, write_rejected, write_split
from loupe.build.split import SPLITS
from loupe.build.table import Table
from loupe.options import BuildOptions, save_options
from loupe.task import Task

__all__ = ["Contents", "Record", "write_dataset"]


@dataclass(frozen=True)
class Contents:
    """All that goes into a dataset: the table it is made of and the fate of each of its rows.

    `row_ids` names every row of the table; `split` is what to record about the split.
    """

    table: Table
    columns_of_fields: Mapping[str, str]
    row_ids: Sequence[str]
    rows: Sequence[KeptRow]
    rejected: Mapping[int, Rejection]
    split: dict[str, Any]


@dataclass(frozen=True)
class Record:
    """What a finished dataset says of itself, in part: see dataset.json."""

    counts: dict[str, Any]
    split: dict[str, Any]
    fingerprint: str


def write_dataset(folder: Path, contents: Contents, task: Task, options: BuildOptions) -> Record:
    """Write everything into an empty folder; give the record that ends up in dataset.json.

    Raises:
        BuildError: a picture changed after it was checked.
        OSError: the folder cannot be written.
    """
    by_split = {split: [row for row in contents.rows if row.split == split] for split in SPLITS}
    closed = task.with_choices(row.values for row in by_split["train"])
    unseen = _count_unseen_choices(closed, by_split)
    counts = _count(contents, by_split)
    digests = []
    (folder / "data").mkdir()
    for split, rows in by_split.items():
        columns = arrange_columns(rows, task, contents.table, contents.columns_of_fields)
        path = folder / split_file(split)
        digests.append(write_split(path, columns, [row.picture for row in rows]))
    write_rejected(folder / "rejected.parquet", contents.rejected, contents.row_ids, contents.table)
    _write_card(folder / "README.md", counts, task)
    closed.save(folder / "task.yaml")
    save_options(options, folder)
    record = Record(
        counts=counts,
        split=contents.split | {"audit": {**contents.split["audit"], "unseen_choices": unseen}},
        fingerprint=_fingerprint(closed, digests),
    )
    _write_record(folder / FINISHED_FILE, record, closed, options)
    return record


def _count(contents: Contents, by_split: Mapping[str, Sequence[KeptRow]]) -> dict[str, Any]:
    reasons = Counter(str(rejection.reason) for rejection in contents.rejected.values())
    return {
        "read": contents.table.arrow.num_rows,
        **{split: len(rows) for split, rows in by_split.items()},
        "rejected": dict(reasons.most_common()),
    }


def _count_unseen_choices(
    closed: Task, by_split: Mapping[str, Sequence[KeptRow]]
) -> dict[str, int]:
    """Count, by field, the held-out rows whose choice no training row has: none can be right."""
    held_out = [*by_split["validation"], *by_split["test"]]
    return {
        name: sum(row.values[name] not in getattr(field, "choices", ()) for row in held_out)
        for name, field in closed.fields.items()
        if field.type == "choice"
    }


def _fingerprint(task: Task, digests: Sequence[str]) -> str:
    content = json.dumps([task.to_dict(), *digests], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(content.encode()).hexdigest()


def _write_card(path: Path, counts: Mapping[str, Any], task: Task) -> None:
    """Write the dataset card, which tells `datasets` where each split is."""
    files = "".join(
        f"  - split: {split}\n    path: data/{split}-*.parquet\n"
        for split in SPLITS
        if counts[split]
    )
    rows = ", ".join(f"{counts[split]:,} {split}" for split in SPLITS)
    path.write_text(
        f"---\nconfigs:\n- config_name: default\n  data_files:\n{files}---\n\n"
        f"# Dataset\n\nMade by `loupe build`: {rows} rows. Each has a picture and the fields "
        f"{', '.join(f'`{name}`' for name in task.fields)}.\n\n"
        "`dataset.json` tells how it was made and split; `rejected.parquet` holds each row left "
        "out, with the reason.\n",
        "utf-8",
    )


def _write_record(path: Path, record: Record, task: Task, options: BuildOptions) -> None:
    declared = {
        "format": FORMAT,
        "task": task.to_dict(),
        "source": options.source,
        "options": asdict(options),
        **asdict(record),
    }
    path.write_text(json.dumps(declared, indent=2, ensure_ascii=False) + "\n", "utf-8")
