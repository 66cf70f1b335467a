"""Embeddings, hidden states, logits, loss, gradients and greedy tokens against Microsoft's."""

import pytest
import torch
from goldens import GOLDEN, Case

NAMES = sorted(folder.name for folder in (GOLDEN / "models").iterdir())
DIFFERENT_ON_PURPOSE = {
    "a_sliding_window": "a window of W keys, where Microsoft's shows W + 1",
    "e_end_to_end": "in test_end_to_end.py",
}
CASES = [name for name in NAMES if name not in DIFFERENT_ON_PURPOSE]

# Another version of transformers orders float32 sums differently; padded batches also turn by
# smaller angles, because positions count real tokens alone.
TOLERANCE = {
    "inputs_embeds": 2e-5,
    "hidden_after_layer0": 1e-4,
    "last_hidden_state": 1e-4,
    "logits": 1e-4,
}
LOSS_TOLERANCE = 1e-5
GRADIENT_TOLERANCE = 1e-3  # relative to the largest value of the gradient


@pytest.fixture(params=CASES)
def case(request):
    return Case(request.param)


def ids_as_recorded(case, inputs, model):
    """Negative ids; but our token where the recorded features are in the wrong places."""
    if case.about["name"] == "c_out_of_order":
        ids = inputs["input_ids"]
        inputs["input_ids"] = ids.masked_fill(ids < 0, model.config.image_token_id)
    return inputs


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_every_depth_has_the_recorded_values(case, attention, tmp_path):
    model = case.load_model(tmp_path, attention)
    inputs = ids_as_recorded(case, case.inputs(), model)
    with torch.no_grad():
        outputs = model(
            **inputs, labels=case.tensors["labels"], output_hidden_states=True, use_cache=False
        )
    columns = case.about["logits_stride"][1]
    found = {
        "inputs_embeds": outputs.hidden_states[0],
        "hidden_after_layer0": outputs.hidden_states[1],
        "last_hidden_state": outputs.hidden_states[-1],
        "logits": outputs.logits[:, :, ::columns],
    }
    step = case.about["logits_stride"][0]
    mask = case.tensors["attention_mask"][:, ::step].bool()
    for name, values in found.items():
        torch.testing.assert_close(
            values[:, ::step][mask],
            case.tensors[name][mask],
            rtol=1e-5,
            atol=TOLERANCE[name],
            msg=lambda text, name=name: f"{name}: {text}",
        )
    assert outputs.loss.item() == pytest.approx(case.about["loss"], abs=LOSS_TOLERANCE)


def test_gradients_have_the_recorded_values(case, tmp_path):
    model = case.load_model(tmp_path).train()
    inputs = ids_as_recorded(case, case.inputs(), model)
    model(**inputs, labels=case.tensors["labels"], use_cache=False).loss.backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    norms = case.about["grad_norms"]
    floor = 1e-5 * sum(norm**2 for norm in norms.values()) ** 0.5
    for name, norm in norms.items():
        found = gradients[name].norm().item() if name in gradients else 0.0
        assert found == pytest.approx(norm, rel=GRADIENT_TOLERANCE, abs=floor), name
    for name in case.about["params_without_grad"]:
        assert name not in gradients or not gradients[name].any(), name
    for name in (key for key in case.tensors if key.startswith("grad.")):
        recorded = case.tensors[name]
        atol = GRADIENT_TOLERANCE * recorded.abs().max().item() + 1e-7
        torch.testing.assert_close(
            gradients[name.removeprefix("grad.")], recorded, rtol=0, atol=atol, msg=name
        )


def test_greedy_tokens_are_the_recorded_ones(case, tmp_path):
    if case.about["name"] == "b_cross_phi3":
        pytest.skip("Phi-3's code keeps keys of the short factors; the next test says what we do")
    model = case.load_model(tmp_path)
    prompt = ids_as_recorded(case, case.prompt(), model)
    found, logits = decode_greedily(model, prompt, case.tensors["gen_ids"].shape[1])
    assert torch.equal(found, case.tensors["gen_ids"])
    columns = case.about["logits_stride"][1]
    torch.testing.assert_close(
        logits[..., ::columns], case.tensors["gen_logits"], rtol=1e-5, atol=1e-4
    )


def test_tokens_after_the_rope_switch_are_those_of_phi_3_5(tmp_path):
    """Same weights, same prompt: Phi-3 mixes factors in its cache, Phi-3.5 computes it anew."""
    ours, newer = Case("b_cross_phi3"), Case("b_cross_phi35")
    assert torch.equal(ours.prompt()["input_ids"], newer.prompt()["input_ids"])
    found, _ = decode_greedily(ours.load_model(tmp_path), ours.prompt(), 24)
    assert torch.equal(found, newer.tensors["gen_ids"])
    assert not torch.equal(found, ours.tensors["gen_ids"])


def test_a_sliding_window_one_wider_is_microsofts(tmp_path):
    case = Case("a_sliding_window")
    model = case.load_model(tmp_path)
    model.config.sliding_window += 1
    with torch.no_grad():
        logits = model(**case.inputs(), use_cache=False).logits
    rows, columns = case.about["logits_stride"]
    torch.testing.assert_close(
        logits[:, ::rows, ::columns], case.tensors["logits"], rtol=1e-5, atol=1e-4
    )


def test_swapped_tags_show_each_picture_where_it_is_named(tmp_path):
    """Microsoft's model writes features in image order, whatever the tags say."""
    case = Case("c_out_of_order")
    model = case.load_model(tmp_path)
    inputs = case.inputs()
    swapped = dict(inputs)
    swapped["input_ids"] = inputs["input_ids"].masked_fill(
        inputs["input_ids"] < 0, model.config.image_token_id
    )
    for name in ("pixel_values", "image_sizes"):
        swapped[name] = inputs[name].flip(0)
    with torch.no_grad():
        torch.testing.assert_close(model(**inputs).logits, model(**swapped).logits)


def decode_greedily(model, prompt, count):
    found = model.generate(
        **prompt,
        max_new_tokens=count,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
        output_logits=True,
        return_dict_in_generate=True,
    )
    new = found.sequences[:, prompt["input_ids"].shape[1] :]
    return new, torch.stack(found.logits, dim=1)
