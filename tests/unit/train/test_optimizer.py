import pytest
import torch
from torch import nn
from transformers import Trainer, TrainingArguments

from loupe.errors import TrainError
from loupe.train.optimizer import (
    MuonWithAdamW,
    build_optimizer,
    default_learning_rate,
    find_optimizer,
    orthogonalise,
)


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed_tokens = nn.Embedding(8, 6)
        self.inner = nn.Linear(6, 24)
        self.lm_head = nn.Linear(24, 8, bias=False)

    def get_input_embeddings(self):
        return self.embed_tokens

    def get_output_embeddings(self):
        return self.lm_head

    def forward(self, ids):
        return self.lm_head(torch.relu(self.inner(self.embed_tokens(ids))))


def small_model():
    torch.manual_seed(0)
    return Small()


def loss_of(model):
    ids = torch.arange(8)
    return nn.functional.cross_entropy(model(ids), ids.flip(0))


def train(model, optimizer, steps):
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step()
    return loss_of(model).item()


@pytest.mark.parametrize("shape", [(6, 6), (6, 24), (24, 6), (6, 8)], ids=str)
def test_orthogonalised_matrices_have_singular_values_near_one(shape):
    torch.manual_seed(1)
    values = torch.linalg.svdvals(orthogonalise(torch.randn(3, *shape)))
    assert values.min() > 0.5  # the quintic's range on a well-conditioned matrix
    assert values.max() < 1.3


def test_orthogonalising_agrees_with_torchs_muon():
    torch.manual_seed(2)
    gradient = torch.randn(16, 48)
    value = nn.Parameter(torch.zeros(16, 48))
    value.grad = gradient
    theirs = torch.optim.Muon([value], lr=1.0, momentum=0.0, nesterov=False, weight_decay=0.0)
    theirs.step()
    # theirs works in bfloat16, which has 8 bits
    assert torch.allclose(-value, orthogonalise(gradient[None])[0], atol=0.05)


def test_muon_takes_the_inner_matrices_and_adamw_the_rest():
    model = small_model()
    optimizer = build_optimizer(model, "muon", 1e-3, 0.1)
    told = {
        (group["is_muon"], group["weight_decay"]): {tuple(value.shape) for value in group["params"]}
        for group in optimizer.param_groups
    }
    assert told == {
        (True, 0.1): {(24, 6)},
        (False, 0.1): {(8, 6), (8, 24)},
        (False, 0.0): {(24,)},
    }


@pytest.mark.parametrize("name", ["muon", "adamw_torch", "adafactor"])
def test_parts_may_have_rates_of_their_own(name):
    model = small_model()
    optimizer = build_optimizer(model, name, 1e-3, 0.1, {"embeddings": 4e-3, "head": 5e-3})
    rates = {
        id(value): group["lr"] for group in optimizer.param_groups for value in group["params"]
    }
    assert rates.pop(id(model.embed_tokens.weight)) == 4e-3
    assert rates.pop(id(model.lm_head.weight)) == 5e-3
    assert set(rates.values()) == {1e-3}
    assert optimizer.param_groups[0]["lr"] == 1e-3  # what trackers are told


def test_separators_are_vectors_whatever_their_axes():
    model = small_model()
    model.sub_GN = nn.Parameter(torch.zeros(1, 1, 1, 24))
    optimizer = build_optimizer(model, "adamw", 1e-3, 0.1)
    (group,) = [group for group in optimizer.param_groups if group["weight_decay"] == 0]
    assert {id(value) for value in group["params"]} == {id(model.sub_GN), id(model.inner.bias)}


TRAINERS = ["adamw_torch", "adamw_torch_fused", "adafactor", "sgd", "adagrad", "rmsprop"]


