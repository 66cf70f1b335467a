"""One turn of Microsoft's code at the work of `../train_step.py`, which calls this.

- `cookbook`: as the Phi-3 Cookbook's `finetune_hf_trainer_docvqa.py` trains without its GPU-only
  parts: one sample at a time, gradients of 16 added up, the loss on the answer, layers recomputed
  in the backward pass. `cookbook_kept` recomputes nothing, which takes more memory and less time;
  `cookbook_frozen` leaves its vision tower as it is.
- `tutorial`: as the tutorial's `Phi-3-vision-Trainingscript.py` trains, which names no
  `image_sizes`, so that the picture is never encoded: rows padded to 512 tokens on the left, the
  loss on all of them. `tutorial_seeing` is the same with the picture in its place.

Runs in the Python that `official.py` needs. The files are a public copy of Microsoft's.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import official
import torch
import training
import transformers

IGNORED = -100


def cookbook_inputs(image_processor: Any, sample: training.Sample) -> dict[str, Any]:
    encoded = image_processor(sample.picture, return_tensors="pt")
    places = [-1] * int(encoded["num_img_tokens"][0])
    prompt = [*sample.before, *places, *sample.after]
    return {
        "input_ids": torch.tensor([[*prompt, *sample.answer]]),
        "labels": torch.tensor([[*[IGNORED] * len(prompt), *sample.answer]]),
        "pixel_values": encoded["pixel_values"],
        "image_sizes": encoded["image_sizes"],
    }


def padded_text(
    model: Any, sample: training.Sample, places: list[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and attention mask (1, tokens) of a text of 512 tokens, padded, and of its picture."""
    text = [*sample.before, *sample.after, *sample.answer]
    padding = training.PADDED_TOKENS - len(text)
    at = len(sample.before)
    ids = [training.PADDING % model.config.vocab_size] * padding + text[:at] + places + text[at:]
    mask = [0] * padding + [1] * (len(ids) - padding)
    return torch.tensor([ids]), torch.tensor([mask])


def tutorial_inputs(model: Any, sample: training.Sample) -> dict[str, Any]:
    ids, mask = padded_text(model, sample, [])
    torch.tensor(np.array(sample.picture))  # the tutorial hands it over, and nobody reads it
    # By embeddings: the public copy of the files runs its tower on zeros where there are only ids,
    # which Microsoft's do not.
    embeds = model.get_input_embeddings()(ids)
    return {"inputs_embeds": embeds, "attention_mask": mask, "labels": ids}


def seeing_tutorial_inputs(
    model: Any, image_processor: Any, sample: training.Sample
) -> dict[str, Any]:
    encoded = image_processor(sample.picture, return_tensors="pt")
    ids, mask = padded_text(model, sample, [-1] * int(encoded["num_img_tokens"][0]))
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "labels": ids.masked_fill(ids < 0, IGNORED),
        "pixel_values": encoded["pixel_values"],
        "image_sizes": encoded["image_sizes"],
    }


def build_model(modules: dict[str, Any], shape: dict[str, int]) -> Any:
    decoder, tower = training.make_config(shape)
    embedding = modules["image_embedding"]
    embedding.CLIP_VIT_LARGE_PATCH14_336_CONFIG = transformers.CLIPVisionConfig(**tower)
    config = modules["configuration"].Phi3VConfig(**decoder, use_cache=False)
    config._attn_implementation = "eager"
    return modules["modeling"].Phi3VForCausalLM(config)


def measure(turn: dict[str, Any]) -> dict[str, Any]:
    modules = official.load(Path(turn["official"]))
    image_processor = modules["image_processing"].Phi3VImageProcessor(num_crops=turn["num_crops"])
    model = build_model(modules, turn["shape"])
    who = turn["who"]
    if who in {"cookbook", "cookbook_frozen"}:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    if who == "cookbook_frozen":
        model.model.vision_embed_tokens.img_processor.requires_grad_(requires_grad=False)
    make_inputs = {
        "cookbook": lambda sample: cookbook_inputs(image_processor, sample),
        "cookbook_frozen": lambda sample: cookbook_inputs(image_processor, sample),
        "cookbook_kept": lambda sample: cookbook_inputs(image_processor, sample),
        "tutorial": lambda sample: tutorial_inputs(model, sample),
        "tutorial_seeing": lambda sample: seeing_tutorial_inputs(model, image_processor, sample),
    }[who]
    max_norm = training.MAX_GRADIENT_NORM if who.startswith("cookbook") else None
    samples = training.make_samples(turn["samples"], turn["shape"]["vocabulary"])
    return training.take_steps(model, samples, make_inputs, turn["steps"], max_norm=max_norm)


def main() -> None:
    turn = json.loads(sys.argv[1])
    torch.set_num_threads(turn["threads"])
    transformers.logging.set_verbosity_error()
    print(json.dumps(measure(turn)))


if __name__ == "__main__":
    main()
