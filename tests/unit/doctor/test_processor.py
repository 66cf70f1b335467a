import json
import re

import pytest
from goldens import write_processor_folder

from loupe.doctor.processor import PUBLISHED_IDS, examine_processor
from loupe.phi3_v import Phi3VConfig


def forget(name):
    """Rename a token in tokenizer.json, so that its text falls apart."""

    def change(patient):
        path = patient.folder / "tokenizer.json"
        path.write_text(path.read_text("utf-8").replace(f'"{name}"', '"<|gone|>"'), "utf-8")
        path = patient.folder / "tokenizer_config.json"
        path.write_text(path.read_text("utf-8").replace(f'"{name}"', '"<|gone|>"'), "utf-8")

    return change


def set_in(file, **values):
    return lambda patient: patient.change_json(file, **values)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (set_in("config.json", image_token_id=7), r"puts pictures at token 1023, the model .* 7\."),
        (set_in("preprocessor_config.json", num_crops=0), "num_crops is 0; published are 4 and 16"),
        (
            set_in("preprocessor_config.json", num_img_tokens=16),
            r"has num_img_tokens 16, the model's tower makes it 9\. \| Set num_img_tokens to 9",
        ),
        (
            set_in("preprocessor_config.json", crop_size=336),
            r"has crop_size 336, the model's tower makes it 48\.",
        ),
        (
            set_in("tokenizer_config.json", chat_template="{{ messages[0]['content'] }}"),
            r"writes '<\|image_1\|>\\nWhat is shown in this image\?' where the published one",
        ),
        (
            set_in("tokenizer_config.json", chat_template="{% for %}"),
            "The chat template cannot be used: ",
        ),
        (
            set_in("tokenizer_config.json", chat_template=None),
            "The chat template cannot be used: ",
        ),
        (
            set_in("tokenizer_config.json", pad_token="<|end|>"),
            r"Batches are padded with <\|end\|>, the token that ends",
        ),
        (
            set_in("config.json", vocab_size=1000, pad_token_id=0),
            r"has ids up to 1023, the model embeds 1000",
        ),
        (forget("<|user|>"), r"<\|user\|> are no single tokens"),
        (lambda patient: (patient.folder / "tokenizer.json").unlink(), "processor: .*tokenizer"),
        (
            lambda patient: (patient.folder / "preprocessor_config.json").unlink(),
            r"has no processor: .* \| Copy preprocessor_config\.json",
        ),
    ],
    ids=[
        *("image id", "no crops", "tokens per crop", "crop size", "template", "broken template"),
        *("no template", "padding", "vocabulary", "special token", "no tokenizer", "no processor"),
    ],
)
def test_what_is_wrong_with_a_processor_is_told(patient, change, told):
    change(patient)
    wrong = [line for line in patient.wrong() if line.startswith("processor")]
    assert any(re.search(told, line) for line in wrong), wrong


def test_a_number_of_crops_too_long_for_the_model_is_told(patient):
    patient.change_json("config.json", max_position_embeddings=50)
    assert any("A picture of 4 crops is 61 tokens" in line for line in patient.wrong())


def test_an_end_that_other_tools_would_miss_is_a_note(patient):
    patient.change_json("generation_config.json", eos_token_id=1018)
    found = [each for each in patient.examine().findings if each.verdict == "note"]
    assert ["generation_config.json ends answers at 1018, not at <|end|> (1021)" in found[0].what]
    patient.change_json("generation_config.json", eos_token_id=[1018, 1021])
    assert patient.examine().findings[-1].verdict == "well"


@pytest.fixture
def published(patient):
    """The published vocabulary's size with the tiny tokenizer: all its ids are others."""
    config = Phi3VConfig.from_pretrained(patient.folder)
    config.vocab_size = 32064
    return config


def test_ids_that_are_not_the_published_ones_are_told(patient, published):
    _, findings = examine_processor(patient.folder, published, patient.folder)
    told = [each.what for each in findings if each.verdict == "wrong"]
    assert f"<|user|> is token 1022; published is {PUBLISHED_IDS['<|user|>']}." in told
    assert any("A line end after <|user|> gives the ids" in each for each in told)


def test_the_examination_is_told_in_the_json_too(patient):
    patient.change_json("preprocessor_config.json", num_crops=0)
    result = json.loads(json.dumps(patient.examine().to_dict()))
    assert not result["is_well"]
    assert {"part", "verdict", "what", "cure"} == set(result["findings"][0])


@pytest.mark.parametrize("model", ["phi3_vision", "phi35_vision"])
def test_the_published_processor_is_well(model, tmp_path):
    folder = write_processor_folder(tmp_path, 16, model)
    _, findings = examine_processor(folder, Phi3VConfig.from_pretrained(folder), folder)
    assert [each.verdict for each in findings] == ["well", "note"]
