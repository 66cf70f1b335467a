import pytest

from loupe.errors import MissingExtraError, TrainError
from loupe.options import TrainOptions
from loupe.train.adapters import choose_trained
from loupe.vlm import count_parameters_by_part


def options(**settings):
    return TrainOptions(dataset="data", output="model", **settings)


def trained_names(model):
    return {name for name, value in model.named_parameters() if value.requires_grad}


def test_full_trains_everything(predictor):
    model, met = choose_trained(predictor.model, options(), "tiny")
    assert trained_names(model) == {name for name, _ in model.named_parameters()}
    assert met == {}


def test_frozen_modules_are_left_as_they_are(predictor):
    model, met = choose_trained(predictor.model, options(freeze=["img_processor"]), "tiny")
    assert met == {"img_processor": ["model.vision_embed_tokens.img_processor"]}
    assert not any("img_processor" in name for name in trained_names(model))
    assert count_parameters_by_part(model)["tower"][0] == 0


def test_freezing_everything_is_an_error(predictor):
    with pytest.raises(TrainError, match="leaves nothing to train"):
        choose_trained(predictor.model, options(freeze=["model", "lm_head"]), "tiny")


@pytest.mark.parametrize(
    "settings",
    [
        {"freeze": ["tower"]},
        {"method": "lora", "lora_targets": ["q_proj_typo"]},
        {"method": "lora", "also_train": ["proj"]},  # the end of o_proj, and no module's name
    ],
    ids=["freeze", "lora_targets", "also_train"],
)
def test_a_name_that_meets_nothing_lists_what_there_is(predictor, settings):
    with pytest.raises(TrainError, match=r"no module's name ends so\. There are: .*qkv_proj"):
        choose_trained(predictor.model, options(**settings), "tiny")


def test_adapters_go_on_the_decoders_linear_layers(predictor):
    model, met = choose_trained(predictor.model, options(method="lora", lora_rank=4), "tiny")
    assert {name: len(found) for name, found in met.items()} == {
        "qkv_proj": 2,
        "o_proj": 2,
        "gate_up_proj": 2,
        "down_proj": 2,
    }
    assert all("lora_" in name for name in trained_names(model))
    assert len(trained_names(model)) == 16  # two matrices for each of eight layers
    assert model.peft_config["default"].base_model_name_or_path == "tiny"


def test_named_modules_are_trained_beside_the_adapters(predictor):
    wanted = options(method="lora", also_train=["embed_tokens", "lm_head", "img_projection"])
    model, met = choose_trained(predictor.model, wanted, "tiny")
    assert met["img_projection"] == ["model.vision_embed_tokens.img_projection"]
    whole = {name for name in trained_names(model) if "lora_" not in name}
    assert {name.split(".modules_to_save")[0].split(".")[-1] for name in whole} == {
        "embed_tokens",
        "lm_head",
        "img_projection",
    }


def test_adapters_on_something_else_than_linear_layers_are_refused(predictor):
    with pytest.raises(TrainError, match="which is a Embedding; adapters go on linear layers"):
        choose_trained(predictor.model, options(method="lora", lora_targets=["embed_tokens"]), "x")


def test_missing_peft_names_the_extra(predictor, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(MissingExtraError, match=r"peft: pip install 'loupe-vlm\[train\]'"):
        choose_trained(predictor.model, options(method="lora"), "tiny")
