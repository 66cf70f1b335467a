import pytest
import torch
from tiny_phi3_v import TOKENIZER
from transformers import PreTrainedTokenizerFast

from loupe.phi3_v import Phi3VProcessor
from loupe.phi3_v.processing_phi3_v import flatten_messages


def places(processor, outputs):
    return (outputs["input_ids"] == processor.image_token_id).sum(dim=1).tolist()


def test_nested_and_flat_pictures_give_the_same(processor, mixed):
    texts, nested = mixed
    flat = [picture for row in nested for picture in row]
    options = {"padding": True, "return_tensors": "pt"}
    for images in (flat, [nested[0], None, nested[2][0]]):
        outputs = processor(texts, images, **options)
        for name, expected in processor(texts, nested, **options).items():
            assert torch.equal(outputs[name], expected), name


def test_a_batch_holds_the_ids_of_its_texts(processor, mixed):
    texts, images = mixed
    batch = processor(texts, images, padding=True, padding_side="left", return_tensors="pt")
    for index, (text, row) in enumerate(zip(texts, images, strict=True)):
        alone = processor(text, row or None)["input_ids"][0]
        mask = batch["attention_mask"][index].bool()
        assert batch["input_ids"][index][mask].tolist() == alone
        assert batch["attention_mask"][index].tolist()[-1] == 1


def test_pictures_come_in_the_order_in_which_the_text_shows_them(processor, wide, tall):
    swapped = processor("<|image_2|> and <|image_1|>", [wide, tall], return_tensors="pt")
    in_order = processor("<|image_1|> and <|image_2|>", [tall, wide], return_tensors="pt")
    for name, expected in in_order.items():
        assert torch.equal(swapped[name], expected), name


def test_a_tag_named_twice_shows_its_picture_twice(processor, wide):
    outputs = processor("<|image_1|> again <|image_1|>", [wide], return_tensors="pt")
    assert outputs["pixel_values"].shape[0] == 2
    assert places(processor, outputs) == [2 * processor.image_processor.count_image_tokens(50, 120)]


def test_image_options_reach_the_image_processor(processor, wide):
    outputs = processor(
        "<|image_1|>", wide, num_crops=1, pad_to_num_crops=False, return_tensors="pt"
    )
    assert outputs["pixel_values"].shape[1] == 2
    assert places(processor, outputs) == [
        processor.image_processor.count_image_tokens(50, 120, num_crops=1)
    ]


def test_padding_follows_the_tokenizers_side_unless_told(processor):
    texts = ["a", "a rather longer text"]
    right = processor(texts, padding=True, return_tensors="pt")["attention_mask"]
    left = processor(texts, padding=True, padding_side="left", return_tensors="pt")
    assert right[0].tolist() == left["attention_mask"][0].flip(0).tolist()
    padded = processor(texts, padding="max_length", max_length=32, return_tensors="pt")
    assert padded["input_ids"].shape == (2, 32)


def test_truncation_cuts_text(processor):
    assert (
        len(processor("one two three four five", truncation=True, max_length=3)["input_ids"][0])
        == 3
    )


def test_truncation_never_cuts_a_picture(processor, wide):
    with pytest.raises(ValueError, match=r"max_length 9 keeps \d+ of the \d+ picture tokens"):
        processor("<|image_1|> text", wide, truncation=True, max_length=9)


@pytest.mark.parametrize(
    ("text", "count", "message"),
    [
        (
            ["<|image_1|>", "<|image_1|>"],
            1,
            r"The texts name 2 pictures \[1, 1\], but 1 were given",
        ),
        ("<|image_1|> <|image|>", 1, r"Text 0 spells out '<\|image\|>'"),
        ("<|image_1|><|image_3|>", 2, r"Text 0 names the pictures \[1, 3\], but comes with 2"),
        ("no tag", 1, r"Text 0 names the pictures \[\], but comes with 1"),
    ],
    ids=["flat", "token", "gap", "no-tag"],
)
def test_tags_and_pictures_that_do_not_match_are_refused(processor, wide, text, count, message):
    with pytest.raises(ValueError, match=message):
        processor(text, [wide] * count)


def test_lists_of_pictures_must_be_as_many_as_texts(processor, wide):
    with pytest.raises(ValueError, match="Got 1 lists of pictures for 2 texts"):
        processor(["<|image_1|>", "x"], [[wide]])


def test_a_tokenizer_without_the_image_token_is_refused(processor):
    class Bare:
        unk_token_id = 0

        def convert_tokens_to_ids(self, token):
            return 0

    tokenizer = PreTrainedTokenizerFast.from_pretrained(TOKENIZER)
    tokenizer.convert_tokens_to_ids = Bare().convert_tokens_to_ids
    with pytest.raises(ValueError, match=r"The tokenizer has no '<\|image\|>' token"):
        Phi3VProcessor(processor.image_processor, tokenizer)


def test_picture_items_become_numbered_tags():
    messages = [
        {
            "role": "user",
            "content": [
                {"type": "image", "image": "first"},
                {"type": "image"},
                {"type": "text", "text": "Compare."},
            ],
        },
        {"role": "assistant", "content": "They differ."},
        {"role": "user", "content": [{"type": "image", "path": "third"}]},
    ]
    flat, pictures = flatten_messages(messages)
    assert flat[0]["content"] == "<|image_1|>\n<|image_2|>\nCompare."
    assert flat[2]["content"] == "<|image_3|>\n"
    assert pictures == ["first", "third"]
    assert isinstance(messages[0]["content"], list)


def test_a_chat_with_pictures_becomes_model_inputs(processor, wide, tall):
    chat = [
        {
            "role": "user",
            "content": [
                {"type": "image", "image": wide},
                {"type": "image", "image": tall},
                {"type": "text", "text": "Compare."},
            ],
        }
    ]
    text = processor.apply_chat_template(chat, add_generation_prompt=True)
    assert text == "<|user|>\n<|image_1|>\n<|image_2|>\nCompare.<|end|>\n<|assistant|>\n"
    outputs = processor.apply_chat_template(
        [chat], add_generation_prompt=True, tokenize=True, return_tensors="pt"
    )
    for name, expected in processor(text, [wide, tall], return_tensors="pt").items():
        assert torch.equal(outputs[name], expected), name


def test_other_engines_find_tags_and_counts_by_the_published_names(processor, wide):
    assert processor.img_tokens[:2] == ["<|image_1|>", "<|image_2|>"]
    count = processor.calc_num_image_tokens_from_image_size(*wide.size)
    made = processor("<|image_1|>", [wide])
    assert made["input_ids"][0].count(processor.image_token_id) == count
