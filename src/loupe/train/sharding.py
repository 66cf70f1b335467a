"""A model divided among processes by FSDP2: each holds its share of weights, gradients, optimizer.

torch's `fully_shard` does it (https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html).
accelerate's plugin would do the same on GPUs, and quietly nothing on CPUs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.fsdp import fully_shard

from loupe.train import processes
from loupe.vlm import underlying_model

__all__ = [
    "divide_model",
    "gather_weights",
    "load_optimizer",
    "save_optimizer",
    "without_reduction",
]


def divide_model(model: Any) -> None:
    """Divide a model in place; the layers of its decoder and tower are gathered one at a time.

    What runs is the model beneath peft's wrapper, which `generate` calls as well.
    """
    inner = underlying_model(model)
    stacks = [each for each in inner.modules() if isinstance(each, nn.ModuleList)]
    for layer in [layer for stack in stacks for layer in stack]:
        fully_shard(layer)
    fully_shard(inner)
    inner._is_fsdp_managed_module = True  # so that generate goes on until all processes are done


def gather_weights(model: Any) -> dict[str, Any]:
    """Give the main process all weights, on its CPU; all processes ask together."""
    return dict(get_model_state_dict(model, options=_whole()))


def save_optimizer(model: Any, optimizer: torch.optim.Optimizer, path: Path) -> None:
    """Let the main process write what all of them hold of an optimizer."""
    state = get_optimizer_state_dict(model, optimizer, options=_whole())
    if processes.is_main():
        torch.save(state, path)


def load_optimizer(model: Any, optimizer: torch.optim.Optimizer, path: Path) -> None:
    """Give each process its share of an optimizer that was saved whole.

    What never got a gradient, such as a tower's last layer, has no state to be loaded.
    """
    state = torch.load(path, map_location="cpu", weights_only=True)
    options = StateDictOptions(full_state_dict=True, strict=False)
    set_optimizer_state_dict(model, optimizer, state, options=options)


@contextmanager
def without_reduction(model: Any) -> Iterator[None]:
    """Let gradients add up in each process for a while, before they are brought together."""
    inner = underlying_model(model)
    inner.set_requires_gradient_sync(False)
    try:
        yield
    finally:
        inner.set_requires_gradient_sync(True)


def _whole() -> StateDictOptions:
    return StateDictOptions(full_state_dict=True, cpu_offload=True)
