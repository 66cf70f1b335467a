import pytest
import torch
from tiny_phi3_v import ROPE_LIMIT, make_model
from transformers import set_seed

NEW_TOKENS = 12


@pytest.fixture
def batch(processor, mixed):
    texts, images = mixed
    return processor(texts, images, padding=True, padding_side="left", return_tensors="pt")


def decode(model, inputs, **options):
    options = {"do_sample": False, "max_new_tokens": NEW_TOKENS, "eos_token_id": None} | options
    found = model.generate(**inputs, **options)
    return found[:, inputs["input_ids"].shape[1] :]


def test_a_batch_decodes_what_its_rows_decode_alone(processor, model, mixed, batch):
    texts, images = mixed
    together = decode(model, batch)
    for index, (text, row) in enumerate(zip(texts, images, strict=True)):
        alone = decode(model, processor(text, row or None, return_tensors="pt"))
        assert together[index].tolist() == alone[0].tolist()


def test_the_cache_changes_nothing(model, batch):
    assert torch.equal(decode(model, batch), decode(model, batch, use_cache=False))


def test_rope_factors_switch_in_the_middle_of_an_answer(processor, model, wide):
    """The row that outgrows the short factors is computed anew, its picture with it."""
    text = "<|user|>\n<|image_1|>\n"
    spare = ROPE_LIMIT - len(processor(text, wide)["input_ids"][0]) - 4
    inputs = processor(
        [text + "word " * spare, "x"],
        [[wide], []],
        padding=True,
        padding_side="left",
        return_tensors="pt",
    )
    length = inputs["attention_mask"].sum(dim=1).max()
    assert length < ROPE_LIMIT < length + NEW_TOKENS
    calls = []
    tower = model.model.vision_embed_tokens.img_processor
    tower.register_forward_hook(lambda *_: calls.append(1))
    cached = decode(model, inputs)
    assert len(calls) == 1
    assert torch.equal(cached, decode(model, inputs, use_cache=False))


@pytest.mark.parametrize("options", [{"num_beams": 3}, {"num_beams": 2, "num_return_sequences": 2}])
def test_beams_of_a_batch_are_the_beams_of_its_rows(processor, model, mixed, batch, options):
    texts, images = mixed
    together = decode(model, batch, **options)
    per_row = options.get("num_return_sequences", 1)
    for index, (text, row) in enumerate(zip(texts, images, strict=True)):
        alone = decode(model, processor(text, row or None, return_tensors="pt"), **options)
        assert together[index * per_row : (index + 1) * per_row].tolist() == alone.tolist()


def test_pictures_are_encoded_once_for_all_beams_and_samples(model, batch):
    entered = []
    tower = model.model.vision_embed_tokens.img_processor
    tower.register_forward_pre_hook(lambda _, crops: entered.append(len(crops[0])))
    decode(model, batch)
    decode(model, batch, num_beams=3)
    assert len(entered) == 2
    assert entered[0] == entered[1]


def test_sampling_follows_its_seed(model, batch):
    options = {"do_sample": True, "num_return_sequences": 2}
    answers = []
    for seed in (1, 1, 2):
        set_seed(seed)
        answers.append(decode(model, batch, **options))
    assert torch.equal(answers[0], answers[1])
    assert not torch.equal(answers[0], answers[2])


def test_features_computed_before_serve_generation(model, batch):
    expected = [decode(model, batch), decode(model, batch, num_beams=2)]
    tower_features = model.get_tower_features(batch["pixel_values"], batch["image_sizes"])
    sizes = batch["image_sizes"]
    features = model.get_image_features(batch.pop("pixel_values"), batch.pop("image_sizes"))
    for given in (
        {"image_features": features},
        {"tower_features": tower_features, "image_sizes": sizes},
    ):
        for beams in ({}, {"num_beams": 2}):
            assert torch.equal(decode(model, {**batch, **given}, **beams), expected[len(beams)])


def test_negative_ids_serve_generation(model, batch):
    expected = decode(model, batch)
    is_place = batch["input_ids"] == model.config.image_token_id
    batch["input_ids"] = batch["input_ids"].masked_fill(is_place, -1)
    assert torch.equal(decode(model, batch), expected)


def test_logits_are_computed_for_the_last_token_alone(model, batch):
    seen = []
    model.lm_head.register_forward_pre_hook(lambda _, states: seen.append(states[0].shape[1]))
    decode(model, batch)
    assert set(seen) == {1}


def test_a_generated_image_token_is_a_token_like_any_other():
    model = make_model(vocab_size=40, pad_token_id=0, image_token_id=7)
    with torch.no_grad():
        prefix = model(torch.tensor([[1, 2, 3]]), use_cache=True)
        step = model(torch.tensor([[7]]), past_key_values=prefix.past_key_values)
    assert torch.isfinite(step.logits).all()
