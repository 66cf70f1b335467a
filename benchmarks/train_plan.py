"""Is the memory and the time that a plan expects what training then takes?

For each case the plan is made by `loupe train --plan`, and then the same options are trained by
`loupe train` for a few steps and one evaluation, each in a process of its own. Compared are the
peak of that process's resident memory, and the time. The tiny base and random models of middle
size, in full, by adapters, and with activations run again. It matters because a run that ends for
want of memory ends after the hour in which nobody looked.

Usage: python benchmarks/train_plan.py [--only NAME ...]
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from loupe import vlm
from loupe.phi3_v import Phi3VConfig, Phi3VForCausalLM

AIM = 0.15
ROWS = 96
STEPS = 8
MODELS = {
    "tiny": None,
    "middle": {"width": 384, "layers": 4, "tower_width": 192, "tower_layers": 4, "side": 84},
    "wide": {"width": 768, "layers": 3, "tower_width": 256, "tower_layers": 3, "side": 84},
    "deep": {"width": 1024, "layers": 12, "tower_width": 512, "tower_layers": 6, "side": 84},
}
CASES: dict[str, tuple[str, list[str]]] = {
    "tiny, full, adamw": ("tiny", ["--batch-size", "16"]),
    "tiny, full, muon": ("tiny", ["--batch-size", "16", "--optimizer", "muon"]),
    "tiny, full, 64 rows": ("tiny", ["--batch-size", "64"]),
    "tiny, lora": ("tiny", ["--batch-size", "16", "--method", "lora"]),
    "middle, full, adamw": ("middle", []),
    "middle, full, muon": ("middle", ["--optimizer", "muon"]),
    "middle, full, run again": ("middle", ["--gradient-checkpointing"]),
    "middle, full, added up": ("middle", ["--gradient-accumulation", "2"]),
    "wide, full, adamw": ("wide", []),
    "wide, full, adafactor": ("wide", ["--optimizer", "adafactor"]),
    "wide, tower frozen": ("wide", ["--parts.tower", "frozen"]),
    "wide, lora": ("wide", ["--method", "lora"]),
    "deep, full, adamw": ("deep", ["--batch-size", "2"]),
}


def write_model(folder: Path, sizes: dict[str, int]) -> None:
    """Write a random model with the tiny base's words and a tower of its own."""
    processor = vlm.load_processor(vlm.TINY)
    side, patch = sizes["side"], 14
    processor.image_processor.crop_size = side
    processor.image_processor.num_img_tokens = (side // (2 * patch)) ** 2
    tokenizer = processor.tokenizer
    config = Phi3VConfig(
        vocab_size=len(tokenizer),
        hidden_size=sizes["width"],
        intermediate_size=2 * sizes["width"],
        num_hidden_layers=sizes["layers"],
        num_attention_heads=8,
        num_key_value_heads=8,
        max_position_embeddings=4096,
        original_max_position_embeddings=4096,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
        image_token_id=processor.image_token_id,
        vision_config={
            "hidden_size": sizes["tower_width"],
            "intermediate_size": 4 * sizes["tower_width"],
            "num_attention_heads": 8,
            "num_hidden_layers": sizes["tower_layers"],
            "image_size": side,
            "patch_size": patch,
        },
    )
    torch.manual_seed(0)
    Phi3VForCausalLM(config).save_pretrained(folder)
    processor.save_pretrained(folder)


def write_dataset(folder: Path) -> None:
    """Build a dataset of noisy pictures, whose samples are all of like length."""
    from loupe.build import build_dataset
    from loupe.options import BuildOptions

    table = folder / "table"
    table.mkdir()
    lines = ["image,title,category3_code,full_price"]
    for row in range(ROWS):
        Image.effect_noise((224, 224), 64).convert("RGB").save(table / f"{row}.png")
        lines.append(f"{row}.png,Ankle Padded Boots {row},BOOTS,{100 + row}")
    (table / "rows.csv").write_text("\n".join(lines), "utf-8")
    source, output = str(table / "rows.csv"), str(folder / "data")
    build_dataset(BuildOptions(source=source, output=output, validation_share=0.2, workers=1))


def run_loupe(folder: Path, words: list[str]) -> tuple[str, int]:
    """Run `loupe train`; give its stdout and the peak of its resident memory in bytes."""
    command = [sys.executable, "-m", "loupe", "train", "--dataset", "data", *words]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    told = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    return told, used.ru_maxrss * (1024 if platform.system() == "Linux" else 1)


def measure(folder: Path, name: str) -> dict[str, Any]:
    """Plan one case, train it, and compare."""
    model, settings = CASES[name]
    output = name.replace(", ", "-").replace(" ", "-")
    words = ["--output", output, "--model", model if model == vlm.TINY else f"models/{model}"]
    words += ["--max-steps", str(STEPS), "--evaluations", "1", "--epochs", "100"]
    words += [*([] if "--batch-size" in settings else ["--batch-size", "4"]), *settings, "--json"]
    planned = json.loads(run_loupe(folder, [*words, "--plan"])[0])
    _, peak = run_loupe(folder, words)
    told = json.loads((folder / output / "plan.json").read_text("utf-8"))["memory"]
    record = json.loads((folder / output / "training.json").read_text("utf-8"))
    expected = planned["memory"]["peak"]
    return {
        "parameters": sum(everything for _, everything in planned["parts"].values()),
        "expected_bytes": expected,
        "told_before_run_bytes": told["peak"],
        "process_bytes": told["process"],
        "measured_bytes": peak,
        "off": expected / peak - 1,
        "off_before_run": told["peak"] / peak - 1,
        "off_without_process": (told["peak"] - told["process"]) / (peak - told["process"]) - 1,
        "tried_bytes": planned["trial"]["peak_bytes"],
        "step_seconds": planned["trial"]["step_seconds"],
        "expected_seconds": planned["expected_seconds"],
        "measured_seconds": record["seconds"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
    args = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        # In a process of its own: a child's peak counts what the process that starts it holds.
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            pool.submit(write_dataset, folder).result()
            for model in {CASES[name][0] for name in args.only} - {vlm.TINY}:
                pool.submit(write_model, folder / "models" / model, MODELS[model] or {}).result()
        for name in args.only:
            results[name] = result = measure(folder, name)
            print(
                f"{name:25} {result['parameters'] / 1e6:6.1f} M: expected "
                f"{result['expected_bytes'] / 2**20:6.0f} MiB, measured "
                f"{result['measured_bytes'] / 2**20:6.0f} MiB, {100 * result['off']:+5.1f} %; "
                f"without the process {100 * result['off_without_process']:+5.1f} %; "
                f"{result['expected_seconds']:.0f} s expected, {result['measured_seconds']:.0f} s "
                "measured",
                flush=True,
            )
    print(
        json.dumps(
            {
                "cases": results,
                "worst": max(abs(result["off"]) for result in results.values()),
                "aim": AIM,
                "threads": torch.get_num_threads(),
                "machine": platform.machine(),
                "torch": torch.__version__,
            }
        )
    )


if __name__ == "__main__":
    main()
