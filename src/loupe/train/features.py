"""What a frozen tower saw in training pictures, kept on disk so that it looks at each only once.

The first pass computes features and keeps them; later passes read them and need neither the picture
nor the tower. What cannot be read whole is computed again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import uuid
import zlib
from collections.abc import Callable, Sequence
from inspect import signature
from pathlib import Path
from typing import Any

import PIL
import torch
import transformers
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch.utils.data import Dataset

from loupe.build.dataset import Split
from loupe.errors import TrainError
from loupe.options import TrainOptions
from loupe.predict import Predictor
from loupe.train.batches import Draw, ExampleDataset
from loupe.train.examples import Sample, Seen
from loupe.vlm import part_of, underlying_model

__all__ = ["FEATURES", "FeatureStore", "FeaturedDataset", "identify_tower", "keep_features"]

logger = logging.getLogger(__name__)

FORMAT = 1
FEATURES = "features"
"""Folder within a run's own, where none is named."""
LARGEST_SHARE = 0.5
"""Of the free disk, which features may take where no folder is named for them."""
DIVIDED = ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED")  # set by accelerate launch
PATCHES_PER_TOKEN = 4  # a token stands for 2 x 2 patches


class FeatureStore:
    """Keeps what a tower saw, one safetensors file per picture, each whole or not at all.

    Args:
        folder: may be shared by runs, also at the same time.
        basis: what features depend on beside the picture, from `identify_tower`.
        dtype: in which they are kept and used: the run's arithmetic.
    """

    def __init__(self, folder: Path, basis: str, dtype: torch.dtype) -> None:
        self._folder = folder / basis
        self._dtype = dtype
        self._is_writable = True

    def read(self, key: str) -> Seen | None:
        """Give what was seen in a picture; None where nothing is kept, or not whole."""
        try:
            held = load(self._path(key).read_bytes())
            seen = Seen(held["features"], held["image_size"])
            is_whole = int(held["checksum"]) == _checksum(seen)
        except (OSError, SafetensorError, KeyError, ValueError):
            return None
        return seen if is_whole else None

    def complete(
        self,
        batch: dict[str, Any],
        encode: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    ) -> dict[str, Any]:
        """Give a batch with the tower's features of all its pictures in place of pixels.

        Pictures are encoded one by one, so that features depend on no neighbour.

        Args:
            batch: as `Collator` makes it of samples with keys.
            encode: from `pixel_values` and `image_sizes` of one picture to its features.
        """
        inputs = dict(batch)
        seen, keys = inputs.pop("seen"), inputs.pop("picture_keys")
        pixels, sizes = inputs.pop("pixel_values", ()), inputs.pop("image_sizes", ())
        fresh = zip(pixels, sizes, strict=True)
        for place, (found, key) in enumerate(zip(seen, keys, strict=True)):
            if found is None:
                crops, size = next(fresh)
                seen[place] = Seen(encode(crops[None], size[None]).to(self._dtype), size)
                self._write(key, seen[place])
        inputs["tower_features"] = torch.cat([each.features for each in seen])
        inputs["image_sizes"] = torch.stack([each.image_size for each in seen])
        return inputs

    def _write(self, key: str, seen: Seen) -> None:
        if not self._is_writable:
            return
        path = self._path(key)
        partial = path.with_name(f".{uuid.uuid4().hex}.partial")
        kept = Seen(*(value.detach().cpu().contiguous() for value in seen))
        held = {**kept._asdict(), "checksum": torch.tensor(_checksum(kept))}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_file(held, partial)
            partial.replace(path)
        except (OSError, SafetensorError) as error:  # the latter for a full disk
            self._is_writable = False
            partial.unlink(missing_ok=True)
            logger.warning(
                "No more features can be kept in %s (%s); the tower runs for all further pictures. "
                "Free some room there, or name another feature_folder.",
                self._folder,
                error,
            )

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key}.safetensors"


class FeaturedDataset(Dataset[Sample]):
    """Examples with what the tower saw in their pictures, or with the picture where it has not yet.

    Args:
        examples: with pictures that do not vary.
        keys: SHA-256 of each of an example's pictures as it is stored, in hexadecimal.
        features: where they are kept.
    """

    def __init__(
        self, examples: ExampleDataset, keys: Sequence[Sequence[str]], features: FeatureStore
    ) -> None:
        self._examples = examples
        self._keys = keys
        self.features = features
        self.lengths = examples.lengths
        self.spellings = examples.spellings

    def __len__(self) -> int:
        """Give the number of examples."""
        return len(self._examples)

    def __getitem__(self, draw: Draw) -> Sample:
        """Give an example with its keys."""
        keys = self._keys[draw[0]]
        seen = [self.features.read(key) for key in keys]
        found = [each for each in seen if each is not None]
        if len(found) == len(seen):
            return Sample(self._examples.examples[draw[0]], found, keys)
        sample = self._examples[draw]
        shown = [
            picture if each is None else each
            for each, picture in zip(seen, sample.pictures, strict=True)
        ]
        return Sample(sample.example, shown, keys)


