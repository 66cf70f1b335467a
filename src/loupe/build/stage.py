"""The build stage from end to end: read, examine, gather, group, split, write."""

import errno
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from loupe.errors import BuildError
from loupe.options import BuildOptions
from loupe.task import Task

__all__ = ["BuildResult", "build_dataset"]


@dataclass(frozen=True)
class BuildResult:
    """What a build wrote, and what it left out."""

    output: str
    counts: dict[str, Any]
    split: dict[str, Any]
    fingerprint: str
    more_images: dict[str, Any] | None = None
    """Further pictures named, kept and left out; None where rows name none."""

    def summary(self) -> str:
        """Tell a person what became of the rows, and what to run next."""
        audit, counts = self.split["audit"], self.counts
        rejected = counts["rejected"]
        reasons = "".join(f"\n  {reason}: {count:,}" for reason, count in rejected.items())
        return (
            f"Read {counts['read']:,} rows; rejected {sum(rejected.values()):,}{reasons}\n"
            f"{self._describe_more()}"
            f"{audit['groups']:,} groups, the largest of {audit['largest_group_rows']:,} rows; "
            f"test rows with a sibling in train: {audit['test_rows_leaked']}, in a random split "
            f"about {audit['test_rows_leaked_if_random']:,.0f} of {counts['test']:,}\n"
            f"{self._describe_flattery()}"
            f"Wrote {counts['train']:,} train, {counts['validation']:,} validation, "
            f"{counts['test']:,} test rows to {self.output}. "
            f"Next: `loupe train --dataset {self.output} --output model`"
        )

    def to_dict(self) -> dict[str, Any]:
        """Give the same as plain data."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def _describe_more(self) -> str:
        if self.more_images is None:
            return ""
        more = self.more_images
        reasons = {"of rejected rows": more["of_rejected_rows"], **more["left_out"]}
        told = "".join(f"\n  {reason}: {count:,}" for reason, count in reasons.items() if count)
        return f"Kept {more['kept']:,} of {more['named']:,} further pictures{told}\n"

    def _describe_flattery(self) -> str:
        error = self.split["audit"].get("neighbour_price_error")
        if error is None:
            return ""
        return (
            f"The price of the nearest training picture is {error['this_split']:.0%} off here; in "
            f"a random split it would seem {error['random_split']:.0%}\n"
        )


def build_dataset(options: BuildOptions) -> BuildResult:
    """Make a checked and split dataset of a table or a folder of pictures.

    Raises:
        BuildError: no dataset can be made; the output is not touched.
        CheckpointError: likeness_model names no checkpoint.
        DatasetError: keep_sides names a folder that is no dataset.
        OptionError: an option has a value that cannot be meant.
        TaskError: the task file does not declare a task.
    """
    from loupe.build.dataset import Dataset
    from loupe.build.export import check_formats
    from loupe.build.output import open_workplace
    from loupe.build.pipeline import fill_folder

    check_formats(options.export)
    task = Task.load(options.task)
    if options.keep_sides is not None:
        Dataset.open(options.keep_sides)
    if options.likeness_model is not None:
        from loupe.vlm import load_processor

        load_processor(options.likeness_model)
    try:
        replaces = options.overwrite or options.retry is not None
        with open_workplace(Path(options.output), overwrite=replaces) as place:
            record = fill_folder(place, options, task)
    except OSError as error:
        raise BuildError(_describe(error, options.output)) from error
    return BuildResult(options.output, **vars(record))


def _describe(error: OSError, output: str) -> str:
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return (
            f"The disk is full while {output!r} is written ({error.strerror}). Free some room: "
            "the same command goes on with the pictures that it has. Or choose another output."
        )
    where = f" {str(error.filename)!r}" if error.filename else ""
    return (
        f"Building {output!r} failed at{where}: {error.strerror or error}. Check that the source "
        "can be read and the output's parent folder can be written."
    )
