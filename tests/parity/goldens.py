"""Where the goldens lie, and how a recorded case becomes a checkpoint folder and its inputs."""

import json
import shutil
from pathlib import Path

import golden_images
import torch
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText

GOLDEN = Path(__file__).parent / "golden"
CROP_SIZE_PX = 336


class Case:
    """One recorded run: its configuration and inputs, and what Microsoft's code made of them."""

    def __init__(self, name):
        self.folder = GOLDEN / "models" / name
        self.about = json.loads((self.folder / "case.json").read_text())
        self.tensors = load_file(self.folder / "tensors.safetensors")
        self.weights = self.folder / self.about["weights"]

    def write_checkpoint(self, folder):
        """A checkpoint folder as published: config.json and model.safetensors."""
        shutil.copyfile(self.folder / "config.json", folder / "config.json")
        shutil.copyfile(self.weights, folder / "model.safetensors")
        return folder

    def load_model(self, folder, attention="eager"):
        return AutoModelForImageTextToText.from_pretrained(
            self.write_checkpoint(folder), dtype=torch.float32, attn_implementation=attention
        ).eval()

    def inputs(self):
        names = ("input_ids", "attention_mask", "image_sizes")
        inputs = {name: self.tensors[name].clone() for name in names if name in self.tensors}
        if "pixel_values" in self.about:
            inputs["pixel_values"] = self._pixels(inputs["image_sizes"])
        return inputs

    def prompt(self):
        length = int(self.tensors["gen_prompt_len"])
        inputs = self.inputs()
        for name in ("input_ids", "attention_mask"):
            inputs[name] = inputs[name][:, :length]
        return inputs

    def _pixels(self, image_sizes):
        spec = self.about["pixel_values"]
        pixels = golden_images.synthetic_pixel_values(spec["seed"], spec["shape"])
        for crops, (height, width) in zip(pixels, image_sizes.tolist(), strict=True):
            crops[1 + (height // CROP_SIZE_PX) * (width // CROP_SIZE_PX) :] = 0
        assert golden_images.tensor_sha256(pixels) == spec["sha256"]
        return pixels


def load_json(name):
    return json.loads((GOLDEN / name).read_text())


def write_processor_folder(folder, num_crops, model="phi3_vision", config=None):
    """A processor folder as published: tokenizer files, preprocessor_config.json, config.json."""
    shutil.copytree(GOLDEN / "tokenizer", folder, dirs_exist_ok=True)
    preprocessor = load_json(f"official/{model}_preprocessor_config.json")
    preprocessor |= {"num_crops": num_crops}
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    config = config or load_json(f"official/{model}_config.json")
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def expand(runs):
    """Undo the run-length coding of recorded ids."""
    return [value for value, count in runs for _ in range(count)]
