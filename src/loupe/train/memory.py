"""How much memory a run needs at its peak: counted on a copy of the model that has no numbers.

Fake tensors (torch's own, made for compilers) know shapes, types and kernels and hold nothing. The
forward is run on them part by part, and what autograd would keep is added up, so that adapters,
frozen parts, precision and attention kernels count as they are, at any size.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeCopyMode, FakeTensorMode

from loupe import vlm
from loupe.options import TrainOptions
from loupe.phi3_v import Phi3VForCausalLM
from loupe.phi3_v.modeling_phi3_v import LOGITS_PER_CHUNK
from loupe.train.load import Load
from loupe.train.optimizer import OURS, build_optimizer, count_state_bytes

__all__ = ["WORKSPACE", "Memory", "estimate_memory"]

# Without a model's own forward: bytes per token and channel that a layer keeps in float32, twice
# the 34 of 16 bits (arXiv:2205.05198, section 4.1, attention maps left out).
BYTES_KEPT = 68
TOWER_SIZES = ("image_size", "patch_size", "hidden_size", "num_hidden_layers")
TEXT = "decoder"  # with embeddings and head
FOUR_BIT_BYTES = 0.5 + 1 / 64  # of a number in NF4: half a byte, and a scale for each 64
SCRATCH_OF_MUON = 6  # copies of all matrices of one shape while they are orthogonalised
WORKSPACE = 24 * 2**20  # buffers of kernels
LOGITS_AT_ONCE = 3  # logits, their log-softmax and its gradient


@dataclass(frozen=True)
class Memory:
    """Bytes by what they hold; they are not all there at the same time."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    """Kept from the forward for the backward pass, pictures included."""
    logits: int
    scratch: int
    """Passing tensors of the optimizer's step."""
    backward: int
    """Most that activations, logits and gradients are together: the one go as the others come."""
    pictures: int = 0
    """Kept in memory from the first pass over the rows on; 0 where the model is on a GPU."""
    process: int = 0
    """What the process holds beside the model; 0 where the model is on a GPU."""

    @property
    def peak(self) -> int:
        """The largest sum of what is there at a time."""
        stepping = self.gradients + self.scratch
        standing = self.process + self.pictures + self.weights + self.optimizer
        return standing + max(self.backward, stepping) + WORKSPACE

    def to_dict(self) -> dict[str, Any]:
        """Give the same as plain data."""
        return {**asdict(self), "peak": self.peak}


def estimate_memory(
    model: Any, load: Load, options: TrainOptions, *, precision: str = "fp32", device: str = "cpu"
) -> Memory:
    """Estimate a run's memory, pictures and process left out.

    Args:
        model: as it will be trained, built without weights.
        load: the largest batch.
        options: of the run.
        precision: of the arithmetic: bf16, fp16 or fp32.
        device: on which it is to run.
    """
    fake, mode = _without_numbers(model)
    trained = [value for value in fake.parameters() if value.requires_grad]
    state, scratch = _count_optimizer(fake, trained, options, device)
    with mode, torch.autocast("cpu", torch.bfloat16, enabled=precision != "fp32"):
        kept = _count_activations(fake, load, options)
    logits = _count_logits(fake, load)
    gradients = _bytes_of(trained)
    return Memory(
        weights=_count_weights(fake, options),
        gradients=gradients,
        optimizer=state,
        activations=sum(kept.values()),
        logits=logits,
        scratch=scratch,
        backward=sum(kept.values()) + logits + gradients
        if options.gradient_accumulation > 1
        else _largest_in_backward(fake, kept, logits),
    )


def _bytes_of(values: Iterable[torch.Tensor]) -> int:
    return sum(value.numel() * value.element_size() for value in values)


def _count_weights(model: Any, options: TrainOptions) -> int:
    """Count the bytes of weights; qlora packs the decoder's linear layers to 4 bits."""
    total = _bytes_of(model.parameters())
    for name, module in model.named_modules() if options.method == "qlora" else ():
        is_packed = isinstance(module, nn.Linear) and ".lora_" not in name
        if is_packed and vlm.part_of(name) == TEXT:
            total += int(FOUR_BIT_BYTES * module.weight.numel()) - _bytes_of([module.weight])
    return total


def _largest_in_backward(model: Any, kept: Mapping[str, int], logits: int) -> int:
    """Follow the backward pass from the head to the pictures, a side of the model at a time."""
    remaining, grown = sum(kept.values()) + logits, 0
    largest = remaining
    gradients: dict[str, int] = defaultdict(int)
    for name, value in model.named_parameters():
        if value.requires_grad:
            part = vlm.part_of(name)
            gradients[part if part in kept else TEXT] += _bytes_of([value])
    for side, of_side in kept.items():
        remaining -= of_side + (logits if side == TEXT else 0)
        grown += gradients[side]
        largest = max(largest, remaining + grown)
    return largest


def _without_numbers(model: Any) -> tuple[Any, FakeTensorMode]:
    """Copy a model's shapes and types; what is on the meta device is thought on the CPU.

    On the meta device itself another attention kernel would be chosen.
    """
    mode = FakeTensorMode()
    with FakeCopyMode(mode):
        fake = copy.deepcopy(model)
    moved: dict[int, torch.Tensor] = {}  # tied weights stay tied
    for module in fake.modules():
        for held in (module._parameters, module._buffers):
            for name, value in held.items():
                if value is not None and value.device.type == "meta":
                    held[name] = moved.setdefault(id(value), _on_cpu(value, mode))
    return fake, mode


