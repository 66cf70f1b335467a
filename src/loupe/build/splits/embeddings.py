"""Find pictures that a vision-language model sees as nearly the same."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm import tqdm

from loupe.build.splits.groups import Hashes, Rows, join_pairs
from loupe.pixels import to_upright_srgb

__all__ = ["embed_pictures", "find_close"]

_PICTURES_AT_A_TIME = 16
_BLOCK_ROWS = 2_000

Embeddings = npt.NDArray[np.float32]


def embed_pictures(paths: Iterable[Path], count: int, model: str) -> Embeddings:
    """Give the mean vision feature of each picture, of length 1: (pictures, width).

    Raises:
        CheckpointError: the model cannot be loaded.
    """
    import torch

    from loupe import vlm

    device = vlm.choose_device("auto")
    loaded, processor = vlm.load_model_and_processor(model, dtype="float32", device=device)
    waiting = iter(paths)
    features = []
    bar = tqdm(total=count, desc="pictures compared", unit="picture", disable=None)
    with torch.inference_mode(), bar:
        while batch := list(islice(waiting, _PICTURES_AT_A_TIME)):
            pictures = [to_upright_srgb(Image.open(path)) for path in batch]
            features.append(vlm.pool_image_features(loaded, processor, pictures).cpu().numpy())
            bar.update(len(batch))
    found = np.concatenate(features)
    lengths = np.linalg.norm(found, axis=1, keepdims=True).clip(min=1e-12)
    embeddings: Embeddings = found / lengths
    return embeddings


def find_close(embeddings: Embeddings, least_cosine: float) -> Hashes:
    """Give pictures that are close, directly or by steps, one key above 0, all others 0.

    Each is compared with each: twice as many pictures take four times as long.
    embeddings: (pictures, width), of length 1. Returns (pictures,).
    """
    return join_pairs(len(embeddings), _close_pairs(embeddings, least_cosine))


def _close_pairs(embeddings: Embeddings, least: float) -> Iterator[tuple[Rows, Rows]]:
    for start in range(0, len(embeddings), _BLOCK_ROWS):
        block = embeddings[start : start + _BLOCK_ROWS]
        for other in range(start, len(embeddings), _BLOCK_ROWS):
            cosines: Any = block @ embeddings[other : other + _BLOCK_ROWS].T
            rows, columns = np.nonzero(cosines >= least)
            yield rows + start, columns + other
