"""The work that `../phi3_v.py` gives to either implementation: sizes, picture, prompt, timing.

Needs numpy, Pillow and torch alone, because Microsoft's code runs in a Python of its own.
"""

import gc
import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image

IMAGE_SIZES_PX = ((1344, 1008), (600, 800))
TEXT_TOKENS, SCORED_TOKENS = 64, 48
HIDDEN, HEADS, TOWER = 512, 8, 256
PAIRS = HIDDEN // HEADS // 2

CONFIG: dict[str, Any] = {
    "vocab_size": 32064,
    "hidden_size": HIDDEN,
    "intermediate_size": 1408,
    "num_hidden_layers": 8,
    "num_attention_heads": HEADS,
    "num_key_value_heads": HEADS,
    "max_position_embeddings": 131072,
    "original_max_position_embeddings": 4096,
    "sliding_window": 131072,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 32000,
    "rope_scaling": {
        "type": "su",
        "short_factor": [1.0 + 0.05 * k for k in range(PAIRS)],
        "long_factor": [1.0 + 2.0 * k for k in range(PAIRS)],
    },
    "embd_layer": {
        "embedding_cls": "image",
        "hd_transform_order": "sub_glb",
        "projection_cls": "mlp",
        "use_hd_transform": True,
        "with_learnable_separator": True,
    },
    "img_processor": {
        "image_dim_out": TOWER,
        "model_name": "openai/clip-vit-large-patch14-336",
        "name": "clip_vision_model",
        "num_img_tokens": 144,
    },
}
TOWER_CONFIG: dict[str, Any] = {
    "hidden_size": TOWER,
    "intermediate_size": 4 * TOWER,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "image_size": 336,
    "patch_size": 14,
    "projection_dim": 128,
}


def draw_picture(width: int, height: int) -> Image.Image:
    """Several octaves of blocks of noise: a stand-in for the statistics of a photograph."""
    rng = np.random.default_rng(width)
    levels = np.zeros((height, width, 3))
    for weight, cell in ((8, 64), (4, 17), (2, 5), (1, 1)):
        blocks = rng.integers(0, 256, (-(-height // cell), -(-width // cell), 3))
        levels += weight * blocks.repeat(cell, 0).repeat(cell, 1)[:height, :width]
    return Image.fromarray((levels / 15).astype(np.uint8))


def make_prompt(picture_tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids (1, tokens), -1 in the places of the picture, and labels on the last text tokens."""
    text = [3 + (i * 7919) % 31000 for i in range(TEXT_TOKENS)]
    before, after = text[:-SCORED_TOKENS], text[-SCORED_TOKENS:]
    ids = torch.tensor([[1, *before, *[-1] * picture_tokens, 1, *after]])
    labels = torch.full_like(ids, -100)
    labels[:, -SCORED_TOKENS:] = ids[:, -SCORED_TOKENS:]
    return ids, labels


def time_calls(call: Callable[[], Any], repeats: int) -> dict[str, list[float]]:
    """Wall and processor seconds of each call, after one that is not counted."""
    call()
    wall, processor = [], []
    for _ in range(repeats):
        gc.collect()
        started = time.perf_counter(), time.process_time()
        call()
        wall.append(time.perf_counter() - started[0])
        processor.append(time.process_time() - started[1])
    return {"wall": wall, "processor": processor}


class Clock:
    """A stopping criterion that stops nothing and notes when each token was there."""

    def __init__(self) -> None:
        self.stamps = [(time.perf_counter(), time.process_time())]

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        """Note the time."""
        self.stamps.append((time.perf_counter(), time.process_time()))
        return torch.zeros(len(input_ids), dtype=torch.bool)

    def steps(self) -> list[tuple[float, float]]:
        """Wall and processor seconds of the prefill, then of each decoded token."""
        pairs = zip(self.stamps, self.stamps[1:], strict=False)
        return [(b[0] - a[0], b[1] - a[1]) for a, b in pairs]


def time_generation(generate: Callable[[Clock], Any], repeats: int) -> dict[str, Any]:
    """Seconds of prefills and of decoded tokens; `generate` takes the clock."""
    generate(Clock())
    steps = []
    for _ in range(repeats):
        clock = Clock()
        generate(clock)
        steps.append(clock.steps())
    first, later = [run[0] for run in steps], [step for run in steps for step in run[1:]]
    return {
        name: {"wall": [w for w, _ in taken], "processor": [p for _, p in taken]}
        for name, taken in (("prefill", first), ("decode", later))
    }


def peak_mib() -> float:
    """Most memory that this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
