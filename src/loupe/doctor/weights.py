"""Whether weights are whole: names and shapes against the config's, and values worth having."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from loupe.doctor.findings import Finding, Part, name_some
from loupe.doctor.pickled import find_pickles
from loupe.doctor.tensors import Place, Shape, Values, find_tensors, measure
from loupe.errors import MissingExtraError
from loupe.phi3_v import Phi3VConfig, Phi3VForCausalLM
from loupe.vlm import part_of, without_peft_warning

if TYPE_CHECKING:
    from peft import PeftConfig

__all__ = ["ADAPTER_CONFIG", "examine_adapter", "examine_weights", "other_family", "read_config"]

CONFIG, ADAPTER_CONFIG = "config.json", "adapter_config.json"
AGAIN = "Copy or download the checkpoint again, or load the base and train again."


def other_family(folder: Path) -> str | None:
    """Give the model_type of a checkpoint that is not of Phi-3-Vision's family; else None."""
    try:
        kind = json.loads((folder / CONFIG).read_text("utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError):
        return None
    return None if kind in {None, Phi3VConfig.model_type} else str(kind)


def read_config(folder: Path, part: Part) -> tuple[Phi3VConfig | None, list[Finding]]:
    """Read Phi-3-Vision's config.json; None and a finding where there is none to be used."""
    path = folder / CONFIG
    if not path.is_file():
        what = f"There is no {CONFIG}, so it is not known which weights belong here."
        cure = f"Copy {CONFIG} from the checkpoint that this one was made of."
        return None, [Finding(part, "wrong", what, cure)]
    try:
        kind = json.loads(path.read_text("utf-8")).get("model_type")
        if kind != Phi3VConfig.model_type:
            raise ValueError(f"it has model_type {kind!r}, not {Phi3VConfig.model_type!r}.")
        config = Phi3VConfig.from_pretrained(folder)
        _build_without_weights(config)
        return config, []
    except (ValueError, TypeError, AttributeError, KeyError, AssertionError) as error:
        what = f"{CONFIG} cannot be used: {str(error).splitlines()[0]}"
        cure = "Correct it, or copy it from the checkpoint that this one was made of."
        return None, [Finding(part, "wrong", what, cure)]


def examine_weights(folder: Path, config: Phi3VConfig | None, part: Part) -> list[Finding]:
    """Examine the weights of a full checkpoint."""
    expected: dict[str, Shape] = {}
    ignored: list[str] = []
    if config is not None:
        model = _build_without_weights(config)
        expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
        if config.tie_word_embeddings:
            del expected["lm_head.weight"]
            ignored = [r"lm_head\.weight"]
        ignored += model._keys_to_ignore_on_load_unexpected
    return _examine(folder, expected, part, config=config, ignored=ignored)


def examine_adapter(folder: Path, base: Phi3VConfig | None) -> list[Finding]:
    """Examine the weights of an adapter; `base` is the config of what it was trained on."""
    try:
        from peft import PeftConfig, get_peft_model, get_peft_model_state_dict
    except ImportError as error:
        raise MissingExtraError("Examining an adapter", "peft", "train") from error
    expected: dict[str, Shape] = {}
    findings: list[Finding] = []
    if base is not None:
        model = _build_without_weights(base)
        try:
            settings: PeftConfig = PeftConfig.from_pretrained(str(folder))
            settings.base_model_name_or_path = None  # peft warns where a model has another name
            with without_peft_warning(), torch.device("meta"):
                adapted = get_peft_model(model, settings)
            saved = get_peft_model_state_dict(adapted, save_embedding_layers=False)
            expected = {name: tuple(value.shape) for name, value in saved.items()}
        except (ValueError, TypeError, KeyError) as error:
            what = f"{ADAPTER_CONFIG} does not fit the base: {str(error).splitlines()[0]}"
            cure = "Name the base that it was trained on in base_model_name_or_path."
            findings.append(Finding("weights", "wrong", what, cure))
    return findings + _examine(folder, expected, "weights", config=base, ignored=[])


def _build_without_weights(config: Phi3VConfig) -> Phi3VForCausalLM:
    with torch.device("meta"):
        return Phi3VForCausalLM(config)


def _examine(
    folder: Path,
    expected: Mapping[str, Shape],
    part: Part,
    *,
    config: Phi3VConfig | None,
    ignored: list[str],
) -> list[Finding]:
    places, findings = find_tensors(folder, part)
    findings += find_pickles(folder, expected, has_weights=bool(places))
    if not places:
        if not findings:
            what = "There are no weights."
            cure = "Copy model.safetensors, or all files that its index names, into the folder."
            findings.append(Finding(part, "wrong", what, cure))
        return findings
    if expected:
        findings += _compare(places, expected, part, ignored)
    initial = [] if config is None else _initial_deviations(config)
    values = {name: measure(place, name, initial) for name, place in places.items()}
    if config is not None:
        never_run = _never_run(config)
        values = {n: v for n, v in values.items() if v.not_finite or not never_run.search(n)}
    findings += _judge(values, part)
    if not any(each.verdict == "wrong" for each in findings):
        numbers = sum(torch.Size(place.shape).numel() for place in places.values())
        what = f"{len(places)} tensors of {numbers:,} numbers are as expected, all finite."
        findings.insert(0, Finding(part, "well", what))
    return findings


def _compare(
    places: Mapping[str, Place], expected: Mapping[str, Shape], part: Part, ignored: list[str]
) -> list[Finding]:
    """Compare names and shapes."""
    findings = []
    if missing := [name for name in expected if name not in places]:
        what = f"{len(missing)} of {len(expected)} tensors are missing: {name_some(missing)}."
        findings.append(Finding(part, "wrong", f"{what} They would be random.", AGAIN))
    differing = [
        f"{name} is {_x(places[name].shape)}, expected {_x(shape)}"
        for name, shape in expected.items()
        if name in places and places[name].shape != shape
    ]
    if differing:
        what = f"{len(differing)} tensors have another shape: {name_some(differing)}."
        cure = "Use the config.json (or the adapter's base) that these weights were saved with."
        findings.append(Finding(part, "wrong", what, cure))
    unexpected = [
        name
        for name in places
        if name not in expected and not any(re.search(pattern, name) for pattern in ignored)
    ]
    if unexpected:
        what = f"{len(unexpected)} tensors belong nowhere: {name_some(unexpected)}."
        cure = (
            "Save the model without its wrapper (`model.merge_and_unload()` for an adapter, "
            "`accelerator.unwrap_model` for a distributed one): names must be the published ones."
        )
        findings.append(Finding(part, "wrong", f"{what} They are not loaded.", cure))
    return findings


def _judge(values: Mapping[str, Values], part: Part) -> list[Finding]:
    """Judge values: numbers that are none, zeros, and matrices that no training ever moved."""
    findings = []
    broken = [f"{name} ({v.not_finite:,})" for name, v in values.items() if v.not_finite]
    if broken:
        what = f"{len(broken)} tensors hold NaN or infinite numbers: {name_some(broken)}."
        cure = "Go back to an earlier checkpoint; train with a lower learning_rate or in fp32."
        findings.append(Finding(part, "wrong", what, cure))
    up = [name for name in values if ".lora_B" in name]
    if up and all(values[name].is_zero for name in up):
        what = "The adapter was never trained: its second matrices are all zero."
        findings.append(Finding(part, "wrong", what, "Train it; until then it changes nothing."))
    zero = [n for n, v in values.items() if v.is_zero and not n.endswith("bias") and n not in up]
    if zero:
        what = f"{len(zero)} tensors are all zero: {name_some(zero)}."
        findings.append(Finding(part, "wrong", what, AGAIN))
    random = [name for name, value in values.items() if value.looks_random]
    if random:
        parts = ", ".join(dict.fromkeys(part_of(name) for name in random))
        what = (
            f"{len(random)} matrices look as drawn at random, never trained ({parts}): "
            f"{name_some(random)}."
        )
        cure = (
            "They were missing when the model was loaded before it was saved: copy them from the "
            "base, and train again what was trained on top of them."
        )
        findings.append(Finding(part, "wrong", what, cure))
    return findings


def _initial_deviations(config: Phi3VConfig) -> list[float]:
    """Give the standard deviations of fresh matrices: the decoder's, and CLIP's as published.

    Source: `CLIPPreTrainedModel._init_weights` in transformers.
    """
    tower: Any = config.vision_config
    factor, depth = tower.initializer_factor, 2 * tower.num_hidden_layers
    widths = [tower.hidden_size, 2 * tower.hidden_size, tower.hidden_size * depth]
    ranges = [config.initializer_range, tower.initializer_range * factor]
    return sorted({*ranges, *(factor * width**-0.5 for width in widths)})


def _never_run(config: Phi3VConfig) -> re.Pattern[str]:
    """Name what is in every checkpoint and never runs, so that its values say nothing."""
    tower: Any = config.vision_config
    last = tower.num_hidden_layers - 1
    return re.compile(rf"encoder\.layers\.{last}\.|post_layernorm")


def _x(shape: Shape) -> str:
    return " x ".join(map(str, shape)) or "a single number"
