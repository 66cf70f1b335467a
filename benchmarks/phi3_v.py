"""How fast is Phi-3-Vision, and how much memory does it take, from pictures to decoding?

At a mid-size random configuration (66 M parameters: decoder 512 x 8, tower 256 x 8, the published
vocabulary), float32, one picture and 64 text tokens, batch 1. With a folder of Microsoft's own
files and a Python that can run them, theirs is measured in turns with ours, each turn a process of
its own, and the ratio is printed. On busy machines processor time says more than wall time.

Usage: python benchmarks/phi3_v.py [--official FOLDER --official-python PYTHON]
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
import transformers
from side_by_side import workload as work

HERE = Path(__file__).parent


def measure(turn: dict[str, Any]) -> dict[str, Any]:
    """One turn of our code."""
    from loupe.phi3_v import Phi3VConfig, Phi3VForCausalLM, Phi3VImageProcessor

    image_processor = Phi3VImageProcessor(num_crops=turn["num_crops"])
    picture = work.draw_picture(*turn["size"])
    if turn["task"] == "process":
        return work.time_calls(
            lambda: image_processor(picture, return_tensors="pt"), turn["repeats"]
        )
    encoded = image_processor(picture, return_tensors="pt")
    ids, labels = work.make_prompt(int(encoded["num_img_tokens"][0]))
    pictures = {name: encoded[name] for name in ("pixel_values", "image_sizes")}
    model = Phi3VForCausalLM(Phi3VConfig(**work.CONFIG, vision_config=work.TOWER_CONFIG))

    def train() -> None:
        model.zero_grad(set_to_none=True)
        model(input_ids=ids, labels=labels, use_cache=False, **pictures).loss.backward()

    def generate(clock: work.Clock) -> None:
        model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=1 + turn["decode_tokens"],
            do_sample=False,
            eos_token_id=None,
            stopping_criteria=transformers.StoppingCriteriaList([clock]),
            **pictures,
        )

    if turn["task"] == "train":
        model.train()
        return work.time_calls(train, turn["repeats"]) | {"tokens": ids.shape[1]}
    model.eval()
    return work.time_generation(generate, turn["repeats"]) | {"tokens": ids.shape[1]}


def run_turn(command: list[str], turn: dict[str, Any]) -> dict[str, Any]:
    """Measure in a process of its own, so that its peak of memory is its own."""
    done = subprocess.run(
        [*command, json.dumps(turn)], check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def plan(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Every piece of work, as the workers read it."""
    shared = {
        "threads": arguments.threads,
        "decode_tokens": arguments.decode_tokens,
        "official": str(arguments.official),
    }
    turns = []
    for num_crops in arguments.num_crops:
        for size in work.IMAGE_SIZES_PX:
            turns.append({"task": "process", "size": size, "repeats": 5 * arguments.repeats})
        for task in ("train", "generate"):
            turns.append(
                {"task": task, "size": work.IMAGE_SIZES_PX[0], "repeats": arguments.repeats}
            )
        turns = [shared | {"num_crops": num_crops} | turn for turn in turns]
    return turns


def name_of(turn: dict[str, Any], part: str) -> str:
    size = "{}x{}".format(*turn["size"]) if turn["task"] == "process" else "batch 1"
    return f"{part}, {size}, {turn['num_crops']} crops"


def collect(
    turns: list[dict[str, Any]], commands: dict[str, list[str]], rounds: int
) -> dict[str, dict[str, Any]]:
    """Run every turn of every implementation `rounds` times, one after the other."""
    found: dict[str, Any] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for turn in turns:
        for _ in range(rounds):
            for who, command in commands.items():
                result = run_turn(command, turn)
                parts = ("prefill", "decode") if turn["task"] == "generate" else (turn["task"],)
                for part in parts:
                    seconds = result[part] if turn["task"] == "generate" else result
                    into = found[name_of(turn, part)][who]
                    into["wall"] += seconds["wall"]
                    into["processor"] += seconds["processor"]
                    into["peak_mib"].append(result["peak_mib"])
                    into["units"] = result.get("tokens", 1) if part == "prefill" else 1
    return found


def summarise(samples: dict[str, Any]) -> dict[str, float]:
    wall = statistics.median(samples["wall"])
    return {
        "per_second": round(samples["units"] / wall, 3),
        "seconds_median": round(wall, 5),
        "seconds_min": round(min(samples["wall"]), 5),
        "seconds_max": round(max(samples["wall"]), 5),
        "processor_seconds_median": round(statistics.median(samples["processor"]), 5),
        "peak_mib": round(max(samples["peak_mib"])),
        "calls": len(samples["wall"]),
    }


def print_table(results: dict[str, dict[str, dict[str, float]]]) -> None:
    print(f"{'work':<34}{'who':>10}{'per second':>12}{'cpu s':>10}{'peak MiB':>10}{'ratio':>8}")
    for name, by_who in results.items():
        for who, row in by_who.items():
            ratio = ""
            if who == "microsoft":
                ours = by_who["loupe"]["processor_seconds_median"]
                ratio = f"{row['processor_seconds_median'] / ours:.2f}x"
            print(
                f"{name:<34}{who:>10}{row['per_second']:>12.2f}"
                f"{row['processor_seconds_median']:>10.4f}{row['peak_mib']:>10.0f}{ratio:>8}"
            )


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num-crops", type=int, nargs="+", default=[4, 16])
    parser.add_argument("--repeats", type=int, default=3, help="calls in each turn")
    parser.add_argument("--rounds", type=int, default=2, help="turns of each implementation")
    parser.add_argument("--decode-tokens", type=int, default=24)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--official", type=Path, help="folder of Microsoft's *_phi3_v.py")
    parser.add_argument("--official-python", help="Python with what they need")
    parser.add_argument("--turn", help="measure one turn here (JSON); used by the benchmark itself")
    return parser.parse_args()


def main() -> None:
    arguments = read_arguments()
    if arguments.turn:
        turn = json.loads(arguments.turn)
        torch.set_num_threads(turn["threads"])
        transformers.logging.set_verbosity_error()
        print(json.dumps(measure(turn) | {"peak_mib": work.peak_mib()}))
        return
    commands = {"loupe": [sys.executable, __file__, "--turn"]}
    if arguments.official:
        worker = str(HERE / "side_by_side" / "official.py")
        commands["microsoft"] = [arguments.official_python, worker]
    found = collect(plan(arguments), commands, arguments.rounds)
    results = {
        name: {who: summarise(samples) for who, samples in by_who.items()}
        for name, by_who in found.items()
    }
    print_table(results)
    about = {
        "threads": arguments.threads,
        "cpu_count": os.cpu_count(),
        "load_average": os.getloadavg(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "commit": commit(),
    }
    print(json.dumps({"benchmark": "phi3_v", "results": results, **about}))


def commit() -> str:
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=HERE,
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip()


if __name__ == "__main__":
    main()
