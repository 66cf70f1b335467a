import copy

import pytest
import torch
from tiny_phi3_v import CROP_PX, ROPE_LIMIT, make_model
from torch.nn.functional import cross_entropy
from transformers import AutoModelForImageTextToText

from loupe.phi3_v import modeling_phi3_v, register
from loupe.phi3_v.loss_phi3_v import score_labels, share_labels

# Padding and batching change the order of float32 sums.
CLOSE = {"rtol": 1e-4, "atol": 1e-4}


@pytest.fixture
def batch(processor, mixed):
    texts, images = mixed
    return processor(texts, images, padding=True, padding_side="left", return_tensors="pt")


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_batch_gives_what_its_rows_give_alone(processor, mixed, side, attention):
    model = make_model(attn_implementation=attention)
    texts, images = mixed
    batch = processor(texts, images, padding=True, padding_side=side, return_tensors="pt")
    lengths = batch["attention_mask"].sum(dim=1)
    assert lengths.min() <= ROPE_LIMIT < lengths.max()  # rows on both sides of the rope switch
    with torch.no_grad():
        together = model(**batch).logits
        for index, (text, row) in enumerate(zip(texts, images, strict=True)):
            alone = model(**processor(text, row or None, return_tensors="pt")).logits[0]
            mask = batch["attention_mask"][index].bool()
            torch.testing.assert_close(together[index][mask], alone, **CLOSE)


def test_negative_ids_mean_what_our_token_means(model, batch):
    negative = dict(batch)
    is_place = batch["input_ids"] == model.config.image_token_id
    negative["input_ids"] = batch["input_ids"].masked_fill(is_place, -1)
    with torch.no_grad():
        assert torch.equal(model(**negative).logits, model(**batch).logits)


def test_the_callers_tensors_are_left_alone(model, batch):
    negative = {name: tensor.clone() for name, tensor in batch.items()}
    negative["input_ids"][negative["input_ids"] == model.config.image_token_id] = -1
    before = copy.deepcopy(negative)
    model.train()
    model(**negative, labels=negative["input_ids"].clamp(min=0)).loss.backward()
    model.eval().generate(**negative, max_new_tokens=2)
    for name, tensor in negative.items():
        assert torch.equal(tensor, before[name]), name


def test_pictures_matter(model, batch):
    with torch.no_grad():
        seen = model(**batch).logits
        batch["pixel_values"] = batch["pixel_values"].flip(-1)
        assert not torch.allclose(model(**batch).logits, seen)


def test_features_can_be_computed_once_and_given_back(model, batch):
    with torch.no_grad():
        expected = model(**batch).logits
        features = model.get_image_features(batch.pop("pixel_values"), batch.pop("image_sizes"))
        assert torch.equal(model(**batch, image_features=features).logits, expected)