@pytest.mark.parametrize("name", TRAINERS)
def test_optimizers_of_the_trainer_are_made_as_it_makes_them(name):
    arguments = TrainingArguments(
        output_dir="unused", optim=name, learning_rate=0.01, weight_decay=0.1, use_cpu=True
    )
    kind, settings = Trainer.get_optimizer_cls_and_kwargs(arguments)
    ours, theirs = small_model(), small_model()
    plain = [value for value in theirs.parameters() if value.ndim > 1]
    bias = [value for value in theirs.parameters() if value.ndim == 1]
    decays = [{"params": plain, "weight_decay": 0.1}, {"params": bias, "weight_decay": 0.0}]
    before = loss_of(ours).item()

    after = train(ours, build_optimizer(ours, name, 0.01, 0.1), 5)

    assert after == train(theirs, kind(decays, **settings), 5)
    assert after < before


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("adam", "optimizer 'adam' is not known. Choose adamw, muon, .*adamw_torch, .*adafactor"),
        ("galore_adamw", "takes over the model or the schedule"),
        ("schedule_free_adamw", "takes over the model or the schedule"),
        ("adamw_torch_xla", r"cannot run here \(.*torch_xla.*\)\. Install what it needs"),
        ("grokadamw", r"cannot run here \(.*grokadamw"),
    ],
)
def test_optimizers_that_cannot_run_are_refused(name, words):
    with pytest.raises(TrainError, match=words):
        find_optimizer(name, 1e-3, "cpu")


def test_frozen_parameters_are_left_out():
    model = small_model()
    model.embed_tokens.requires_grad_(requires_grad=False)
    optimizer = build_optimizer(model, "adamw", 1e-3, 0.0)
    held = {id(value) for group in optimizer.param_groups for value in group["params"]}
    assert id(model.embed_tokens.weight) not in held
    assert len(held) == 3


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_optimizer_learns(name):
    model = small_model()
    before = loss_of(model).item()
    assert train(model, build_optimizer(model, name, 0.01, 0.0), 40) < before / 4


def test_adamw_agrees_with_torchs():
    ours, theirs = small_model(), small_model()
    train(ours, build_optimizer(ours, "adamw", 0.01, 0.1), 5)
    reference = torch.optim.AdamW(
        [
            {"params": [v for v in theirs.parameters() if v.ndim > 1], "weight_decay": 0.1},
            {"params": [v for v in theirs.parameters() if v.ndim == 1], "weight_decay": 0.0},
        ],
        lr=0.01,
        betas=(0.9, 0.95),
    )
    train(theirs, reference, 5)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(mine, other, atol=1e-6)  # other order of the same float32 sums


@pytest.mark.parametrize("name", ["adamw", "muon", "adamw_torch_fused", "adafactor"])
def test_a_saved_state_goes_on_to_the_same_weights(name, tmp_path):
    whole = small_model()
    train(whole, build_optimizer(whole, name, 0.01, 0.1), 6)

    halves = small_model()
    first = build_optimizer(halves, name, 0.01, 0.1)
    train(halves, first, 3)
    torch.save(first.state_dict(), tmp_path / "optimizer.pt")
    second = build_optimizer(halves, name, 0.01, 0.1)
    second.load_state_dict(torch.load(tmp_path / "optimizer.pt", weights_only=True))
    train(halves, second, 3)

    for one, other in zip(whole.parameters(), halves.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_parameter_without_gradient_stays():
    model = small_model()
    optimizer = build_optimizer(model, "muon", 0.1, 0.1)
    before = model.lm_head.weight.clone()
    optimizer.step()
    assert torch.equal(before, model.lm_head.weight)
    assert isinstance(optimizer, MuonWithAdamW)


@pytest.mark.parametrize(
    ("method", "optimizer", "rate"),
    [
        ("full", "adamw", 1e-5),
        ("lora", "adamw", 2e-4),
        ("qlora", "adamw_torch", 2e-4),
        ("full", "muon", 3e-3),
        ("lora", "muon", 3e-3),
    ],
)
def test_default_learning_rates(method, optimizer, rate):
    assert default_learning_rate(method, optimizer) == rate