def keep_features(
    predictor: Predictor,
    split: Split,
    train: ExampleDataset,
    options: TrainOptions,
    dtype: torch.dtype,
    *,
    repeats: bool,
) -> tuple[ExampleDataset | FeaturedDataset, str]:
    """Let a run keep what its frozen tower sees, where that is possible and helps.

    Args:
        predictor: the model as it will be trained.
        split: the training rows.
        train: their examples.
        options: `keep_features` and `feature_folder`, and what speaks against them.
        dtype: the run's arithmetic.
        repeats: pictures are shown more than once.

    Returns:
        What to train on, and in words what was chosen and why.

    Raises:
        TrainError: feature_folder is named, and features cannot be kept or not be kept there.
    """
    reason = _why_not(predictor.model, options, repeats=repeats)
    if reason is None:
        needed = _count_bytes(predictor, train, dtype)
        basis = identify_tower(predictor.model, predictor.processor, dtype)
        folder = Path(options.feature_folder or Path(options.output) / FEATURES)
        room = _find_room(folder, basis) * (1 if options.feature_folder else LARGEST_SHARE)
        if needed > room:
            reason = (
                f"they could take {_gib(needed)} and {_gib(room)} of the disk of {str(folder)!r} "
                "are free for them"
            )
    if reason is None:
        keys = [split.picture_hashes(row) for row in train.rows]
        kept = FeaturedDataset(train, keys, FeatureStore(folder, basis, dtype))
        return kept, (
            f"The frozen tower sees each picture once: features are kept in {folder} (up to "
            f"{_gib(needed)} of disk{'' if options.feature_folder else ', until the run is over'})"
        )
    if options.feature_folder:
        raise TrainError(
            f"feature_folder is {options.feature_folder!r}, but features cannot be kept: {reason}. "
            "Drop feature_folder."
        )
    return train, f"The tower runs in every step; its features are not kept: {reason}"


def identify_tower(model: Any, processor: Any, dtype: torch.dtype) -> str:
    """Give a hash of all that features depend on beside the picture's content.

    Weights and config of the tower, settings of the image processor, arithmetic, and the libraries
    that decode, prepare and compute.
    """
    model = underlying_model(model)
    basis = {
        "format": FORMAT,
        "processor": processor.image_processor.to_dict(),
        "tower": model.config.vision_config.to_dict(),
        "arithmetic": [str(dtype), model.device.type],
        "versions": [PIL.__version__, torch.__version__, transformers.__version__],
    }
    digest = hashlib.sha256(json.dumps(basis, sort_keys=True, default=str).encode())
    for name, value in model.named_parameters():
        if part_of(name) == "tower":
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(_bytes_of(value.detach().cpu()))
    return digest.hexdigest()


def _why_not(model: Any, options: TrainOptions, *, repeats: bool) -> str | None:
    inner = underlying_model(model)
    tower = getattr(inner.config, "vision_config", None)
    reasons = {
        "keep_features is off": not options.keep_features,
        "it is trained": options.part_modes()["tower"] != "frozen",
        "augment shows other pictures in each pass": options.augment,
        "only Phi-3-Vision can be given them": (
            "tower_features" not in signature(inner.forward).parameters
        ),
        "it drops values at random": getattr(tower, "attention_dropout", 0.0) > 0,
        "its weights are divided among processes": options.sharding != "none"
        or any(os.environ.get(name) == "true" for name in DIVIDED),
        "each picture is shown once": not repeats and not options.feature_folder,
    }
    return next((reason for reason, is_met in reasons.items() if is_met), None)


def _count_bytes(predictor: Predictor, train: ExampleDataset, dtype: torch.dtype) -> int:
    """Give what features take at most: the same picture in two rows is counted twice."""
    image_token = predictor.processor.image_token_id
    counts = {ids: ids.count(image_token) for ids in {each.prompt_ids for each in train.examples}}
    tokens = sum(counts[example.prompt_ids] for example in train.examples)
    channels = underlying_model(predictor.model).config.vision_config.hidden_size
    return int(tokens * PATCHES_PER_TOKEN * channels * dtype.itemsize)


def _find_room(folder: Path, basis: str) -> int:
    """Give the bytes that are free for features, those counted that are kept already."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        kept = sum(path.stat().st_size for path in (folder / basis).glob("*/*.safetensors"))
        return kept + shutil.disk_usage(folder).free
    except OSError as error:
        raise TrainError(
            f"feature_folder {str(folder)!r} cannot be written ({error}). Name another."
        ) from error


def _gib(count: float) -> str:
    return f"{count / 2**30:.2f} GiB"


def _checksum(seen: Seen) -> int:
    return zlib.crc32(_bytes_of(seen.image_size), zlib.crc32(_bytes_of(seen.features)))


def _bytes_of(value: torch.Tensor) -> Any:
    return value.contiguous().flatten().view(torch.uint8).numpy()
