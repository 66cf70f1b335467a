"""One turn of Microsoft's Phi-3-Vision code at the work of `../phi3_v.py`, which calls this.

Runs in a Python of its own (transformers 4.43, numpy below 2, the Python part of torchvision) on a
folder of Microsoft's files that the reader has. Only their `assert` statements are left out, one of
which demands a tower 1024 wide, and the built-in tower configuration is replaced by the small one.
"""

import importlib.machinery
import importlib.util
import json
import sys
import types
from pathlib import Path
from typing import Any

import torch
import transformers
import workload as work

PACKAGE = "official"


class WithoutAsserts(importlib.machinery.SourceFileLoader):
    """Compile as `python -O` would."""

    def get_code(self, fullname: str) -> Any:
        """Compile the file without its assert statements."""
        source = self.get_data(self.path)
        return compile(source, self.path, "exec", dont_inherit=True, optimize=1)


def stand_in_for_torchvision() -> None:
    """Offer torchvision's Python part without its compiled one, which wants another torch."""
    spec = importlib.util.find_spec("torchvision")
    assert spec is not None
    package = types.ModuleType("torchvision")
    package.__path__ = list(spec.submodule_search_locations or [])
    package.__spec__ = spec
    extension = types.ModuleType("torchvision.extension")
    extension._HAS_OPS = False  # type: ignore[attr-defined]
    extension._assert_has_ops = lambda: None  # type: ignore[attr-defined]
    package.extension = extension  # type: ignore[attr-defined]
    package.__version__ = "0"  # type: ignore[attr-defined]
    sys.modules |= {"torchvision": package, "torchvision.extension": extension}


def load(folder: Path) -> dict[str, Any]:
    """Import the files of a folder as one package."""
    stand_in_for_torchvision()
    package = types.ModuleType(PACKAGE)
    package.__path__ = [str(folder)]
    sys.modules[PACKAGE] = package
    loaded = {}
    for kind in ("configuration", "image_embedding", "image_processing", "modeling"):
        path = folder / f"{kind}_phi3_v.py"
        name = f"{PACKAGE}.{path.stem}"
        spec = importlib.util.spec_from_file_location(
            name, path, loader=WithoutAsserts(name, str(path))
        )
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
        loaded[kind] = sys.modules[name]
    return loaded


def build_model(modules: dict[str, Any]) -> Any:
    tower = transformers.CLIPVisionConfig(**work.TOWER_CONFIG)
    modules["image_embedding"].CLIP_VIT_LARGE_PATCH14_336_CONFIG = tower
    config = modules["configuration"].Phi3VConfig(**work.CONFIG)
    config._attn_implementation = "eager"
    return modules["modeling"].Phi3VForCausalLM(config)


def measure(turn: dict[str, Any]) -> dict[str, Any]:
    modules = load(Path(turn["official"]))
    image_processor = modules["image_processing"].Phi3VImageProcessor(num_crops=turn["num_crops"])
    picture = work.draw_picture(*turn["size"])
    if turn["task"] == "process":
        call = lambda: image_processor(picture, return_tensors="pt")  # noqa: E731
        return work.time_calls(call, turn["repeats"])
    encoded = image_processor(picture, return_tensors="pt")
    ids, labels = work.make_prompt(int(encoded["num_img_tokens"][0]))
    pictures = {name: encoded[name] for name in ("pixel_values", "image_sizes")}
    model = build_model(modules)

    def train() -> None:
        model.zero_grad(set_to_none=True)
        # A copy each time: the model changes its ids in place.
        model(input_ids=ids.clone(), labels=labels, use_cache=False, **pictures).loss.backward()

    def generate(clock: work.Clock) -> None:
        with torch.no_grad():
            model.generate(
                input_ids=ids.clone(),
                attention_mask=torch.ones_like(ids),
                max_new_tokens=1 + turn["decode_tokens"],
                do_sample=False,
                eos_token_id=-1,
                stopping_criteria=transformers.StoppingCriteriaList([clock]),
                **pictures,
            )

    if turn["task"] == "train":
        model.train()
        return work.time_calls(train, turn["repeats"]) | {"tokens": ids.shape[1]}
    model.eval()
    return work.time_generation(generate, turn["repeats"]) | {"tokens": ids.shape[1]}


def main() -> None:
    turn = json.loads(sys.argv[1])
    torch.set_num_threads(turn["threads"])
    transformers.logging.set_verbosity_error()
    print(json.dumps(measure(turn) | {"peak_mib": work.peak_mib()}))


if __name__ == "__main__":
    main()
