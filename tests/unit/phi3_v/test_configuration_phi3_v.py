import copy

import pytest
import torch
from tiny_phi3_v import HEAD_PAIRS, make_config

from loupe.phi3_v import Phi3VConfig

SU = {
    "type": "su",
    "short_factor": [1.0] * HEAD_PAIRS,
    "long_factor": [2.0] * HEAD_PAIRS,
}


def test_the_default_is_the_published_tower():
    config = Phi3VConfig()
    assert (config.crop_size, config.tokens_per_side) == (336, 12)
    assert config.img_processor["num_img_tokens"] == 144
    assert config.img_processor["model_name"] == "openai/clip-vit-large-patch14-336"
    assert "vision_config" not in config.to_diff_dict()
    assert "image_token_id" not in config.to_diff_dict()


@pytest.mark.parametrize("kind", ["su", "yarn", None])
def test_rope_scaling_is_written_as_it_was_read(kind):
    published = kind and SU | {"type": kind}
    written = make_config(rope_scaling=published).to_diff_dict()
    assert written["rope_scaling"] == published
    assert written["rope_theta"] == 10000.0
    assert "rope_parameters" not in written


def test_yarn_scales_cosines_by_its_own_law():
    rope = make_config(rope_scaling=SU | {"type": "yarn"}).rope_parameters
    assert rope["rope_type"] == "longrope"
    assert rope["attention_factor"] == pytest.approx(1.2079441541679836)  # 0.1 ln 8 + 1


def test_the_callers_dictionaries_are_left_alone():
    settings = {"rope_scaling": SU, "embd_layer": {"embedding_cls": "image"}}
    before = copy.deepcopy(settings)
    make_config(**settings)
    assert settings == before


def test_a_small_config_survives_being_saved(tmp_path):
    config = make_config(dtype="bfloat16", image_token_id=7)
    config.save_pretrained(tmp_path)
    again = Phi3VConfig.from_pretrained(tmp_path)
    assert again.to_diff_dict() == config.to_diff_dict()
    assert again.dtype == torch.bfloat16
    assert again.image_token_id == 7
    assert again.vision_config.hidden_size == 16


def test_internal_dictionaries_read_back_too():
    config = make_config(_attn_implementation="flash_attention_2")
    again = Phi3VConfig(**config.to_dict())
    assert again.to_diff_dict() == config.to_diff_dict()


def test_published_wish_for_flash_attention_is_kept_but_not_obeyed():
    config = make_config(_attn_implementation="flash_attention_2")
    assert config._attn_implementation is None
    assert config.to_diff_dict()["_attn_implementation"] == "flash_attention_2"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"embd_layer": {"hd_transform_order": "glb_sub"}}, "the only layout of picture tokens"),
        ({"img_processor": {"image_dim_out": 64}}, "is 64, but vision_config makes it 16"),
        ({"img_processor": {"num_img_tokens": 9}}, "is 9, but vision_config makes it 4"),
        (
            {"vision_config": {"image_size": 70, "patch_size": 14}},
            "image_size is 70 px; it must be a multiple of 28 px",
        ),
    ],
    ids=["layout", "width", "tokens", "size"],
)
def test_contradictions_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        make_config(**changes)
