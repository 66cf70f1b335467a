import pytest
import torch

from loupe import vlm
from loupe.options import TrainOptions
from loupe.train.adapters import choose_trained
from loupe.train.load import Load
from loupe.train.memory import WORKSPACE, Memory, estimate_memory
from loupe.train.optimizer import build_optimizer

LOAD = Load(samples=4, tokens=40, answer_tokens=10, crops=5)
METHODS = [
    pytest.param({}, id="full"),
    pytest.param({"optimizer": "muon"}, id="muon"),
    pytest.param({"method": "lora"}, id="lora"),
    pytest.param({"parts": {"tower": "frozen"}}, id="frozen tower"),
    pytest.param({"parts": {"tower": "adapted"}, "method": "lora"}, id="adapted tower"),
]
OPTIMIZERS = [
    pytest.param({"optimizer": name}, id=name) for name in ("adamw_torch", "sgd", "adagrad")
]


def options_of(folder, **settings):
    return TrainOptions(dataset="data", output="out", model=str(folder), **settings)


def build(options, *, has_weights=False):
    if has_weights:
        model, _ = vlm.load_model_and_processor(options.model, dtype="float32")
        return choose_trained(model, options, options.model)[0]
    with torch.device("meta"):
        model = vlm.build_without_weights(options.model, "float32")
        return choose_trained(model, options, options.model)[0]


@pytest.mark.parametrize("settings", METHODS)
def test_weights_and_gradients_are_those_of_the_loaded_model(tiny_checkpoint, settings):
    options = options_of(tiny_checkpoint, **settings)
    loaded = build(options, has_weights=True)
    memory = estimate_memory(build(options), LOAD, options)
    assert memory.weights == sum(value.nbytes for value in loaded.parameters())
    trained = [value for value in loaded.parameters() if value.requires_grad]
    assert memory.gradients == sum(value.nbytes for value in trained)


def test_four_bits_are_counted_for_the_decoders_linear_layers_alone(tiny_checkpoint):
    plain = options_of(tiny_checkpoint, method="lora")
    packed = options_of(tiny_checkpoint, method="qlora")
    model = build(plain)
    inner = model.get_base_model().model
    linear = [
        module.base_layer.weight
        for layer in inner.layers
        for module in (*layer.self_attn.children(), *layer.mlp.children())
        if hasattr(module, "base_layer")
    ]
    saved = sum(value.nbytes - int(value.numel() * (0.5 + 1 / 64)) for value in linear)
    before = estimate_memory(model, LOAD, plain).weights
    assert len(linear) == 4 * len(inner.layers)
    assert estimate_memory(model, LOAD, packed).weights == before - saved


@pytest.mark.parametrize("settings", METHODS + OPTIMIZERS)
def test_moments_are_those_that_the_optimizer_keeps(tiny_checkpoint, settings):
    options = options_of(tiny_checkpoint, **settings)
    model = build(options, has_weights=True)
    optimizer = build_optimizer(model, options.optimizer, 1e-3, 0.0)
    for value in model.parameters():
        value.grad = torch.zeros_like(value) if value.requires_grad else None
    optimizer.step()
    kept = sum(
        tensor.nbytes
        for state in optimizer.state.values()
        for tensor in state.values()
        if tensor.ndim
    )
    assert estimate_memory(model, LOAD, options).optimizer == kept


def test_more_samples_and_tokens_keep_more_and_recomputation_less(tiny_checkpoint):
    options = options_of(tiny_checkpoint)
    model = build(options)

    def kept(load, **settings):
        changed = options_of(tiny_checkpoint, **settings)
        return estimate_memory(model, load, changed).activations

    assert kept(Load(8, 40, 10, 5)) == pytest.approx(2 * kept(LOAD), rel=0.02)
    assert kept(Load(4, 80, 10, 5)) > kept(LOAD) > kept(Load(4, 40, 10, 2))
    assert kept(LOAD, gradient_checkpointing=True) < kept(LOAD)


def test_adapters_keep_less_of_a_tower_that_is_not_trained(tiny_checkpoint):
    full, lora = options_of(tiny_checkpoint), options_of(tiny_checkpoint, method="lora")
    assert (
        estimate_memory(build(lora), LOAD, lora).activations
        < estimate_memory(build(full), LOAD, full).activations
    )


def test_the_peak_is_the_largest_sum_of_what_is_there_at_a_time():
    parts = {"weights": 10, "gradients": 5, "optimizer": 20, "activations": 90, "logits": 1}
    assert Memory(**parts, scratch=3, backward=93).peak == 10 + 20 + 93 + WORKSPACE
    assert Memory(**parts, scratch=300, backward=93).peak == 10 + 20 + 305 + WORKSPACE
    standing = Memory(**parts, scratch=3, backward=93, pictures=1000, process=5000)
    assert standing.peak == 6000 + 10 + 20 + 93 + WORKSPACE


def test_gradients_come_while_the_pictures_are_still_kept(tiny_checkpoint):
    options = options_of(tiny_checkpoint)
    memory = estimate_memory(build(options), LOAD, options)
    adding_up = options_of(tiny_checkpoint, gradient_accumulation=2)
    most = memory.activations + memory.logits + memory.gradients
    assert memory.activations + memory.logits <= memory.backward < most
    assert estimate_memory(build(options), LOAD, adding_up).backward == most


def test_another_family_is_estimated_by_rule(llava_checkpoint):
    options = options_of(llava_checkpoint, method="lora", lora_targets=["q_proj"])
    memory = estimate_memory(build(options), LOAD, options)
    assert memory.activations > 0
    assert memory.logits > 0
