"""Answers that a model draws for training rows, kept on disk as they come."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from loupe.errors import PreferError

if TYPE_CHECKING:
    from loupe.predict import Predictor
    from loupe.vlm import Pictures

__all__ = ["SAMPLES", "Sampling", "Texts", "describe_model", "read_samples", "sample_answers"]

logger = logging.getLogger(__name__)

SAMPLES = "samples.jsonl"
STORY_SHARE = 0.1  # without a terminal, a line is logged each time so much more is done

Texts = list[str | None]
"""The answers drawn for one row; None stands for one that was cut off before its end."""


@dataclass(frozen=True)
class Sampling:
    """What decides which answers are drawn."""

    model: str
    """The model's name and weights, as `describe_model` tells them."""
    dataset_fingerprint: str
    samples: int
    """Answers drawn for each row."""
    temperature: float
    max_new_tokens: int
    seed: int


def describe_model(model: str) -> str:
    """Name a model by its weights: a digest of its safetensors files; a hub name as it is."""
    folder = Path(model).expanduser()
    files = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    if not files:
        return model
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def sample_answers(
    predictor: Predictor,
    rows: Mapping[str, Callable[[], Pictures]],
    sampling: Sampling,
    path: Path,
    batch_size: int,
) -> dict[str, Texts]:
    """Draw answers for the rows that a file does not hold yet, and note each batch at once.

    A run that was killed goes on behind the last whole line. The random numbers of a batch depend
    on the seed and its first row alone.

    Args:
        predictor: the model, with processor and task.
        rows: what opens the pictures of each row, by row id.
        sampling: how answers are drawn.
        path: the file; its first line tells the sampling, each other one a row and its answers.
        batch_size: rows at a time.

    Raises:
        PreferError: the file holds answers that were drawn otherwise.
    """
    from tqdm import tqdm

    found = read_samples(path, sampling)
    _cut_torn_line(path)
    names = list(rows)
    with (
        path.open("a", encoding="utf-8") as file,
        tqdm(total=len(names), unit="row", disable=not sys.stderr.isatty(), leave=False) as bar,
    ):
        if file.tell() == 0:
            file.write(json.dumps(asdict(sampling)) + "\n")
        for start in range(0, len(names), batch_size):
            batch = names[start : start + batch_size]
            missing = [name for name in batch if name not in found]
            if missing:
                drawn = _draw(predictor, [rows[name]() for name in missing], sampling, start)
                found |= dict(zip(missing, drawn, strict=True))
                lines = [_as_line(name, found[name]) for name in missing]
                file.write("".join(lines))
                file.flush()
                os.fsync(file.fileno())
                _tell(start, len(batch), len(names))
            bar.update(len(batch))
    return {name: found[name] for name in names}


def read_samples(path: Path, sampling: Sampling) -> dict[str, Texts]:
    """Read the answers that a file holds, but for a last line that was not written whole.

    Raises:
        PreferError: they were drawn otherwise; the message names what differs.
    """
    if not path.is_file():
        return {}
    whole = path.read_bytes().split(b"\n")[:-1]  # a torn line may end amid a character
    if not whole:
        return {}
    head, asked = json.loads(whole[0]), asdict(sampling)
    if differing := [name for name in asked if head.get(name) != asked[name]]:
        raise PreferError(
            f"The answers in {str(path)!r} were drawn with another {', '.join(differing)}. Give "
            "the same, or draw new ones into another output."
        )
    rows = [json.loads(line) for line in whole[1:]]
    return {row["row_id"]: row["answers"] for row in rows}


def _cut_torn_line(path: Path) -> None:
    content = path.read_bytes() if path.is_file() else b""
    if content and not content.endswith(b"\n"):
        os.truncate(path, content.rfind(b"\n") + 1)


def _draw(
    predictor: Predictor, pictures: Sequence[Pictures], sampling: Sampling, start: int
) -> list[Texts]:
    import torch

    from loupe.predict.generation import sample_texts

    torch.manual_seed(sampling.seed * 1_000_003 + start)
    return sample_texts(
        predictor, pictures, sampling.max_new_tokens, sampling.samples, sampling.temperature
    )


def _as_line(row_id: str, answers: Texts) -> str:
    return json.dumps({"row_id": row_id, "answers": answers}, ensure_ascii=False) + "\n"


def _tell(before: int, more: int, total: int) -> None:
    """Log a line where a tenth of the rows is passed, for those without a terminal."""
    passed = int((before + more) / total / STORY_SHARE) > int(before / total / STORY_SHARE)
    if passed and not sys.stderr.isatty():
        logger.info("%3.0f %% of the answers are drawn", 100 * (before + more) / total)
