"""How do two models differ on the same rows? Paired, with bootstrap intervals by group of rows.

Reads predictions.parquet of two folders that `loupe evaluate` wrote; rows are paired by row_id, and
those that one folder lacks are left out. Numbers are compared as they were read and, where that
was by the median, as the answers say them as well.

Usage: python scripts/compare_evaluations.py BEFORE AFTER [--resamples 2000] [--seed 0]
"""

import argparse
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from loupe.evaluate.intervals import resample
from loupe.evaluate.scores import headline_statistics
from loupe.task import Answer, Task

CONFIDENCE = 0.95


def read_rows(folder: Path) -> dict[str, dict[str, Any]]:
    """Give the rows of an evaluation, by row id."""
    rows = pq.read_table(folder / "predictions.parquet").to_pylist()
    return {row["row_id"]: row for row in rows}


def read_task(folder: Path) -> Task:
    """Give the task of the dataset that was evaluated."""
    record = json.loads((folder / "scores.json").read_text("utf-8"))
    return Task.from_dict(record["dataset"]["task"])


def answers_of(task: Task, rows: list[dict[str, Any]], *, as_said: bool) -> list[Answer]:
    """Give the answers of rows, their numbers as said or as they were read."""
    if as_said:
        return [task.parse(row["answer"]) for row in rows]
    fields = list(task.fields)
    return [
        Answer(row["answer"], {f: row[f"predicted_{f}"] for f in fields} if row["parsed"] else None)
        for row in rows
    ]


def main() -> None:
    """Print each score before and after, and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    task = read_task(args.after)
    before, after = read_rows(args.before), read_rows(args.after)
    ids = [name for name in before if name in after]
    groups = [before[name]["group_id"] for name in ids]
    truths = [{f: before[name][f"truth_{f}"] for f in task.fields} for name in ids]
    result: dict[str, Any] = {"rows": len(ids), "groups": len(set(groups))}
    for as_said in (True, False):
        draws = []
        for rows in (before, after):
            answers = answers_of(task, [rows[name] for name in ids], as_said=as_said)
            statistics = headline_statistics(task, truths, answers)
            draws.append(resample(statistics, groups, resamples=args.resamples, seed=args.seed))
        for name, was in draws[0].items():
            now = draws[1][name]
            change = now.minus(was).interval(CONFIDENCE)
            key = f"{name} as {'said' if as_said else 'read'}"
            result[key] = {"before": was.value, "after": now.value, "change": change.to_dict()}
            print(
                f"{key:<40} {was.value:.4f} -> {now.value:.4f}, "
                f"change {change.value:+.4f} ({change.low:+.4f} to {change.high:+.4f})"
            )
    print(json.dumps(result))


if __name__ == "__main__":
    main()
