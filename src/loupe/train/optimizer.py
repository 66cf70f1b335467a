"""AdamW, Muon for the matrices inside the layers beside AdamW, or an optimizer of the Trainer.

Muon: https://kellerjordan.github.io/posts/muon/. torch.optim.Muon orthogonalises in bfloat16, one
matrix at a time, which a CPU without bfloat16 units emulates; this one works in float32 there, on
all matrices of one shape at once (benchmarks/optimizer.py measures both).
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim.adamw import adamw
from transformers import Trainer, TrainingArguments
from transformers.training_args import OptimizerNames

from loupe.errors import TrainError
from loupe.vlm import part_of

__all__ = [
    "OURS",
    "MuonWithAdamW",
    "build_optimizer",
    "count_state_bytes",
    "default_learning_rate",
    "find_optimizer",
    "orthogonalise",
]

# Coefficients of the quintic Newton-Schulz step, from the post named above: steepest at zero.
LINEAR, CUBIC, QUINTIC = 3.4445, -4.7750, 2.0315
ORTHOGONALISATION_STEPS = 5
SMALLEST_NORM = 1e-7
ADAMW_BETAS = (0.9, 0.95)
ADAMW_EPSILON = 1e-8
MUON_MOMENTUM = 0.95
OURS = ("adamw", "muon")
OTHERWISE_BUILT = re.compile("galore|apollo|lomo|schedule_free")
"""Optimizers of the Trainer that take over the model or the schedule, not groups of parameters."""
TRIAL_SHAPE = (64, 128)  # bitsandbytes keeps 8-bit moments of larger matrices only
ADAMW_RMS = 0.2  # root mean square of an AdamW step, which Muon's is scaled to (arXiv:2502.16982)


def default_learning_rate(method: str, optimizer: str) -> float:
    """Give the peak learning rate where the options name none."""
    if optimizer == "muon":
        return 3e-3
    return 1e-5 if method == "full" else 2e-4


def find_optimizer(name: str, learning_rate: float, device: str) -> Callable[..., Any]:
    """Give what makes the optimizer of a name out of groups of parameters.

    Those of the Trainer are built with its own settings and try a step on the device.

    Raises:
        TrainError: there is no such optimizer, or it cannot run here.
    """
    if name in OURS:
        return partial(MuonWithAdamW, lr=learning_rate)
    try:
        arguments = TrainingArguments(
            output_dir="unused", optim=name, learning_rate=learning_rate, use_cpu=device == "cpu"
        )
    except ValueError as error:
        known = [each.value for each in OptimizerNames if not OTHERWISE_BUILT.search(each.value)]
        raise TrainError(
            f"optimizer {name!r} is not known. Choose {', '.join(OURS)}, or one of transformers' "
            f"Trainer: {', '.join(known)}."
        ) from error
    if OTHERWISE_BUILT.search(name):
        raise TrainError(
            f"optimizer {name!r} takes over the model or the schedule, and parts could have no "
            "learning rates of their own. Choose adamw, muon, adafactor or adamw_bnb_8bit."
        )
    try:
        kind, settings = Trainer.get_optimizer_cls_and_kwargs(arguments)
        trial = nn.Parameter(torch.zeros(*TRIAL_SHAPE, device=device))
        trial.grad = torch.ones_like(trial)
        kind([trial], **settings).step()
    except (ImportError, ValueError, RuntimeError, AttributeError, TypeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise TrainError(
            f"optimizer {name!r} cannot run here ({reason}). Install what it needs, or choose "
            "adamw or muon."
        ) from error
    return partial(kind, **settings)


def count_state_bytes(name: str, device: str) -> float:
    """Give the bytes that an optimizer keeps for each number it moves, by a step of its own.

    Raises:
        TrainError: there is no such optimizer, or it cannot run here.
    """
    trial = nn.Parameter(torch.zeros(*TRIAL_SHAPE, device=device))
    trial.grad = torch.ones_like(trial)
    group = {"params": [trial], **({"is_muon": name == "muon"} if name in OURS else {})}
    optimizer = find_optimizer(name, 1.0, device)([group])
    optimizer.step()
    kept = (each for state in optimizer.state.values() for each in state.values())
    tensors = [each for each in kept if isinstance(each, Tensor) and each.ndim]
    return sum(each.nbytes for each in tensors) / trial.numel()


def build_optimizer(
    model: Any,
    name: str,
    learning_rate: float,
    weight_decay: float,
    part_rates: Mapping[str, float] | None = None,
    make: Callable[..., Any] | None = None,
) -> torch.optim.Optimizer:
    """Make the optimizer of everything in the model that is to be trained.

    `part_rates` are the peaks of parts that differ from `learning_rate`. Vectors have no decay.
    `make` is what `find_optimizer` gave; None finds it, which resets accelerate's state.

    Raises:
        TrainError: there is no such optimizer, or it cannot run here.
    """
    outer = _outer_matrices(model)
    by_kind: dict[tuple[float, str], list[nn.Parameter]] = defaultdict(list)
    for full, value in model.named_parameters():
        if not value.requires_grad:
            continue
        kind = "matrices"
        if sum(size > 1 for size in value.shape) <= 1:
            kind = "vectors"
        elif name == "muon" and value.ndim == 2 and id(value) not in outer:
            kind = "muon"
        by_kind[(part_rates or {}).get(part_of(full), learning_rate), kind].append(value)
    # The Trainer tells the rate of the first group.
    ordered = sorted(by_kind.items(), key=lambda group: (group[0][0] != learning_rate, group[0]))
    groups = [
        {
            "params": values,
            "lr": rate,
            "weight_decay": 0.0 if kind == "vectors" else weight_decay,
            **({"is_muon": kind == "muon"} if name in OURS else {}),
        }
        for (rate, kind), values in ordered
    ]
    device = next(model.parameters()).device.type
    make = make or find_optimizer(name, learning_rate, device)
    optimizer: torch.optim.Optimizer = make(groups)
    return optimizer


def _outer_matrices(model: Any) -> set[int]:
    """Identities of the weights of the embeddings and the head, which stand outside the layers."""
    outer = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    head = model.get_output_embeddings()
    if head is not None:
        outer |= {id(value) for value in head.parameters()}
    return outer


class MuonWithAdamW(torch.optim.Optimizer):
    """Muon for the groups that say `is_muon`, AdamW for the others.

    Args:
        groups: each with `params`; `is_muon`, `weight_decay` (decoupled) and `lr` of its own where
            they differ from False, 0 and `lr`.
        lr: peak learning rate; Muon's steps are scaled to the size of AdamW's.
    """

    def __init__(self, groups: list[dict[str, Any]], lr: float) -> None:
        super().__init__(groups, {"lr": lr, "is_muon": False, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            moving = [value for value in group["params"] if value.grad is not None]
            if group["is_muon"]:
                self._move_by_muon(moving, group)
            elif moving:
                self._move_by_adamw(moving, group)
        return loss

    def _move_by_muon(self, moving: list[nn.Parameter], group: Mapping[str, Any]) -> None:
        for same_shape in _by_shape(moving):
            momenta = [self._momentum(value) for value in same_shape]
            gradients = [value.grad for value in same_shape if value.grad is not None]
            torch._foreach_lerp_(momenta, gradients, 1 - MUON_MOMENTUM)
            ahead = torch._foreach_lerp(gradients, momenta, MUON_MOMENTUM)
            whole = [_whole(each) for each in ahead]
            updates = orthogonalise(torch.stack(whole))  # (matrices, rows, columns)
            scale = ADAMW_RMS * math.sqrt(max(updates.shape[1:]))
            torch._foreach_mul_([*same_shape], 1 - group["lr"] * group["weight_decay"])
            for value, update in zip(same_shape, updates, strict=True):
                value.add_(_share_for(value, update), alpha=-group["lr"] * scale)

    def _momentum(self, value: nn.Parameter) -> Tensor:
        state = self.state[value]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(value)
        momentum: Tensor = state["momentum"]
        return momentum

    def _move_by_adamw(self, moving: list[nn.Parameter], group: Mapping[str, Any]) -> None:
        states = [self._adamw_state(value) for value in moving]
        adamw(
            [*moving],
            [value.grad for value in moving if value.grad is not None],
            [state["mean"] for state in states],
            [state["square"] for state in states],
            [],
            [state["step"] for state in states],
            foreach=True,
            amsgrad=False,
            beta1=ADAMW_BETAS[0],
            beta2=ADAMW_BETAS[1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=ADAMW_EPSILON,
            maximize=False,
        )

    def _adamw_state(self, value: nn.Parameter) -> dict[str, Tensor]:
        state: dict[str, Tensor] = self.state[value]
        if "step" not in state:
            state["step"] = torch.zeros(())
            state["mean"] = torch.zeros_like(value)
            state["square"] = torch.zeros_like(value)
        return state


def _whole(matrix: Tensor) -> Tensor:
    """Bring a matrix together of which each process holds some rows."""
    return matrix.full_tensor() if isinstance(matrix, DTensor) else matrix


def _share_for(value: Tensor, update: Tensor) -> Tensor:
    """Give the share of an update that moves what this process holds of a value."""
    if not isinstance(value, DTensor):
        return update
    return distribute_tensor(update, value.device_mesh, value.placements, src_data_rank=None)


def _by_shape(values: Iterable[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    shapes: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
    for value in values:
        shapes[value.shape].append(value)
    yield from shapes.values()


def orthogonalise(matrices: Tensor) -> Tensor:
    """Push all singular values towards 1 (to about 0.7-1.2), the singular vectors kept.

    matrices: (matrices, rows, columns). bfloat16 on a GPU, float32 on a CPU.
    Source: the quintic Newton-Schulz iteration of the post named at the top.
    """
    wide = matrices if matrices.shape[1] <= matrices.shape[2] else matrices.mT
    wide = wide.to(torch.bfloat16 if wide.is_cuda else torch.float32)
    wide = wide / wide.norm(dim=(1, 2), keepdim=True).clamp(min=SMALLEST_NORM)
    is_much_wider = wide.shape[2] >= 2 * wide.shape[1]
    result = _iterate_on_gram(wide) if is_much_wider else _iterate(wide)
    result = result if matrices.shape[1] <= matrices.shape[2] else result.mT
    return result.to(matrices.dtype)


def _iterate(wide: Tensor) -> Tensor:
    for _ in range(ORTHOGONALISATION_STEPS):
        gram = wide @ wide.mT
        step = torch.baddbmm(gram, gram, gram, beta=CUBIC, alpha=QUINTIC)
        wide = torch.baddbmm(wide, step, wide, beta=LINEAR)
    return wide


def _iterate_on_gram(wide: Tensor) -> Tensor:
    """Do the same on the small side alone: every step is a polynomial of the first Gram matrix."""
    gram = wide @ wide.mT
    product: Tensor | None = None
    for _ in range(ORTHOGONALISATION_STEPS):
        step = torch.baddbmm(gram, gram, gram, beta=CUBIC, alpha=QUINTIC)
        step.diagonal(dim1=1, dim2=2).add_(LINEAR)
        product = step if product is None else step @ product
        gram = step @ gram @ step
    assert product is not None
    return product @ wide
