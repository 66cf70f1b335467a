"""Fixtures around the tiny Phi-3-Vision of `tiny_phi3_v.py`."""

import pytest
from tiny_phi3_v import CROP_PX, TOKENIZER, TOKENS_PER_CROP, draw, make_model
from transformers import PreTrainedTokenizerFast

from loupe.phi3_v import Phi3VImageProcessor, Phi3VProcessor


@pytest.fixture(scope="session")
def processor():
    image_processor = Phi3VImageProcessor(
        num_crops=4, crop_size=CROP_PX, num_img_tokens=TOKENS_PER_CROP
    )
    tokenizer = PreTrainedTokenizerFast.from_pretrained(TOKENIZER)
    return Phi3VProcessor(image_processor, tokenizer)


@pytest.fixture
def model():
    return make_model()


@pytest.fixture
def wide():
    return draw(120, 50, seed=1)


@pytest.fixture
def tall():
    return draw(40, 130, seed=2)


@pytest.fixture
def mixed(wide, tall):
    """Texts with two pictures, none and one, and their pictures."""
    texts = [
        "<|user|>\n<|image_1|>\n<|image_2|>\nCompare.<|end|>\n<|assistant|>\n",
        "<|user|>\nSay something about nothing.<|end|>\n<|assistant|>\n",
        "<|user|>\n<|image_1|>\nWhat?<|end|>\n<|assistant|>\n",
    ]
    return texts, [[wide, tall], [], [tall]]
