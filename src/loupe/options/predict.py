"""Options of `loupe predict`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from loupe.errors import OptionError
from loupe.options.reading import Decoding, PriceReading, check_certainty

__all__ = ["PredictOptions"]


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """Read products off pictures."""

    pictures: list[str]
    """Picture files, folders of them, tables (CSV, TSV, JSONL, Parquet, Excel, or a glob of such)
    with a column of pictures, or datasets that `loupe build` wrote."""
    model: str
    """Folder that `loupe train` wrote."""
    task: str | None = None
    """Task file; none means the one beside the model, else the tutorial's."""
    together: bool = False
    """Read one product off all files named, the main picture first, and another off the files of
    each folder, those below it too, by name. False reads a product off each file."""
    max_pictures: int | None = None
    """Most pictures read of a product, the main one counted. None reads as many of a row as the
    model was trained with, all unless that was limited, and all of what is read together."""
    output: str | None = None
    """Folder to write answers to as they come, for any number of pictures; the same command goes on
    where one was stopped. None prints them at the end."""
    format: Literal["json", "table", "parquet"] = "json"
    """One JSON object per picture and line, or a table for people; with output: JSON lines, or
    Parquet part by part."""
    split: Literal["train", "validation", "test"] = "test"
    """Rows of a dataset that are read."""
    image_column: list[str] | str | None = None
    """Column of a table with a picture's path, URL or bytes, or with a list of such; several
    columns or a list are pictures of one product, the main one first. None means the first of
    image, image_path, file_name, imageurl, image_url, url that the table has."""
    picture_root: str | None = None
    """Folder that paths in a table start from and must not leave; none means the table's."""
    id_column: str | None = None
    """Column that names a row; none means product_code or id where the table has it."""
    keep: list[str] = field(default_factory=list)
    """Columns of a table to write beside the answers."""
    decoding: Decoding = "guided"
    """How answers are written: guided by the task's grammar, so that each parses, or freely, token
    by token the likeliest."""
    price: PriceReading = "said"
    """How prices are read: as the answer says them, or as the median, mean or geometric mean of all
    prices that the model might say there."""
    coverage: float | None = None
    """Tell of each price the interval that holds the true one in this share of cases, such as 0.9,
    and of each choice how sure it is; needs `loupe calibrate`. None tells neither."""
    at_most_error: float | None = None
    """Give a price only where its error is at most this, relative to the truth, in `confidence` of
    cases, else null with the reason; needs `loupe calibrate`. None gives all."""
    confidence: float = 0.9
    """With at_most_error: least share of given prices whose error is so small."""
    batch_size: int = 16
    """Most pictures answered at a time."""
    batch_tokens: int | None = 32_768
    """Most tokens of a batch, padding and longest answer counted, so that large pictures come in
    smaller batches; none leaves it to batch_size."""
    max_new_tokens: int = 96
    """Longest answer, in tokens; a guided answer that is longer has its texts cut, to end in …"""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    threads: int | None = None
    """CPU threads; none means one per core."""
    workers: int = 0
    """Threads that open pictures ahead of the model; 0 means one per core."""
    allow_private: bool = False
    """Let URLs in a table reach private and loopback addresses."""
    retry: Literal["failed"] | None = None
    """Try the rejected pictures of the output folder again."""
    engine: Literal["local", "ray", "vllm"] = "local"
    """Answer in this process; on the Ray cluster of RAY_ADDRESS (none: one of this machine), with a
    model in each worker; or by vLLM, from a merged Phi-3-Vision checkpoint on a GPU."""
    replicas: int = 0
    """Models that a Ray cluster holds; 0 means one per GPU, without GPUs one per machine."""
    overwrite: bool = False
    """Start anew where the output folder holds answers; without it the same command goes on."""

    def __post_init__(self) -> None:
        least = {
            "batch_size": (self.batch_size, 1),
            "batch_tokens": (1 if self.batch_tokens is None else self.batch_tokens, 1),
            "max_new_tokens": (self.max_new_tokens, 1),
            "workers": (self.workers, 0),
            "replicas": (self.replicas, 0),
            "max_pictures": (1 if self.max_pictures is None else self.max_pictures, 1),
        }
        low = [
            f"{name} is {value}; expected at least {lowest}."
            for name, (value, lowest) in least.items()
            if value < lowest
        ]
        check_certainty(self.coverage, self.at_most_error, "confidence", self.confidence)
        problems = {
            " ".join(low): bool(low),
            "format parquet needs a folder to write. Add --output FOLDER.": (
                self.format == "parquet" and self.output is None
            ),
            "format table is for people, and output for any number of pictures. Drop one, or "
            "choose json or parquet.": self.format == "table" and self.output is not None,
            "image_column names no column. Name one, or leave it out.": self.image_column == [],
            "overwrite starts a folder anew. Add --output FOLDER.": (
                self.overwrite and self.output is None
            ),
            "retry goes on in a folder. Add --output FOLDER.": (
                self.retry is not None and self.output is None
            ),
            "retry keeps what is answered, and overwrite does not. Drop one.": (
                self.retry is not None and self.overwrite
            ),
            f"price {self.price} is not read with engine vllm, which gives no prices that might "
            "have been said. Choose --price said, or another engine.": (
                self.engine == "vllm" and self.price != "said"
            ),
            "coverage and at_most_error are not told with engine vllm, which gives nothing that "
            "might have been said. Drop them, or choose another engine.": (
                self.engine == "vllm" and self.asks_certainty
            ),
        }  # fmt: skip
        for problem, is_met in problems.items():
            if is_met:
                raise OptionError(problem)

    @property
    def asks_certainty(self) -> bool:
        """Whether answers shall tell how sure they are."""
        return self.coverage is not None or self.at_most_error is not None
