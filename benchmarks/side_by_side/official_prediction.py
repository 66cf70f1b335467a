"""Microsoft's batch-1 generate at the work of `../predict_speed.py`, which calls this.

Answers pictures one by one, from the open picture to the new tokens, with the weights that the
other side wrote. Runs in the Python that `official.py` needs.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import official
import official_training
import torch
import transformers
import workload as work
from PIL import Image
from safetensors.torch import load_file


def measure(turn: dict[str, Any]) -> dict[str, Any]:
    modules = official.load(Path(turn["official"]))
    image_processor = modules["image_processing"].Phi3VImageProcessor(num_crops=turn["num_crops"])
    model = official_training.build_model(modules, turn["shape"]).eval()
    weights = load_file(Path(turn["model"]) / "model.safetensors")
    missing = model.load_state_dict(weights, strict=False).missing_keys
    twice = "model.vision_embed_tokens.wte.weight"  # the embeddings by a second name
    assert not [name for name in missing if "position_ids" not in name and name != twice], missing
    assert model.model.vision_embed_tokens.wte is model.model.embed_tokens
    paths = sorted(Path(turn["pictures"]).glob("*.png"))[: turn["count"]]
    pictures = [Image.open(path).convert("RGB") for path in paths]
    before = work.peak_mib()

    def answer(picture: Image.Image, new_tokens: int) -> list[int]:
        encoded = image_processor(picture, return_tensors="pt")
        places = [-1] * int(encoded["num_img_tokens"][0])
        ids = torch.tensor([[*turn["before"], *places, *turn["after"]]])
        with torch.no_grad():
            said = model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                pixel_values=encoded["pixel_values"],
                image_sizes=encoded["image_sizes"],
                max_new_tokens=new_tokens,
                do_sample=False,
                use_cache=True,
                eos_token_id=-1,
                pad_token_id=0,
            )
        return said[0, ids.shape[1] :].tolist()

    answer(pictures[0], 2)
    wall, processor, said = [], [], []
    for picture in pictures:
        began = time.perf_counter(), time.process_time()
        said.append(answer(picture, turn["new_tokens"]))
        wall.append(time.perf_counter() - began[0])
        processor.append(time.process_time() - began[1])
    return {
        "pictures": len(pictures),
        "wall": wall,
        "processor": processor,
        "new_tokens": said[0],
        "before_mib": before,
        "peak_mib": work.peak_mib(),
    }


def main() -> None:
    turn = json.loads(sys.argv[1])
    torch.set_num_threads(turn["threads"])
    transformers.logging.set_verbosity_error()
    print(json.dumps(measure(turn)))


if __name__ == "__main__":
    main()
