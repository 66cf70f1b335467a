import json

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import BitsAndBytesConfig
from transformers.quantizers.quantizers_utils import should_convert_module

from loupe import vlm
from loupe.errors import OptionError, TrainError
from loupe.options import PARTS, TrainOptions
from loupe.train.adapters import (
    add_full_parameters,
    choose_trained,
    find_targets,
    four_bit_settings,
)
from loupe.vlm import count_parameters_by_part, part_of

DECODER = {"qkv_proj": 2, "o_proj": 2, "gate_up_proj": 2, "down_proj": 2}
TOWER = {"q_proj": 2, "k_proj": 2, "v_proj": 2, "out_proj": 2, "fc1": 2, "fc2": 2}


def options(**settings):
    return TrainOptions(dataset="data", output="model", **settings)


def trained_names(model):
    return {name for name, value in model.named_parameters() if value.requires_grad}


def counts_of(targets):
    return {
        part: {name: len(found) for name, found in met.items()} for part, met in targets.items()
    }


def test_the_parts_are_those_that_options_name():
    assert set(vlm.PARTS) == set(PARTS)


def test_full_trains_everything(predictor):
    model, targets = choose_trained(predictor.model, options(), "tiny")
    assert trained_names(model) == {name for name, _ in model.named_parameters()}
    assert targets == {}


def test_frozen_parts_are_left_as_they_are(predictor):
    frozen = options(parts={"tower": "frozen", "projection": "frozen"})
    model, _ = choose_trained(predictor.model, frozen, "tiny")
    counts = count_parameters_by_part(model)
    assert counts["tower"][0] == counts["projection"][0] == 0
    assert {part_of(name) for name in trained_names(model)} == {"embeddings", "decoder", "head"}


def test_adapters_go_on_the_decoders_linear_layers(predictor):
    model, targets = choose_trained(predictor.model, options(method="lora", lora_rank=4), "tiny")
    assert counts_of(targets) == {"decoder": DECODER}
    assert all("lora_" in name for name in trained_names(model))
    assert len(trained_names(model)) == 16  # two matrices for each of eight layers
    assert model.peft_config["default"].base_model_name_or_path == "tiny"


def test_tower_and_projection_are_adapted_where_asked(predictor):
    parts = {"tower": "adapted", "projection": "adapted", "head": "adapted"}
    model, targets = choose_trained(predictor.model, options(method="lora", parts=parts), "tiny")
    assert counts_of(targets) == {
        "tower": TOWER,
        "projection": {"img_projection.0": 1, "img_projection.2": 1},
        "decoder": DECODER,
        "head": {"lm_head": 1},
    }
    assert len(trained_names(model)) == 2 * (12 + 2 + 8 + 1)


def test_names_choose_among_the_layers_of_the_adapted_parts(predictor):
    targets = find_targets(predictor.model, ["decoder", "tower"], ["qkv_proj", "fc2"])
    assert counts_of(targets) == {"decoder": {"qkv_proj": 2}, "tower": {"fc2": 2}}


def test_parts_in_full_beside_adapters_hold_their_separators(predictor):
    wanted = options(method="lora", parts={"projection": "full", "embeddings": "full"})
    model, _ = choose_trained(predictor.model, wanted, "tiny")
    whole = {name for name in trained_names(model) if "lora_" not in name}
    assert {name.removeprefix("base_model.model.model.") for name in whole} == {
        "embed_tokens.weight",
        "vision_embed_tokens.glb_GN",
        "vision_embed_tokens.sub_GN",
        *(
            f"vision_embed_tokens.img_projection.{layer}.{kind}"
            for layer in (0, 2)
            for kind in ("weight", "bias")
        ),
    }


def test_what_is_trained_is_in_float32_over_a_16_bit_base(predictor):
    model = predictor.model.bfloat16()
    wanted = options(method="lora", parts={"projection": "full"})
    model, _ = choose_trained(model, wanted, "tiny")
    kinds = {(value.requires_grad, value.dtype) for value in model.parameters()}
    assert kinds == {(True, torch.float32), (False, torch.bfloat16)}


@pytest.mark.parametrize("switch", ["use_dora", "use_rslora"])
def test_variants_of_the_adapters_are_pefts(predictor, switch):
    wanted = options(method="lora", lora_rank=4, **{switch: True})
    model, _ = choose_trained(predictor.model, wanted, "tiny")
    assert getattr(model.peft_config["default"], switch)
    layer = model.get_submodule("base_model.model.model.layers.0.self_attn.qkv_proj")
    scale = {"use_dora": 32 / 4, "use_rslora": 32 / 2}[switch]  # alpha / rank, alpha / √rank
    assert layer.scaling["default"] == scale
    has_lengths = any("lora_magnitude_vector" in name for name in trained_names(model))
    assert has_lengths == (switch == "use_dora")


