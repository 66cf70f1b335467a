"""A tiny Phi-3-Vision: 56 px crops, long rope after 48 tokens, the published tokenizer."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from loupe.phi3_v import Phi3VConfig, Phi3VForCausalLM

TOKENIZER = Path(__file__).parents[2] / "parity" / "golden" / "tokenizer"
CROP_PX, PATCH_PX = 56, 14
TOKENS_PER_CROP = (CROP_PX // (2 * PATCH_PX)) ** 2
HEAD_PAIRS = 4
ROPE_LIMIT = 48


def make_config(**changes):
    settings = {
        "vocab_size": 32064,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 8 * ROPE_LIMIT,
        "original_max_position_embeddings": ROPE_LIMIT,
        "rope_scaling": {
            "type": "su",
            "short_factor": [1.0 + 0.1 * k for k in range(HEAD_PAIRS)],
            "long_factor": [1.0 + 2.0 * k for k in range(HEAD_PAIRS)],
        },
        "initializer_range": 0.1,
        "vision_config": {
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "image_size": CROP_PX,
            "patch_size": PATCH_PX,
        },
    }
    return Phi3VConfig(**(settings | changes))


def make_model(**changes):
    torch.manual_seed(0)
    return Phi3VForCausalLM(make_config(**changes)).eval()


def draw(width, height, seed):
    levels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(levels)
