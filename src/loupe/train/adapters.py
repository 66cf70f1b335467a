"""What of a model is trained: all but what is frozen, or adapters beside some named modules.

A name means the modules whose full name ends with it; a name that means none is an error, because
a run that quietly trains nothing is the commonest way to lose a night.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from loupe.errors import MissingExtraError, TrainError
from loupe.options import TrainOptions
from loupe.vlm import without_peft_warning

__all__ = ["choose_trained", "find_modules"]


def choose_trained(
    model: Any, options: TrainOptions, base: str
) -> tuple[Any, dict[str, list[str]]]:
    """Freeze or adapt a model in place, as the options say.

    Args:
        model: a transformers model.
        options: `method` and what belongs to it.
        base: the name under which an adapter remembers its base.

    Returns:
        The model to train, and for each name in the options the modules that it met.

    Raises:
        TrainError: a name meets no module, or nothing is left to train.
        MissingExtraError: peft is not installed.
    """
    if options.method == "lora":
        return _add_lora(model, options, base)
    model.requires_grad_(True)
    met = {name: find_modules(model, name, "freeze") for name in options.freeze}
    for names in met.values():
        for name in names:
            model.get_submodule(name).requires_grad_(False)
    if not any(value.requires_grad for value in model.parameters()):
        raise TrainError(f"freeze {options.freeze} leaves nothing to train; name fewer modules.")
    return model, met


def find_modules(model: Any, name: str, option: str) -> list[str]:
    """Give the full names of the modules that a name means.

    Raises:
        TrainError: there is none; the message lists what there is.
    """
    names = [full for full, _ in model.named_modules() if _ends_with(full, name)]
    if not names:
        raise TrainError(
            f"{option} names {name!r}, but no module's name ends so. There are: "
            f"{', '.join(_last_words(model))}."
        )
    return names


def _ends_with(full: str, name: str) -> bool:
    return full == name or full.endswith("." + name)


def _last_words(model: Any) -> list[str]:
    words = (full.rpartition(".")[2] for full, _ in model.named_modules())
    return sorted({word for word in words if word and not word.isdigit()})


def _add_lora(model: Any, options: TrainOptions, base: str) -> tuple[Any, dict[str, list[str]]]:
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise MissingExtraError("Training adapters (--method lora)", "peft", "train") from error
    adapted = {name: _linear_layers(model, name) for name in options.lora_targets}
    whole = {name: find_modules(model, name, "also_train") for name in options.also_train}
    settings = LoraConfig(
        r=options.lora_rank,
        lora_alpha=options.lora_alpha,
        lora_dropout=options.lora_dropout,
        target_modules=_flatten(adapted),
        # Full names: peft takes any module whose name ends with one of these, "proj" also o_proj.
        modules_to_save=_flatten(whole) or None,
    )
    with without_peft_warning():
        wrapped = get_peft_model(model, settings)
    wrapped.peft_config["default"].base_model_name_or_path = base
    return wrapped, {**adapted, **whole}


def _linear_layers(model: Any, name: str) -> list[str]:
    from torch import nn

    names = find_modules(model, name, "lora_targets")
    linear = [full for full in names if isinstance(model.get_submodule(full), nn.Linear)]
    if not linear:
        kind = type(model.get_submodule(names[0])).__name__
        raise TrainError(
            f"lora_targets names {name!r}, which is a {kind}; adapters go on linear layers. Name "
            "some, such as qkv_proj."
        )
    return linear


def _flatten(met: Mapping[str, Iterable[str]]) -> list[str]:
    return list(dict.fromkeys(full for names in met.values() for full in names))
