import json
import shutil
from importlib.util import find_spec

import pytest
import torch
from PIL import Image

from loupe import vlm
from loupe.errors import CheckpointError


def copy_of(folder, target, *, without=()):
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns(*without))
    return target


def picture(width=60, height=40, colour="red"):
    return Image.new("RGB", (width, height), colour)


def test_a_checkpoint_folder_loads_in_the_asked_precision(tiny_checkpoint):
    model, processor = vlm.load_model_and_processor(str(tiny_checkpoint), dtype=torch.bfloat16)
    assert model.lm_head.weight.dtype == torch.bfloat16
    assert not model.training
    assert processor.tokenizer.convert_tokens_to_ids("<|end|>") > 0


def test_phi3_v_is_asked_in_the_published_words(tiny_checkpoint):
    dialogue = vlm.make_dialogue(vlm.load_processor(str(tiny_checkpoint)), "What is this?")
    assert dialogue.prompt == "<|user|>\n<|image_1|>What is this?<|end|><|assistant|>\n"
    assert dialogue.end == "<|end|>"


def test_another_family_is_asked_by_its_own_template(llava_checkpoint):
    dialogue = vlm.make_dialogue(vlm.load_processor(str(llava_checkpoint)), "What is this?")
    assert dialogue.prompt == "USER: <image>\nWhat is this? ASSISTANT:"
    assert dialogue.end == "<|endoftext|>"


def test_a_family_without_a_template_is_refused(llava_checkpoint):
    processor = vlm.load_processor(str(llava_checkpoint))
    processor.chat_template = processor.tokenizer.chat_template = None
    with pytest.raises(CheckpointError, match="LlavaProcessor has no chat template"):
        vlm.make_dialogue(processor, "What is this?")


def test_a_tokenizer_without_the_end_token_is_refused(tiny_checkpoint):
    processor = vlm.load_processor(str(tiny_checkpoint))
    ids = processor.tokenizer.convert_tokens_to_ids
    processor.tokenizer.convert_tokens_to_ids = lambda name: 0 if name == "<|end|>" else ids(name)
    with pytest.raises(CheckpointError, match=r"has no token '<\|end\|>', which ends an answer"):
        vlm.make_dialogue(processor, "What is this?")


def test_a_picture_fitted_beforehand_gives_the_same_inputs(tiny_checkpoint):
    processor = vlm.load_processor(str(tiny_checkpoint))
    drawn = Image.effect_noise((90, 70), 60).convert("RGB")
    size = vlm.fit_picture_size(processor, drawn.size)
    fitted = drawn.resize(size, Image.Resampling.BILINEAR)

    whole, ahead = (vlm.prepare_pictures(processor, [each]) for each in (drawn, fitted))

    assert size == (56, 43)
    assert torch.equal(whole["pixel_values"], ahead["pixel_values"])
    assert torch.equal(whole["image_sizes"], ahead["image_sizes"])


def test_picture_inputs_are_those_the_model_takes(tiny_checkpoint, llava_checkpoint):
    pictures = [picture(), picture(40, 60)]
    for folder, names in [
        (tiny_checkpoint, {"pixel_values", "image_sizes"}),
        (llava_checkpoint, {"pixel_values"}),
    ]:
        inputs = vlm.prepare_pictures(vlm.load_processor(str(folder)), pictures)
        assert set(inputs) == names
        assert len(inputs["pixel_values"]) == 2


@pytest.mark.parametrize("family", ["tiny_checkpoint", "llava_checkpoint", "idefics3_checkpoint"])
def test_pooled_features_are_one_row_per_picture_whatever_their_shapes(family, request):
    model, processor = vlm.load_model_and_processor(str(request.getfixturevalue(family)))
    both = [picture(), picture(40, 40, "blue")]
    with torch.inference_mode():
        features = vlm.pool_image_features(model, processor, both)
        assert features.shape == (2, 32)
        # other batch, other order of float32 sums
        alone = vlm.pool_image_features(model, processor, both[1:])
        assert torch.allclose(features[1:], alone, atol=1e-5)
        assert not torch.allclose(features[0], features[1])


def test_parameters_are_counted_by_part(tiny_checkpoint):
    model, _ = vlm.load_model_and_processor(str(tiny_checkpoint))
    model.model.vision_embed_tokens.img_processor.requires_grad_(requires_grad=False)
    counts = vlm.count_parameters_by_part(model)
    assert set(counts) == {"tower", "projection", "embeddings", "decoder", "head"}
    assert counts["tower"][0] == 0
    assert counts["head"][0] == counts["head"][1] == model.lm_head.weight.numel()
    assert sum(total for _, total in counts.values()) == model.num_parameters()


@pytest.mark.parametrize(
    "name", ["nowhere", "./nowhere", "/nowhere/at/all"], ids=["word", "relative", "absolute"]
)
def test_a_wrong_path_is_told(name):
    with pytest.raises(CheckpointError, match=rf"There is no model folder '{name}'"):
        vlm.load_model_and_processor(name)


def test_a_folder_that_is_no_checkpoint_is_told(tmp_path):
    with pytest.raises(CheckpointError, match=r"has no config\.json"):
        vlm.load_model_and_processor(str(tmp_path))


