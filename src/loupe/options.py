"""Every option of every stage, declared once: flag, YAML key, line of help and saved record."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from loupe.errors import OptionError

__all__ = [
    "BuildOptions",
    "EvaluateOptions",
    "PredictOptions",
    "SampleOptions",
    "TrainOptions",
    "save_options",
]

MAX_LIKENESS_BITS = 16  # of 64: pictures that differ by more have nothing in common


@dataclass(frozen=True, kw_only=True)
class SampleOptions:
    """Invent a catalogue whose pictures decide the labels."""

    output: str
    """Folder to write: products.parquet, images/, sample.json, contact_sheet.jpg."""
    house: str = "corvane"
    """The brand to invent, with its goods, palette, words and price law: alder, corvane or
    mistral."""
    rows: int = 2000
    """Number of products (rows and pictures)."""
    seed: int = 0
    """Same seed, same bytes, whatever the number of workers."""
    image_size_px: int = 224
    """Side of the square pictures, in pixels."""
    workers: int = 0
    """Processes that draw; 0 means one per core."""
    overwrite: bool = False
    """Replace a sample that stands in the output folder."""


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
    image_column: str | None = None
    """Column with a picture's path, URL or bytes; none means the first of image, image_path,
    file_name, imageurl, image_url, url that the table has."""
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
        if not 0 < self.likeness_cosine <= 1:
            raise OptionError(
                f"likeness_cosine is {self.likeness_cosine}; expected above 0 and at most 1."
            )
        if self.likeness_bits is not None and not 0 <= self.likeness_bits <= MAX_LIKENESS_BITS:
            raise OptionError(
                f"likeness_bits is {self.likeness_bits}; expected 0 to {MAX_LIKENESS_BITS} of 64 "
                "bits, or null for no such rule."
            )


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Fine-tune a vision-language model on a dataset, with the loss on the answer alone."""

    dataset: str
    """Folder that `loupe build` wrote."""
    output: str
    """Folder to write: the model or adapter with its processor and task, options.yaml,
    metrics.jsonl, checkpoints/."""
    model: str = "tiny"
    """Checkpoint folder or hub name; `tiny` is the small pretrained base that ships with Loupe."""
    method: Literal["full", "lora"] = "full"
    """Train every parameter, or low-rank adapters on the decoder's linear layers."""
    lora_rank: int = 16
    """Rank of the adapters."""
    lora_alpha: float = 32.0
    """Scale of the adapters; alpha / rank multiplies their output."""
    lora_dropout: float = 0.0
    """Dropout before the adapters, 0 to 1."""
    lora_targets: list[str] = field(
        default_factory=lambda: ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]
    )
    """Linear layers that get an adapter, by the end of their name; a name that matches none is an
    error."""
    also_train: list[str] = field(default_factory=list)
    """With lora: further modules trained in full, by name, for example embed_tokens and lm_head
    where the data has words that the base has not met, or img_projection."""
    freeze: list[str] = field(default_factory=list)
    """With full: modules left as they are, by name, for example img_processor (the vision
    tower)."""
    epochs: float = 3.0
    """Passes over the training rows; the run ends with them, with max_steps or with max_minutes,
    whichever comes first."""
    max_steps: int | None = None
    """Largest number of optimizer steps."""
    max_minutes: float | None = None
    """Largest training time; the learning-rate schedule is fitted to it from the measured speed."""
    batch_size: int = 16
    """Samples per step and process."""
    gradient_accumulation: int = 1
    """Steps whose gradients are added before the optimizer moves."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """`muon` uses Muon for the two-dimensional weights inside the layers and AdamW for the rest."""
    learning_rate: float | None = None
    """Peak learning rate; none means 1e-5 for full with adamw, 2e-4 for lora, 3e-3 for muon."""
    embedding_learning_rate: float | None = None
    """Peak learning rate of the embeddings and the head, where words are new; none means
    learning_rate."""
    digit_weight: float = 1.0
    """By how much a digit counts in the loss, where other tokens count 1; above 1 prices and
    numbers are learnt sooner, at some cost to words."""
    price_spread: float = 0.0
    """How far a price nearby counts as partly right in the loss, as a share of the true price: 0.08
    lets prices 8 % off count 0.6 times as much as the true one; 0 counts the true one alone."""
    weight_decay: float = 0.0
    """Decoupled weight decay of matrices; vectors have none."""
    warmup_share: float = 0.05
    """Share of the steps over which the learning rate rises."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """Course of the learning rate after the warm-up."""
    max_gradient_norm: float = 1.0
    """Gradients are scaled down to this norm."""
    num_crops: int | None = None
    """HD crops per picture; none keeps the processor's own."""
    augment: bool = False
    """Shift, scale and mirror training pictures by a little, anew in each epoch."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Arithmetic of the training; auto is bf16 on a GPU that has it, else fp32."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more time."""
    evaluations: int = 5
    """How often the validation rows are answered while training, spread evenly."""
    evaluation_rows: int = 128
    """Validation rows answered each time."""
    best_metric: str = "loss"
    """Score that chooses the best model: loss, or any name that `loupe evaluate` prints, such as
    full_price_median_ape or title_token_f1."""
    keep_checkpoints: int = 2
    """Checkpoints kept to resume from, beside the best."""
    tracker: list[str] = field(default_factory=list)
    """Trackers beside metrics.jsonl, which is always written, in any combination: wandb,
    tensorboard, trackio."""
    project: str = "loupe"
    """The tracker's project."""
    run_name: str | None = None
    """The tracker's name of this run; none lets it choose."""
    seed: int = 0
    """Order of rows, augmentation, new weights."""
    threads: int | None = None
    """CPU threads; none means one per core."""
    overwrite: bool = False
    """Start again where the output folder holds a run; without it an unfinished run is resumed."""

    def __post_init__(self) -> None:
        if self.method == "full" and self.also_train:
            raise OptionError(
                f"also_train {self.also_train} goes with method lora; method full trains every "
                "module already. Drop also_train, or choose --method lora."
            )
        if self.digit_weight <= 0 or not 0 <= self.price_spread < 1:
            raise OptionError(
                f"digit_weight is {self.digit_weight} and price_spread {self.price_spread}; "
                "expected a weight above 0 and a spread of 0 to below 1."
            )
        if self.method == "lora" and self.freeze:
            raise OptionError(
                f"freeze {self.freeze} goes with method full; method lora freezes all but its "
                "adapters and also_train. Drop freeze, or choose --method full."
            )


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
    max_rows: int | None = None
    """Answer only this many rows, drawn by seed; none means all."""
    words: list[str] = field(default_factory=list)
    """Columns whose value is a word or phrase of a text field (a colour, a pattern): scored by
    whether the answer says it and none of the column's other values."""
    best_columns: dict[str, str] = field(default_factory=dict)
    """Columns with the best answer any reader of the picture could give, as {field: column};
    a column named best_<field> counts without being named."""
    twins: bool = True
    """Also answer with a grey picture and with another row's picture; without them nothing shows
    that the model looks."""
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


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """Read products off pictures."""

    pictures: list[str]
    """Picture files, or folders of them."""
    model: str
    """Folder that `loupe train` wrote."""
    task: str | None = None
    """Task file; none means the one beside the model, else the tutorial's."""
    format: Literal["json", "table"] = "json"
    """One JSON object per picture and line, or a table for people."""
    batch_size: int = 16
    """Pictures answered at a time."""
    max_new_tokens: int = 96
    """Longest answer, in tokens."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    threads: int | None = None
    """CPU threads; none means one per core."""


def save_options(options: Any, folder: Path) -> Path:
    """Write resolved options beside what they made; `--config` reads them back to the same run."""
    path = folder / "options.yaml"
    path.write_text(yaml.safe_dump(asdict(options), sort_keys=False, allow_unicode=True), "utf-8")
    return path