def test_an_adapter_file_gives_back_what_was_trained_in_full(make, tiny_checkpoint, tmp_path):
    wanted = options(method="lora", parts={"projection": "full", "head": "full"})
    model, _ = choose_trained(make.predictor(tiny_checkpoint).model, wanted, str(tiny_checkpoint))
    with torch.no_grad():
        for value in model.parameters():
            if value.requires_grad:
                value.add_(torch.randn_like(value))
    model.save_pretrained(tmp_path)
    add_full_parameters(model, tmp_path)

    base = make.predictor(tiny_checkpoint).model
    with vlm.without_peft_warning():
        plain = PeftModel.from_pretrained(base, tmp_path)  # as anyone would load it

    loaded = dict(plain.named_parameters())
    for name, value in model.named_parameters():
        assert torch.equal(value, loaded[name]), name


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"lora_targets": ["q_proj_typo"]}, r"no module's name ends so\. There are: .*qkv_proj"),
        ({"lora_targets": ["proj"]}, "no module's name ends so"),  # the end of o_proj alone
        ({"lora_targets": ["embed_tokens"]}, "which is a Embedding; adapters go on linear"),
        ({"lora_targets": ["qkv_proj", "fc1"]}, "'fc1', which stands in tower, and adapted are de"),
        (
            {"lora_targets": ["qkv_proj"], "parts": {"tower": "adapted"}},
            r"Part tower .* one of lora_targets \['qkv_proj'\]\. It has: k_proj \(2\), v_proj",
        ),
        ({"parts": {"embeddings": "adapted"}}, "no linear layer in it is there. Choose frozen"),
    ],
    ids=["typo", "part of a word", "embedding", "other part", "part left out", "no linear layer"],
)
def test_a_target_or_part_that_meets_nothing_is_an_error(predictor, settings, words):
    with pytest.raises(TrainError, match=words):
        choose_trained(predictor.model, options(method="lora", **settings), "tiny")


def test_a_part_without_weights_of_its_own_is_an_error(predictor):
    predictor.model.lm_head.weight = predictor.model.model.embed_tokens.weight  # tied
    with pytest.raises(TrainError, match=r"name head, of which .* It has: tower, projection, emb"):
        choose_trained(predictor.model, options(learning_rates={"head": 1e-3}), "tiny")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"parts": {"brain": "full"}}, "expected tower, projection, embeddings, decoder, head"),
        ({"parts": {"tower": "thawed"}}, "one of adapted, frozen, full"),
        ({"learning_rates": {"vision": 1e-5}}, "expected tower, projection"),
        ({"parts": {"tower": "adapted"}}, "go with --method lora or qlora"),
        ({"use_dora": True}, "go with --method lora or qlora"),
        ({"lora_targets": ["o_proj"]}, "go with --method lora or qlora"),
        ({"method": "lora", "parts": {"decoder": "frozen"}}, "nothing to adapt"),
        ({"method": "qlora", "parts": {"decoder": "full", "tower": "adapted"}}, "4 bits, which"),
        ({"parts": dict.fromkeys(PARTS, "frozen")}, "nothing to train"),
        ({"method": "lora", "learning_rates": {"tower": 1e-5}}, "tower, frozen by parts or meth"),
        ({"seed": -1}, "seed is -1; expected 0 to 4294967295"),
        ({"label_smoothing": 1.0}, "label_smoothing is 1.0, .* expected shares of 0 to below 1"),
        ({"warmup_share": -0.1}, "warmup_share -0.1; expected shares"),
        ({"neftune_noise_alpha": 0.0}, "expected values above 0"),
        ({"learning_rates": {"head": -1e-3}}, "expected values above 0"),
    ],
)
def test_contradictions_are_refused(settings, words):
    with pytest.raises(OptionError, match=words):
        options(**settings)


def test_four_bits_are_for_the_decoder_alone(predictor):
    config = BitsAndBytesConfig(**four_bit_settings("bfloat16"))
    assert config.quantization_method() == "nf4"
    assert config.bnb_4bit_use_double_quant
    assert config.bnb_4bit_compute_dtype == torch.bfloat16
    linear = {
        name
        for name, module in predictor.model.named_modules()
        if isinstance(module, torch.nn.Linear)
    }
    packed = {name for name in linear if should_convert_module(name, config.llm_int8_skip_modules)}
    assert packed == {name for name in linear if part_of(name) == "decoder"}
    assert len(packed) == 8


def test_adapters_learn_over_a_4_bit_decoder(make, tiny_checkpoint, tmp_path):
    pytest.importorskip("bitsandbytes", reason="the extra qlora")
    model, processor = vlm.load_model_and_processor(
        str(tiny_checkpoint),
        dtype="float32",
        quantization=BitsAndBytesConfig(**four_bit_settings("float32")),
    )
    plain = make.predictor(tiny_checkpoint).model
    wanted = options(method="lora", parts={"projection": "full"}, use_dora=True)
    model, targets = choose_trained(model, wanted, str(tiny_checkpoint))
    counts, expected = count_parameters_by_part(model), count_parameters_by_part(plain)
    assert counts["decoder"] == (0, expected["decoder"][1])
    assert counts_of(targets) == {"decoder": DECODER}
    assert processor is not None
    model.save_pretrained(tmp_path)
    add_full_parameters(model, tmp_path)
    assert not any("quant" in name for name in load_file(tmp_path / "adapter_model.safetensors"))
    assert json.loads((tmp_path / "adapter_config.json").read_text("utf-8"))["use_dora"]
