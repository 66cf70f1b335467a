"""Published files in, published files out: keys, shapes, values, configs, processor folders."""

import json

import pytest
import torch
from goldens import Case, load_json, write_processor_folder
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoProcessor

from loupe.phi3_v import Phi3VConfig, Phi3VForCausalLM

BOTH = pytest.mark.parametrize("model", ["phi3_vision", "phi35_vision"])
# transformers leaves out where a config came from; its version changes with every save.
NOT_COMPARED = {"_name_or_path", "transformers_version"}


@BOTH
def test_the_full_size_model_has_the_published_keys_and_shapes(model):
    config = Phi3VConfig(**load_json(f"official/{model}_config.json"))
    with torch.device("meta"):
        built = Phi3VForCausalLM(config)
    published = load_json("full_size_keys.json")
    assert {k: list(v.shape) for k, v in built.state_dict().items()} == published["shapes"]
    assert sum(p.numel() for p in built.parameters()) == published["num_parameters"]


@BOTH
def test_a_published_config_is_written_back_with_every_key(model, tmp_path):
    published = load_json(f"official/{model}_config.json")
    (tmp_path / "config.json").write_text(json.dumps(published))
    AutoConfig.from_pretrained(tmp_path).save_pretrained(tmp_path / "saved")
    written = json.loads((tmp_path / "saved" / "config.json").read_text())
    for key in published.keys() - NOT_COMPARED:
        assert written[key] == published[key], key
    # What the published class fills in by itself.
    assert written.keys() - published.keys() <= {"pad_token_id", "resid_pdrop", "embd_pdrop"}


@pytest.mark.parametrize("name", ["a_mha_short", "b_yarn", "a_no_rope_scaling", "c_multi_image"])
def test_a_checkpoint_is_written_back_with_the_same_keys_and_values(name, tmp_path):
    case = Case(name)
    case.load_model(tmp_path).save_pretrained(tmp_path / "saved")
    published, written = load_file(case.weights), load_file(tmp_path / "saved/model.safetensors")
    assert published.keys() == written.keys()
    assert all(torch.equal(published[key], written[key]) for key in published)
    config = json.loads((tmp_path / "saved/config.json").read_text())
    recorded = json.loads((case.folder / "config.json").read_text())
    for key in ("rope_scaling", "rope_theta", "img_processor", "embd_layer", "image_token_id"):
        assert config[key] == recorded[key], key


def test_nothing_is_missing_or_left_over_when_a_checkpoint_loads(tmp_path):
    folder = Case("a_mha_short").write_checkpoint(tmp_path)
    _, about = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not about["missing_keys"]
    assert not about["unexpected_keys"]
    assert not about["mismatched_keys"]


@BOTH
def test_a_published_processor_folder_is_written_back_as_one(model, tmp_path):
    processor = AutoProcessor.from_pretrained(write_processor_folder(tmp_path, 4, model))
    processor.save_pretrained(tmp_path / "saved")
    published = json.loads((tmp_path / "preprocessor_config.json").read_text())
    written = json.loads((tmp_path / "saved/preprocessor_config.json").read_text())
    assert written == published | {"do_convert_rgb": True}
    again = AutoProcessor.from_pretrained(tmp_path / "saved")
    for case in load_json("prompts.json")["tokenizer"]:
        assert again.tokenizer(case["text"])["input_ids"] == case["input_ids"]
    assert again.tokenizer.chat_template == processor.tokenizer.chat_template
    assert again.image_processor.to_dict() == processor.image_processor.to_dict()


def test_a_saved_tokenizer_config_has_what_older_readers_need(tmp_path):
    folder = write_processor_folder(tmp_path, 4)
    AutoProcessor.from_pretrained(folder).save_pretrained(tmp_path / "saved")
    published = json.loads((tmp_path / "tokenizer_config.json").read_text())
    written = json.loads((tmp_path / "saved/tokenizer_config.json").read_text())
    kept = published.keys() - {"tokenizer_class", "add_bos_token", "add_eos_token"}
    for key in kept:
        assert written[key] == published[key], key
    # The published LlamaTokenizer makes transformers 5 rebuild the tokenizer with other ids.
    assert written["tokenizer_class"] == "PreTrainedTokenizerFast"
