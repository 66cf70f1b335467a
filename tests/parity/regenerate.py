"""Thin a full set of goldens to what git should hold: the same files, fewer positions.

    python regenerate.py FULL_GOLDENS OUT

The full set is recorded from Microsoft's code, which is not part of this repository; README.md
says how. Nothing is computed here: values are kept or left out, and the JSON files say which.
"""

import argparse
import json
import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file

MOST_POSITIONS = 40  # of a sequence, for logits and hidden states
MOST_COLUMNS = 256  # of the vocabulary
MOST_GRADIENT_VALUES = 1024  # larger gradients are pinned by their norms alone
SAMPLE_FACTOR = 4  # every fourth of the sampled pixels
PER_POSITION = ("logits", "inputs_embeds", "hidden_after_layer0", "last_hidden_state")


def thin_case(source: Path, target: Path) -> None:
    tensors = load_file(source / "tensors.safetensors")
    case = json.loads((source / "case.json").read_text())
    rows = -(-tensors["logits"].shape[1] // MOST_POSITIONS)
    columns = -(-tensors["logits"].shape[2] // MOST_COLUMNS)
    kept = {}
    for name, tensor in tensors.items():
        if name.startswith("grad.") and tensor.numel() > MOST_GRADIENT_VALUES:
            continue
        thinned = tensor[:, ::rows] if name in PER_POSITION else tensor
        if name in ("logits", "gen_logits"):
            thinned = thinned[:, :, ::columns]
        kept[name] = thinned.contiguous()
    case["logits_stride"] = [case["logits_stride"][0] * rows, case["logits_stride"][1] * columns]
    target.mkdir(parents=True, exist_ok=True)
    save_file(kept, target / "tensors.safetensors")
    (target / "case.json").write_text(json.dumps(case, indent=1) + "\n")
    for name in ("config.json", "preprocessor_config.json", "model.safetensors"):
        if (source / name).exists():
            shutil.copyfile(source / name, target / name)


def thin_pixels(source: Path, target: Path) -> None:
    samples = load_file(source / "processor_samples.safetensors")
    kept = {name: tensor[::SAMPLE_FACTOR].contiguous() for name, tensor in samples.items()}
    save_file(kept, target / "processor_samples.safetensors")
    processor = json.loads((source / "processor.json").read_text())
    processor["sample_stride"] *= SAMPLE_FACTOR
    (target / "processor.json").write_text(json.dumps(processor) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    arguments = parser.parse_args()
    for name in ("official", "tokenizer"):
        shutil.copytree(
            arguments.source / name,
            arguments.target / name,
            copy_function=shutil.copyfile,
            dirs_exist_ok=True,
        )
    for name in ("prompts.json", "full_size_keys.json"):
        shutil.copyfile(arguments.source / name, arguments.target / name)
    thin_pixels(arguments.source, arguments.target)
    for case in sorted((arguments.source / "models").iterdir()):
        thin_case(case, arguments.target / "models" / case.name)


if __name__ == "__main__":
    main()
