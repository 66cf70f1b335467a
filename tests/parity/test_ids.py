"""Token ids of prompts, chats and plain sentences against Microsoft's processor."""

import pytest
from goldens import GOLDEN, expand, load_json
from transformers import AutoTokenizer

RECORDED = load_json("prompts.json")
SHOWN = [case for case in RECORDED["cases"] if case["id"] != "tag_without_images"]
by_id = {"ids": lambda case: case["id"]}


@pytest.fixture
def tokenizer(processor_of):
    return processor_of(1).tokenizer


@pytest.mark.parametrize("case", SHOWN, **by_id)
def test_ids_are_the_recorded_ones_with_our_image_token(case, processor_of, draw):
    processor = processor_of(case["num_crops"])
    outputs = processor(case["text"], draw(case["images"]) or None, return_tensors="pt")
    expected = [processor.image_token_id if i < 0 else i for i in expand(case["input_ids"])]
    assert outputs["input_ids"].tolist() == [expected]
    assert outputs["attention_mask"].tolist() == [[1] * len(expected)]


def test_a_tag_without_its_picture_is_refused(processor_of):
    """Microsoft's turns the tag into seven ordinary tokens, and the model never sees a picture."""
    with pytest.raises(ValueError, match=r"names the pictures \[1\], but comes with 0"):
        processor_of(1)("<|user|>\n<|image_1|>\nWhat is shown?<|end|>\n<|assistant|>\n")


@pytest.mark.parametrize("case", RECORDED["errors"], **by_id)
def test_what_microsoft_refuses_is_refused(case, processor_of, draw):
    with pytest.raises(ValueError, match=r"Its tags must be <\|image_1\|> to <\|image_n\|>"):
        processor_of(case["num_crops"])(case["text"], draw(case["images"]))


def test_sentences_become_the_recorded_ids(tokenizer):
    for case in RECORDED["tokenizer"]:
        assert tokenizer(case["text"])["input_ids"] == case["input_ids"], case["text"]
        assert tokenizer.decode(case["input_ids"]) == case["decoded"]


def test_auto_tokenizer_goes_wrong_only_without_the_models_config(processor_of):
    """When this fails, transformers reads the bare tokenizer rightly: shorten docs/model.md."""

    def count_wrong(folder):
        tokenizer = AutoTokenizer.from_pretrained(folder)
        return sum(tokenizer(c["text"])["input_ids"] != c["input_ids"] for c in sentences)

    sentences = RECORDED["tokenizer"]
    assert count_wrong(GOLDEN / "tokenizer") > len(sentences) // 2
    assert count_wrong(processor_of(1).tokenizer.name_or_path) == 0


@pytest.mark.parametrize("case", RECORDED["chats"], ids=lambda case: str(len(case["text"])))
def test_chats_are_rendered_as_recorded(case, processor_of, tokenizer):
    text = processor_of(1).apply_chat_template(
        case["messages"], add_generation_prompt=case["add_generation_prompt"]
    )
    assert text == case["text"]
    assert tokenizer(text)["input_ids"] == case["input_ids"]


@pytest.mark.parametrize("case", RECORDED["batches"], ids=lambda case: case["padding_side"])
def test_batches_are_padded_as_recorded(case, processor_of):
    side = case["padding_side"]
    outputs = processor_of(1)(case["texts"], padding=True, padding_side=side, return_tensors="pt")
    assert outputs["input_ids"].tolist() == case["input_ids"]
    assert outputs["attention_mask"].tolist() == case["attention_mask"]