def test_tower_features_can_be_computed_once_while_the_projection_learns(model, batch):
    def run(**pictures):
        model.zero_grad()
        outputs = model(**batch, **pictures, labels=batch["input_ids"], return_logits=True)
        outputs.loss.backward()
        projection = model.model.vision_embed_tokens.img_projection
        return outputs, [value.grad.clone() for value in projection.parameters()]

    model.model.vision_embed_tokens.img_processor.requires_grad_(False)
    pixels, sizes = batch.pop("pixel_values"), batch.pop("image_sizes")
    expected, gradients = run(pixel_values=pixels, image_sizes=sizes)
    tower_features = model.get_tower_features(pixels, sizes)
    found, others = run(tower_features=tower_features, image_sizes=sizes)
    real = sum(1 + (h // CROP_PX) * (w // CROP_PX) for h, w in sizes.tolist())
    assert tower_features.shape[0] == real < pixels.shape[0] * pixels.shape[1]
    assert torch.equal(found.logits, expected.logits)
    assert all(torch.equal(one, other) for one, other in zip(gradients, others, strict=True))


def test_tower_features_of_other_pictures_are_refused(model, batch):
    sizes = batch.pop("image_sizes")
    features = model.get_tower_features(batch.pop("pixel_values"), sizes)
    real = len(features)
    with pytest.raises(ValueError, match=f"has {real - 1} crops; image_sizes tells of {real}"):
        model(**batch, tower_features=features[1:], image_sizes=sizes)
    with pytest.raises(ValueError, match="tower_features came without image_sizes"):
        model(**batch, tower_features=features)


@pytest.mark.parametrize("change", ["fewer pictures", "no pictures", "one place less"])
def test_places_and_features_that_differ_in_number_are_refused(model, batch, change):
    inputs = dict(batch)
    is_place = batch["input_ids"] == model.config.image_token_id
    places = int(is_place.sum())
    given = sum(map(len, model.get_image_features(inputs["pixel_values"], inputs["image_sizes"])))
    assert places == given
    if change == "fewer pictures":
        for name in ("pixel_values", "image_sizes"):
            inputs[name] = inputs[name][1:]
        given = sum(
            map(len, model.get_image_features(inputs["pixel_values"], inputs["image_sizes"]))
        )
    elif change == "no pictures":
        del inputs["pixel_values"], inputs["image_sizes"]
        given = 0
    else:
        inputs["input_ids"] = batch["input_ids"].clone()
        inputs["input_ids"][tuple(is_place.nonzero()[0])] = 5
        places -= 1
    message = f"{places} places for picture features, but \\d pictures give {given} features"
    with pytest.raises(ValueError, match=message):
        model(**inputs)


def test_pixels_without_sizes_are_refused(model, batch):
    del batch["image_sizes"]
    with pytest.raises(ValueError, match="pixel_values came without image_sizes"):
        model(**batch)


def labels_of(batch, answer_tokens=4):
    labels = torch.full_like(batch["input_ids"], -100)
    labels[:, -answer_tokens:] = batch["input_ids"][:, -answer_tokens:]
    return labels


def test_training_returns_a_loss_and_no_logits_unless_asked(model, batch):
    labels = labels_of(batch)
    model.train()
    assert model(**batch, labels=labels).logits is None
    asked = model(**batch, labels=labels, return_logits=True)
    expected = cross_entropy(asked.logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
    torch.testing.assert_close(asked.loss, expected)
    assert model(**batch).logits is not None
    model.eval()
    assert model(**batch, labels=labels).logits is not None
    assert model(**batch, labels=labels, return_logits=False).logits is None


def test_logits_are_computed_only_where_asked(model, batch):
    seen = []
    model.lm_head.register_forward_pre_hook(lambda _, states: seen.append(states[0].shape))
    with torch.no_grad():
        full = model(**batch).logits
        last = model(**batch, logits_to_keep=1).logits
        chosen = model(**batch, logits_to_keep=torch.tensor([0, 5])).logits
        model.train()(**batch, labels=labels_of(batch))
    torch.testing.assert_close(last, full[:, -1:])
    torch.testing.assert_close(chosen, full[:, [0, 5]])
    rows, tokens = batch["input_ids"].shape
    assert seen[1:] == [(rows, 1, 32), (rows, 2, 32), (4 * rows, 32)]
    assert seen[0] == (rows, tokens, 32)


def test_the_loss_is_the_same_in_chunks(model):
    torch.manual_seed(0)
    hidden = torch.randn(2, 9, 32, requires_grad=True)
    labels = torch.randint(0, 100, (2, 9))
    labels[0, :5] = -100
    results = []
    for chunk in (100, 4):
        model.zero_grad()
        hidden.grad = None
        loss = score_labels(model.lm_head, hidden, labels, chunk)
        loss.backward()
        results.append((loss.detach(), hidden.grad.clone(), model.lm_head.weight.grad.clone()))
    for whole, chunked in zip(*results, strict=True):
        torch.testing.assert_close(whole, chunked)


@pytest.mark.parametrize("chunk", [100, 4], ids=["at once", "in chunks"])
def test_smoothed_labels_give_torchs_smoothed_cross_entropy(model, chunk):
    torch.manual_seed(0)
    hidden = torch.randn(2, 9, 32)
    labels = torch.randint(0, 100, (2, 9))
    labels[0, :5] = -100
    shares = share_labels(labels, None, None, 0.1)
    found = score_labels(model.lm_head, hidden, labels, chunk, shares=shares)
    logits = model.lm_head(hidden[:, :-1]).transpose(1, 2)
    expected = torch.nn.functional.cross_entropy(logits, labels[:, 1:], label_smoothing=0.1)
    torch.testing.assert_close(found, expected)


def test_the_loss_is_divided_by_what_the_trainer_counts(model, batch):
    labels = labels_of(batch)
    mean = model(**batch, labels=labels).loss
    scored = (labels[:, 1:] != -100).sum()
    halved = model(**batch, labels=labels, num_items_in_batch=2 * scored).loss
    torch.testing.assert_close(halved, mean / 2)


def test_nothing_to_score_is_a_loss_of_zero_with_gradients(model, batch):
    loss = model.train()(**batch, labels=torch.full_like(batch["input_ids"], -100)).loss
    loss.backward()
    assert loss.item() == 0.0


# transformers 5.23 has new names for gradient checkpointing; 5.17 has only the old ones.
OLD_NAMES = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*is deprecated")


def gradients(model, batch):
    model.zero_grad()
    model.train()(**batch, labels=labels_of(batch)).loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@OLD_NAMES
def test_gradient_checkpointing_gives_the_same_gradients(model, batch):
    expected = gradients(model, batch)
    model.gradient_checkpointing_enable()
    found = gradients(model, batch)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, msg=name)


def test_every_used_parameter_of_a_fresh_model_gets_a_gradient(model, batch):
    found = gradients(model, batch)
    unused = ("encoder.layers.2.", "post_layernorm")
    for name, parameter in model.named_parameters():
        if any(part in name for part in unused):
            assert name not in found
        elif "k_proj.bias" not in name:  # softmax does not see a bias on keys
            assert found[name].abs().max() > 0, name
        assert torch.isfinite(parameter).all(), name


def test_a_fresh_model_learns(model, batch):
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(12):
        loss = model.train()(**batch, labels=labels_of(batch)).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2


def test_bfloat16_runs_and_stays_near(model, batch):
    with torch.no_grad():
        expected = model(**batch).logits
        found = model.to(torch.bfloat16)(**batch)
    assert found.logits.dtype == torch.float32
    assert found.logits.sub(expected).abs().max() < 0.1 * expected.abs().max()
    loss = model.train()(**batch, labels=labels_of(batch)).loss
    loss.backward()
    assert loss.dtype == torch.float32
    assert torch.isfinite(loss)


def test_hidden_states_do_not_grow_when_asked_for_again(model, batch):
    with torch.no_grad():
        first = model(**batch, output_hidden_states=True)
        second = model(**batch, output_hidden_states=True)
    assert len(first.hidden_states) == len(second.hidden_states) == 3
    assert torch.equal(first.logits, second.logits)


@pytest.mark.parametrize(("crop", "patch"), [(56, 14), (112, 14), (112, 8), (84, 14), (64, 16)])
def test_every_size_comes_from_the_config(crop, patch, wide, processor):
    side = crop // (2 * patch)
    model = make_model(
        vision_config={
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": crop,
            "patch_size": patch,
        }
    )
    image_processor = type(processor.image_processor)(
        num_crops=2, crop_size=crop, num_img_tokens=side**2
    )
    sized = type(processor)(image_processor, processor.tokenizer)
    with torch.no_grad():
        outputs = model(**sized("<|image_1|>\nWhat?", wide, return_tensors="pt"))
    assert torch.isfinite(outputs.logits).all()
    assert model.config.tokens_per_side == side


def test_saving_and_loading_gives_the_same_model(model, batch, tmp_path):
    register()
    model.save_pretrained(tmp_path)
    again = AutoModelForImageTextToText.from_pretrained(tmp_path).eval()
    assert again.state_dict().keys() == model.state_dict().keys()
    with torch.no_grad():
        torch.testing.assert_close(again(**batch).logits, model(**batch).logits, **CLOSE)


@OLD_NAMES  # peft asks by the old name
def test_adapters_find_the_published_names(model, batch):
    peft = pytest.importorskip("peft")
    targets = ["qkv_proj", "o_proj", "gate_up_proj", "down_proj", "img_projection.0"]
    adapted = peft.get_peft_model(
        model, peft.LoraConfig(r=2, target_modules=targets, init_lora_weights=False)
    )
    names = [name for name, module in adapted.named_modules() if hasattr(module, "lora_A")]
    names = [name for name in names if not name.endswith(("lora_A", "lora_B"))]
    assert len(names) == 4 * model.config.num_hidden_layers + 1
    assert "base_model.model.model.vision_embed_tokens.img_projection.0" in names
    adapted.train()(**batch, labels=labels_of(batch)).loss.backward()
    trained = [p for name, p in adapted.named_parameters() if "lora_" in name]
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in trained)


def test_a_long_loss_is_chunked(model, batch, monkeypatch):
    monkeypatch.setattr(modeling_phi3_v, "LOGITS_PER_CHUNK", 2 * model.config.vocab_size)
    seen = []
    model.lm_head.register_forward_pre_hook(lambda _, states: seen.append(len(states[0])))
    with torch.no_grad():
        model.train()(**batch, labels=labels_of(batch))
    assert max(seen) == 2
    assert sum(seen) == 4 * len(batch["input_ids"])
