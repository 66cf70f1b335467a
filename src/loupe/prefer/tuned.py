"""What of the model is tuned: as in a training run, or the adapter that it has already."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from loupe.errors import PreferError
from loupe.options import TrainOptions
from loupe.train.adapters import ADAPTER_FILE, choose_trained

__all__ = ["choose_tuned"]


def choose_tuned(model: Any, options: TrainOptions, base: str) -> Any:
    """Give the model to tune, what is tuned of it in float32.

    An adapter is trained on by method lora: what its file holds, be it low-rank matrices or whole
    parts. By method full it is merged into its base first.

    Args:
        model: as it was loaded.
        options: `model`, `method` and what belongs to it.
        base: the name under which a new adapter remembers its base.

    Raises:
        PreferError: an adapter is to be trained on, and options say otherwise what is trained.
        TrainError: a part or a target meets nothing in this model.
    """
    if not hasattr(model, "peft_config"):
        return choose_trained(model, options, base)[0]
    if options.method == "full":
        return choose_trained(model.merge_and_unload(), options, base)[0]
    if options.parts or options.lora_targets:
        raise PreferError(
            f"Model {options.model!r} is an adapter, and method lora trains on what it holds; "
            "drop parts and lora_targets, or merge it by --method full."
        )
    held = _names_in(Path(options.model).expanduser() / ADAPTER_FILE)
    for name, value in model.named_parameters():
        value.requires_grad_(name.replace(".default.", ".").replace(".default", "") in held)
        if value.requires_grad:
            value.data = value.data.float()
    return model


def _names_in(path: Path) -> set[str]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return set(file.keys())
