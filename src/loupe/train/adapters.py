"""What of a model is trained: each part frozen, adapted by low-rank matrices, or in full.

Adapters: LoRA (arXiv:2106.09685), DoRA (arXiv:2402.09353), rsLoRA (arXiv:2312.03732), and QLoRA
(arXiv:2305.14314), all through peft. A name or a part that meets no layer is an error, because a
run that quietly trains nothing is the commonest way to lose a night.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from loupe.errors import TrainError
from loupe.options import TrainOptions
from loupe.vlm import PARTS, part_of, without_peft_warning

__all__ = ["Targets", "add_full_parameters", "choose_trained", "find_targets", "four_bit_settings"]

Targets = dict[str, dict[str, list[str]]]
"""The layers that get an adapter: for each part, by the name that met them, their full names."""
ADAPTER_FILE = "adapter_model.safetensors"


def choose_trained(model: Any, options: TrainOptions, base: str) -> tuple[Any, Targets]:
    """Freeze, adapt or free the parts of a model in place, as the options say.

    What is trained is in float32: bfloat16 rounds small steps away.

    Args:
        model: a transformers model.
        options: `method` and what belongs to it.
        base: the name under which an adapter remembers its base.

    Returns:
        The model to train, and the layers that were adapted.

    Raises:
        TrainError: a part or a target meets nothing in this model.
    """
    modes = options.part_modes()
    has = {part_of(name) for name, _ in model.named_parameters()}
    if absent := [part for part in {**options.parts, **options.learning_rates} if part not in has]:
        raise TrainError(
            f"parts or learning_rates name {', '.join(absent)}, of which this model has no weights "
            f"of its own. It has: {', '.join(part for part in PARTS if part in has)}."
        )
    adapted = [part for part, mode in modes.items() if mode == "adapted"]
    targets = find_targets(model, adapted, options.lora_targets) if adapted else {}
    model.requires_grad_(False)
    wrapped = _add_adapters(model, options, targets, base) if adapted else model
    for name, value in wrapped.named_parameters():
        if modes[part_of(name)] == "full":
            value.data = value.data.float()
            value.requires_grad_(True)
    return wrapped, targets


def find_targets(model: Any, parts: Sequence[str], names: Sequence[str]) -> Targets:
    """Find the linear layers of some parts whose full name ends with one of the names, or all.

    Raises:
        TrainError: a name, or a part, meets none; the message tells where the name stands or what
            the part has.
    """
    linear = [full for full, module in model.named_modules() if isinstance(module, nn.Linear)]
    targets: Targets = {part: {} for part in parts}
    for full in linear:
        met = targets.get(part_of(full))
        for name in names or [_short_name(full)]:
            if met is not None and _ends_with(full, name):
                met.setdefault(name, []).append(full)
    for name in names:
        if not any(name in met for met in targets.values()):
            raise TrainError(f"lora_targets names {name!r}, {_say_where(model, name, parts)}")
    for part, met in targets.items():
        if not met:
            there = Counter(_short_name(full) for full in linear if part_of(full) == part)
            told = ", ".join(f"{name} ({count})" for name, count in there.items())
            raise TrainError(
                f"Part {part} is to be adapted, but no linear layer in it is "
                f"{f'one of lora_targets {list(names)}' if told else 'there'}. "
                f"{f'It has: {told}' if told else 'Choose frozen or full for it'}."
            )
    return targets


def four_bit_settings(compute_type: str) -> dict[str, Any]:
    """Give what transformers' BitsAndBytesConfig takes for QLoRA: the decoder in NF4.

    Tower, projection, embeddings and head stay in `compute_type` ("bfloat16", "float16" or
    "float32"): of 4.2 billion numbers they are few, and what is seen passes through them.
    """
    return {
        "load_in_4bit": True,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": True,
        "bnb_4bit_compute_dtype": compute_type,
        "llm_int8_skip_modules": [f".*(?:{pattern}).*" for pattern in PARTS.values() if pattern],
    }


def add_full_parameters(model: Any, folder: Path, values: Mapping[str, Any] | None = None) -> None:
    """Put what an adapter run trains in full into the adapter's file, under its own names.

    peft saves adapters and whole modules alone, and the separators of Phi-3-Vision are neither;
    it puts such values in place when it loads the file. `values` stand in for the model's own,
    where each of several processes holds only its share.
    """
    from safetensors.torch import load_file, save_file

    whole = {
        name: (value if values is None else values[name]).detach().cpu().contiguous()
        for name, value in model.named_parameters()
        if value.requires_grad and ".lora_" not in name
    }
    if whole:
        path = folder / ADAPTER_FILE
        save_file({**load_file(path), **whole}, path, metadata={"format": "pt"})


def _add_adapters(
    model: Any, options: TrainOptions, targets: Mapping[str, Mapping[str, list[str]]], base: str
) -> Any:
    from peft import LoraConfig, get_peft_model

    settings = LoraConfig(
        r=options.lora_rank,
        lora_alpha=options.lora_alpha,
        lora_dropout=options.lora_dropout,
        use_dora=options.use_dora,
        use_rslora=options.use_rslora,
        # Full names: peft takes any module whose name ends with one of these, "proj" also o_proj.
        target_modules=[full for met in targets.values() for each in met.values() for full in each],
    )
    with without_peft_warning():
        wrapped = get_peft_model(model, settings)
    wrapped.peft_config["default"].base_model_name_or_path = base
    return wrapped


def _say_where(model: Any, name: str, parts: Sequence[str]) -> str:
    """Say why a name meets no linear layer of the adapted parts."""
    met = {full: module for full, module in model.named_modules() if _ends_with(full, name)}
    if not met:
        words = (_short_name(full) for full, _ in model.named_modules())
        there = sorted({word for word in words if word and not word.rpartition(".")[2].isdigit()})
        return f"but no module's name ends so. There are: {', '.join(there)}."
    others = {part_of(full) for full, each in met.items() if isinstance(each, nn.Linear)}
    if others:
        where = ", ".join(sorted(others))
        return f"which stands in {where}, and adapted are {', '.join(parts)}. Adapt it by parts."
    kind = type(next(iter(met.values()))).__name__
    return f"which is a {kind}; adapters go on linear layers. Name some, such as qkv_proj."


def _ends_with(full: str, name: str) -> bool:
    return full == name or full.endswith("." + name)


def _short_name(full: str) -> str:
    """Give the last word of a module's name, with the word before where it is a number."""
    words = full.split(".")
    return ".".join(words[-2:] if words[-1].isdigit() else words[-1:])
