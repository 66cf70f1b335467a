import pytest
import torch
from torch import nn

from loupe.train.optimizer import (
    MuonWithAdamW,
    build_optimizer,
    default_learning_rate,
    orthogonalise,
)


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(8, 6)
        self.inner = nn.Linear(6, 24)
        self.head = nn.Linear(24, 8, bias=False)

    def get_input_embeddings(self):
        return self.embedding

    def get_output_embeddings(self):
        return self.head

    def forward(self, ids):
        return self.head(torch.relu(self.inner(self.embedding(ids))))


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
        (group["is_muon"], group["decay"]): {tuple(value.shape) for value in group["params"]}
        for group in optimizer.param_groups
    }
    assert told == {
        (True, 0.1): {(24, 6)},
        (False, 0.1): {(8, 6), (8, 24)},
        (False, 0.0): {(24,)},
    }


def test_embeddings_and_head_may_have_a_rate_of_their_own():
    model = small_model()
    optimizer = build_optimizer(model, "muon", 1e-3, 0.1, embedding_learning_rate=4e-3)
    rates = {
        id(value): group["lr"] for group in optimizer.param_groups for value in group["params"]
    }
    assert rates.pop(id(model.embedding.weight)) == 4e-3
    assert rates.pop(id(model.get_output_embeddings().weight)) == 4e-3
    assert set(rates.values()) == {1e-3}


def test_frozen_parameters_are_left_out():
    model = small_model()
    model.embedding.requires_grad_(requires_grad=False)
    optimizer = build_optimizer(model, "adamw", 1e-3, 0.0)
    held = {id(value) for group in optimizer.param_groups for value in group["params"]}
    assert id(model.embedding.weight) not in held
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


@pytest.mark.parametrize("name", ["adamw", "muon"])
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
    before = model.head.weight.clone()
    optimizer.step()
    assert torch.equal(before, model.head.weight)
    assert isinstance(optimizer, MuonWithAdamW)


@pytest.mark.parametrize(
    ("method", "optimizer", "rate"),
    [
        ("full", "adamw", 1e-5),
        ("lora", "adamw", 2e-4),
        ("full", "muon", 3e-3),
        ("lora", "muon", 3e-3),
    ],
)
def test_default_learning_rates(method, optimizer, rate):
    assert default_learning_rate(method, optimizer) == rate