def _on_cpu(value: torch.Tensor, mode: FakeTensorMode) -> torch.Tensor:
    with mode:
        made = torch.empty(value.shape, dtype=value.dtype, device="cpu")
    if not isinstance(value, nn.Parameter):
        return made
    return nn.Parameter(made, requires_grad=value.requires_grad)


def _count_optimizer(
    model: Any, trained: Sequence[nn.Parameter], options: TrainOptions, device: str
) -> tuple[int, int]:
    """Give bytes of the moments, and of the largest passing copy."""
    name = options.optimizer
    if name != "muon":
        numbers = [value.numel() for value in trained]
        # The root of the second moments: of all at once, or of one after the other.
        is_at_once = name in OURS or device.startswith("cuda")
        scratch = 4 * (sum(numbers) if is_at_once else max(numbers))
        return int(count_state_bytes(name, device) * sum(numbers)), scratch
    state = scratch = 0
    for group in build_optimizer(model, name, 1.0, 0.0).param_groups:
        kind = "muon" if group["is_muon"] else "adamw"
        of_shape: dict[torch.Size, int] = defaultdict(int)
        for value in group["params"]:
            of_shape[value.shape] += 4 * value.numel()
        every = sum(of_shape.values())
        state += int(count_state_bytes(kind, device) * every) // 4
        copies = SCRATCH_OF_MUON * max(of_shape.values()) if group["is_muon"] else every
        scratch = max(scratch, copies)
    return state, scratch


def _count_activations(model: Any, load: Load, options: TrainOptions) -> dict[str, int]:
    """Give what is kept by side of the model, in the order in which the backward pass frees it."""
    inner = vlm.underlying_model(model)
    if not isinstance(inner, Phi3VForCausalLM):
        return {TEXT: _activations_by_rule(inner.config, load, options)}
    model.train()
    vision, config = inner.model.vision_embed_tokens, inner.config
    tower_config: Any = config.vision_config
    count = load.samples * load.crops
    pixels = torch.empty(count, 3, config.crop_size, config.crop_size)
    tower = _count_kept(lambda: vision.img_processor(pixels), model)
    merged = torch.empty(count * config.tokens_per_side**2, vision.glb_GN.shape[-1])
    merged = merged.to(vision.glb_GN.dtype)
    projection = _count_kept(lambda: vision.img_projection(merged), model)
    sees_gradients = any(
        value.requires_grad
        for module in (vision, inner.get_input_embeddings())
        for value in module.parameters()
    )
    embeds = torch.empty(load.samples, load.tokens, config.hidden_size)
    embeds = embeds.to(inner.get_input_embeddings().weight.dtype)
    embeds.requires_grad_(sees_gradients)
    mask = torch.ones(load.samples, load.tokens, dtype=torch.long)
    decoder = _count_kept(
        lambda: inner.model(inputs_embeds=embeds, attention_mask=mask, use_cache=True), model
    )
    if options.gradient_checkpointing:
        patches = count * (config.crop_size // tower_config.patch_size) ** 2
        of_input = patches * tower_config.hidden_size * embeds.element_size()
        tower = _recomputed(tower, _layers_of_tower(vision), of_input)
        decoder = _recomputed(decoder, config.num_hidden_layers, embeds.nbytes)
    return {
        TEXT: decoder + embeds.nbytes,
        "projection": projection,
        "tower": tower + pixels.nbytes,
    }


def _recomputed(kept: int, layers: int, input_bytes: int) -> int:
    """What is kept where layers are run again: their inputs, and one layer at a time."""
    return min(kept, layers * input_bytes + kept // layers)


def _layers_of_tower(vision: Any) -> int:
    return len(vision.img_processor.vision_model.encoder.layers) - 1


def _count_kept(run: Callable[[], Any], model: Any) -> int:
    """Bytes of distinct tensors that autograd keeps of a forward, parameters left out."""
    own = {value.untyped_storage()._cdata for value in model.parameters()}
    seen: dict[int, torch.Tensor] = {}  # tensors too: a storage that is freed gives its place away

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()._cdata
        if storage not in own:
            seen[storage] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = run()
    del result
    return sum(tensor.untyped_storage().nbytes() for tensor in seen.values())


def _count_logits(model: Any, load: Load) -> int:
    inner = vlm.underlying_model(model)
    vocabulary = inner.config.get_text_config().vocab_size
    if not isinstance(inner, Phi3VForCausalLM):
        positions = load.samples * load.tokens
    else:
        chunk = max(1, LOGITS_PER_CHUNK // vocabulary)
        positions = min(load.samples * load.answer_tokens, chunk)
    return int(4 * LOGITS_AT_ONCE * positions * vocabulary)


def _activations_by_rule(config: Any, load: Load, options: TrainOptions) -> int:
    """Estimate what layers keep where the model's forward is not known part by part."""
    decoder = config.get_text_config()
    tower: Any = getattr(config, "vision_config", None)
    parts = [(decoder, load.tokens)]
    is_seen = options.part_modes()["tower"] != "frozen"  # a backward pass goes through it
    # Some families name the sizes of their tower otherwise, and are estimated without it.
    if is_seen and all(isinstance(getattr(tower, size, None), int) for size in TOWER_SIZES):
        parts.append((tower, max(load.crops, 1) * (tower.image_size // tower.patch_size) ** 2))
    total = 0
    for part, places in parts:
        of_layer = places * part.hidden_size * BYTES_KEPT
        of_input = places * part.hidden_size * 4
        kept = of_layer * part.num_hidden_layers
        if options.gradient_checkpointing:
            kept = _recomputed(kept, part.num_hidden_layers, of_input)
        total += kept
    return int(load.samples * total)
