"""Options of `loupe evaluate`."""

from __future__ import annotations

from dataclasses import dataclass, field

from loupe.errors import OptionError
from loupe.options.reading import Decoding, PriceReading, check_certainty

__all__ = ["EvaluateOptions"]


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """Score a model's free-running answers beside baselines and its own blind twin."""

    model: str
    """Folder that `loupe train` wrote, or any checkpoint folder with a processor."""
    dataset: str
    """Folder that `loupe build` wrote."""
    output: str
    """Folder to write: predictions.parquet, scores.json, report.html."""
    split: str = "test"
    """Which rows to answer: train, validation or test."""
    pictures: int | None = None
    """How many of a row's pictures are shown, the main one first; none shows as many as the model
    was trained with, all unless that was limited."""
    max_rows: int | None = None
    """Answer only this many rows, drawn by seed; none means all."""
    words: list[str] = field(default_factory=list)
    """Columns whose value is a word or phrase of a text field (a colour, a pattern): scored by
    whether the answer says it and none of the column's other values."""
    best_columns: dict[str, str] = field(default_factory=dict)
    """Columns with the best answer any reader of the picture could give, as {field: column};
    a column named best_<field> counts without being named."""
    slice_by: list[str] = field(default_factory=list)
    """Columns of the dataset by which scores are sliced, beside the fields, the groups and the
    pictures' sizes: numbers in tenths, others by value."""
    twins: bool = True
    """Also answer with a grey picture and with another row's picture; without them nothing shows
    that the model looks."""
    baseline_rows: int = 5000
    """Training rows that the baselines know, drawn by seed; each picture is looked at once. With 0
    there are no baselines."""
    untuned: bool = False
    """Also answer by the checkpoint that the model was fine-tuned from, guided by the same grammar,
    so that what the fine-tuning gave is shown; it takes about as long as the model."""
    maps: int = 0
    """Rows for which the report shows which part of the picture decided each field: a grey patch
    slides over the picture, 81 places each, with the learnt weights and with random ones."""
    decoding: Decoding = "guided"
    """How answers are written: guided by the task's grammar, so that each parses, or freely, token
    by token the likeliest; guided, the rows are also answered freely, and the report shows both."""
    price: PriceReading = "said"
    """How prices are read: as the answer says them, digit by digit the likeliest, or as the median,
    mean or geometric mean of all prices that the model might say there; the report then shows
    both."""
    coverage: float | None = 0.9
    """Where the model has a calibration (`loupe calibrate`): share of cases in which the intervals
    that are scored shall hold the true price. None leaves certainty out."""
    at_most_error: float | None = None
    """Also score the prices that `loupe predict --at-most-error` would give; None gives all."""
    error_confidence: float = 0.9
    """With at_most_error: least share of given prices whose error is so small."""
    batch_size: int = 32
    """Pictures answered at a time."""
    max_new_tokens: int | None = None
    """Longest answer, in tokens; none means what the longest training answer needs, and a little
    more."""
    bootstrap: int = 1000
    """Resamples of the rows behind each interval."""
    confidence: float = 0.95
    """Coverage of the intervals."""
    seed: int = 0
    """Resamples, drawn rows, shuffled pictures."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    threads: int | None = None
    """CPU threads; none means one per core."""
    overwrite: bool = False
    """Replace an evaluation that stands in the output folder."""

    def __post_init__(self) -> None:
        if self.at_most_error is not None and self.coverage is None:
            raise OptionError(
                "at_most_error needs the calibration, which coverage null leaves out."
            )
        check_certainty(
            self.coverage, self.at_most_error, "error_confidence", self.error_confidence
        )