def test_pickled_weights_are_refused(tiny_checkpoint, tmp_path):
    folder = copy_of(tiny_checkpoint, tmp_path / "pickled", without=["*.safetensors"])
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"holds pickled weights only \(pytorch_model\.bin\)"):
        vlm.load_model_and_processor(str(folder))


def test_missing_weights_are_told(tiny_checkpoint, tmp_path):
    folder = copy_of(tiny_checkpoint, tmp_path / "bare", without=["*.safetensors"])
    with pytest.raises(CheckpointError, match=r"no weights; expected model\.safetensors"):
        vlm.load_model_and_processor(str(folder))


def test_cut_off_weights_are_told(tiny_checkpoint, tmp_path):
    folder = copy_of(tiny_checkpoint, tmp_path / "cut")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        vlm.load_model_and_processor(str(folder))


def test_a_weight_that_is_missing_is_not_made_up(tiny_checkpoint, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = copy_of(tiny_checkpoint, tmp_path / "lacking")
    weights = load_file(folder / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"lacks 1 weights, lm_head\.weight first"):
        vlm.load_model_and_processor(str(folder))


@pytest.mark.parametrize("name", ["preprocessor_config.json", "tokenizer*"])
def test_a_missing_processor_is_told(tiny_checkpoint, tmp_path, name):
    folder = copy_of(tiny_checkpoint, tmp_path / "mute", without=[name])
    with pytest.raises(CheckpointError, match="has no processor"):
        vlm.load_model_and_processor(str(folder))


def test_an_unknown_family_is_told(tiny_checkpoint, tmp_path):
    folder = copy_of(tiny_checkpoint, tmp_path / "unknown")
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config["model_type"] = "squint"
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    with pytest.raises(
        CheckpointError, match="has model_type 'squint', which transformers does not"
    ):
        vlm.load_model_and_processor(str(folder))


def test_an_adapter_loads_with_its_base(tiny_checkpoint, tmp_path):
    peft = pytest.importorskip("peft")
    base, processor = vlm.load_model_and_processor(str(tiny_checkpoint))
    settings = peft.LoraConfig(target_modules=["qkv_proj"], init_lora_weights=False)
    with vlm.without_peft_warning():
        adapted = peft.get_peft_model(base, settings)
    adapted.peft_config["default"].base_model_name_or_path = str(tiny_checkpoint)
    adapted.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)

    loaded, _ = vlm.load_model_and_processor(str(tmp_path))

    ids = torch.tensor([[1, 300, 301]])
    with torch.inference_mode():
        assert torch.equal(loaded(input_ids=ids).logits, adapted.eval()(input_ids=ids).logits)


def test_an_adapter_whose_base_is_gone_is_told(tiny_checkpoint, tmp_path):
    copy_of(tiny_checkpoint, tmp_path / "adapter", without=["config.json"])
    settings = {"base_model_name_or_path": str(tmp_path / "gone")}
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps(settings), "utf-8")
    with pytest.raises(CheckpointError, match=r"There is no model folder '.*gone'"):
        vlm.load_model_and_processor(str(tmp_path / "adapter"))


def write_text_model(folder, config):
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    (folder / "model.safetensors").touch()
    return str(folder)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("llama", "has model_type 'llama', no vision-language model"),
        ("clip", "has model_type 'clip', no vision-language model"),
        ("git", "has model_type 'git', which gives no image features"),
    ],
)
def test_a_model_that_cannot_answer_about_pictures_is_refused(tmp_path, kind, words):
    with pytest.raises(CheckpointError, match=words):
        vlm.load_model_and_processor(write_text_model(tmp_path, {"model_type": kind}))


def test_a_processor_that_needs_what_is_not_installed_is_refused(
    idefics3_checkpoint, tmp_path, monkeypatch
):
    def need(*_, **__):
        raise ImportError(
            "\nQwen2VLVideoProcessor requires the Torchvision library but it was not found in "
            "your environment. Check out the instructions on the\ninstallation page."
        )

    monkeypatch.setattr(vlm.AutoProcessor, "from_pretrained", need)
    with pytest.raises(
        CheckpointError,
        match=r"Torchvision library but it was not found in your environment\. Install that",
    ):
        vlm.load_processor(str(idefics3_checkpoint))


@pytest.mark.skipif(find_spec("torchvision") is not None, reason="torchvision is installed")
def test_a_family_that_reads_videos_needs_torchvision(idefics3_checkpoint, tmp_path):
    folder = copy_of(idefics3_checkpoint, tmp_path / "qwen", without=["*.json"])
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(idefics3_checkpoint / name, folder)
    (folder / "config.json").write_text('{"model_type": "qwen2_vl"}', "utf-8")
    settings = {
        "image_processor_type": "Qwen2VLImageProcessor",
        "processor_class": "Qwen2VLProcessor",
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(settings), "utf-8")
    with pytest.raises(CheckpointError, match="requires the Torchvision library") as told:
        vlm.load_model_and_processor(str(folder))
    assert len(str(told.value).splitlines()) == 1
