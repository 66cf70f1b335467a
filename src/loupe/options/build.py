"""Options of `loupe build`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from loupe.errors import OptionError

__all__ = ["MAX_LIKENESS_BITS", "BuildOptions"]

MAX_LIKENESS_BITS = 16  # of 64: pictures that differ by more have nothing in common


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """Turn a table, or a folder of pictures, into a checked and split dataset."""

    source: str
    """A CSV, TSV, JSONL, Parquet or Excel table, a glob of such, a folder with one, a folder of
    pictures with a sub-folder per category, or a Hugging Face dataset: a folder or owner/name."""
    output: str
    """Folder to write; `datasets.load_dataset` opens it."""
    task: str | None = None
    """Task file; none means the tutorial's (title, category, price)."""
    preset: Literal["dbq"] | None = None
    """What is known of a family of tables: dbq for DBQ/*.Product.prices.* of the Hugging Face
    hub."""
    encoding: str | None = None
    """Encoding of a text table; none means its byte-order mark, else UTF-8, else Windows-1252,
    which a warning tells."""
    delimiter: str | None = None
    """What parts the cells of a CSV; none means the one of , ; tab | by which rows have as many
    cells as the header."""
    source_part: str | None = None
    """Sheet of an Excel file, or configuration of a Hugging Face dataset; none expects one."""
    streaming: bool = False
    """Read a Hugging Face dataset from where it is, without its cache."""
    image_column: list[str] | str | None = None
    """Column with a picture's path, URL or bytes, or with a list of such; several columns or a list
    give rows of several pictures, the main one first. None means the first of image, image_path,
    file_name, imageurl, image_url, url that the table has."""
    max_pictures: int | None = None
    """Most pictures of a row, the main one counted; those beyond are left out. None takes all."""
    picture_root: str | None = None
    """Folder that paths of pictures start from and must not leave; none means the folder of the
    table."""
    columns: dict[str, str] = field(default_factory=dict)
    """Names in the table for the task's fields where they differ, as {field: column}."""
    decimal_mark: Literal["auto", "point", "comma"] = "auto"
    """How numbers in text are written; auto reads each as its own form or the rest of its column
    tells, and rejects 1.290 where nothing tells."""
    currency: str | None = None
    """Code of the currency of the prices; none means the task's. Prices in another are rejected."""
    currency_column: str | None = None
    """Column with the currency of a row; none means currency_code or currency where the table has
    it."""
    id_column: str | None = None
    """Column that names a row in reports; none means product_code or id where the table has it,
    else the row's number."""
    group_by: list[str] = field(default_factory=list)
    """Rows that agree in all these columns stay in one split, beside those that share a title, an
    id or a picture."""
    likeness_bits: int | None = 4
    """Pictures whose perceptual hashes differ in at most so many of 64 bits, and whose colours
    hardly differ, count as one picture; null asks for identical pixels."""
    likeness_model: str | None = None
    """Checkpoint whose vision features tell pictures alike as well, such as tiny or a Phi-3-Vision
    folder; null leaves it to the hashes."""
    likeness_cosine: float = 0.99
    """With likeness_model: least cosine between the features of pictures that count as one."""
    keep_sides: str | None = None
    """Earlier dataset whose rows stay in the split they had."""
    export: list[str] = field(default_factory=list)
    """Formats of other trainers to write as well, into the folder export: trl, llava, sharegpt
    (LLaMA-Factory), swift (ms-swift), openai, webdataset."""
    validation_share: float = 0.1
    """Share of rows held out to choose the best model."""
    test_share: float = 0.2
    """Share of rows held out for the evaluation."""
    seed: int = 0
    """Decides which group goes to which split."""
    min_side_px: int = 28
    """Smallest side that a picture may have, in pixels."""
    min_contrast: int = 8
    """Least difference between the lightest and the darkest value of a channel, 0 to 255; 0 lets
    pictures of one colour pass."""
    max_pixels: int = 50_000_000
    """Largest number of pixels that a picture may have; refused before it is decoded."""
    max_side_px: int | None = None
    """Shrink stored pictures to this longest side; none keeps the original bytes."""
    max_bytes: int = 20_000_000
    """Largest size of one picture, in bytes; a download stops there."""
    concurrency: int = 64
    """Pictures on their way at a time."""
    per_host: int = 32
    """Downloads at a time from one host; lower it where the host is small or asks for it."""
    timeout_seconds: float = 20.0
    """Time that one picture may take in all: redirects, pauses and further attempts included."""
    connect_timeout_seconds: float = 5.0
    """Time that a connection may take, its name's address included."""
    read_timeout_seconds: float = 8.0
    """Time that the answer, and each further 1,024 bytes of it, may take."""
    retries: int = 3
    """Further attempts at a download that failed for a passing reason."""
    retry: Literal["failed"] | None = None
    """Try the failed downloads of the dataset that stands in the output folder again, and those
    of rows that are new; all other pictures are kept."""
    user_agent: str = "loupe-vlm (builds picture datasets)"
    """What servers are told of who asks; an address to write to is polite."""
    honour_opt_out: bool = False
    """Reject pictures whose server says noai or noimageai in X-Robots-Tag."""
    allow_private: bool = False
    """Let URLs reach private and loopback addresses."""
    stores: list[str] = field(default_factory=list)
    """Schemes of object stores that pictures may come from, such as s3 or gs; each needs its
    fsspec package (s3fs, gcsfs)."""
    workers: int = 0
    """Processes that check pictures; 0 means one per core."""
    engine: Literal["local", "ray"] = "local"
    """Gather pictures on this machine, or on the Ray cluster of RAY_ADDRESS (none: one of this
    machine); concurrency and per_host then hold for the cluster as a whole."""
    overwrite: bool = False
    """Replace a dataset that stands in the output folder."""

    def __post_init__(self) -> None:
        shares = self.validation_share + self.test_share
        if min(self.validation_share, self.test_share) < 0 or shares >= 1:
            raise OptionError(
                f"validation_share {self.validation_share} and test_share {self.test_share} leave "
                "no row to train on; both must be at least 0 and their sum below 1."
            )
        if self.image_column == [] or (self.max_pictures is not None and self.max_pictures < 1):
            raise OptionError(
                f"image_column is {self.image_column} and max_pictures {self.max_pictures}; "
                "expected at least one column and at least 1 picture, or null."
            )
        if not 0 < self.likeness_cosine <= 1:
            raise OptionError(
                f"likeness_cosine is {self.likeness_cosine}; expected above 0 and at most 1."
            )
        if self.likeness_bits is not None and not 0 <= self.likeness_bits <= MAX_LIKENESS_BITS:
            raise OptionError(
                f"likeness_bits is {self.likeness_bits}; expected 0 to {MAX_LIKENESS_BITS} of 64 "
                "bits, or null for no such rule."
            )
