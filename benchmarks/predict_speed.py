"""How many pictures a second does a model read, by batch, guided and freely, beside Microsoft's?

- `tiny`: the base that ships with Loupe, on pictures of the sample house.
- `mid`: the published layout with random weights, on product-like pictures of 1 Mpx; the sizes are
  those of `train_step.py`. With random weights guided answers run to their longest, so their new
  tokens stand beside.
- `microsoft`: Microsoft's code at the `mid` work of batch 1, free: the same weights, the same
  pictures and prompts, the same number of new tokens; it takes one picture at a time. Whether the
  tokens are the same is told too.

Latency is that of one picture at batch 1, from the open picture to the text. Every line is a
process of its own, so that its peak of memory is its own. On shared cores wall time tells more of
the neighbours; processor time stands beside, one thread each. Microsoft's line needs a folder of
their files and a Python that runs them (`side_by_side/official.py`).

Usage: python benchmarks/predict_speed.py [--official FOLDER --official-python PYTHON]
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
sys.path.append(str(Path(__file__).parent / "side_by_side"))

import numpy as np
import torch
import training
import transformers
import workload as work
from phi3_v import commit
from PIL import Image

from loupe import vlm
from loupe.phi3_v import Phi3VConfig, Phi3VForCausalLM, Phi3VImageProcessor, Phi3VProcessor
from loupe.predict import Predictor, task_beside
from loupe.predict.pictures import find_pictures, open_picture

HERE = Path(__file__).parent
LEAST_PICTURES = {"tiny": 32, "mid": 8}  # of a line


def write_mid(folder: Path, shape: dict[str, int], num_crops: int) -> None:
    """Write the random model and its processor, in the published layout."""
    tokenizer = vlm.load_processor(vlm.TINY).tokenizer
    processor = Phi3VProcessor(Phi3VImageProcessor(num_crops=num_crops), tokenizer)
    decoder, tower = training.make_config(shape)
    own = {"image_token_id": processor.image_token_id}
    torch.manual_seed(0)
    Phi3VForCausalLM(Phi3VConfig(**decoder | own, vision_config=tower)).save_pretrained(folder)
    processor.save_pretrained(folder)
    task_beside(vlm.TINY).save(folder / "task.yaml")


def write_pictures(folder: Path, count: int) -> None:
    """Write product-like pictures of several shapes."""
    for place in range(count):
        size = training.SIZES_PX[place % len(training.SIZES_PX)]
        work.draw_picture(*size).save(folder / f"{place:03}.png")


def measure(turn: dict[str, Any]) -> dict[str, Any]:
    """One line of ours: answer the pictures batch by batch, after one batch that is not counted."""
    predictor = Predictor.load(turn["model"], device="cpu", threads=turn["threads"])
    pictures = [open_picture(path) for path in find_pictures([turn["pictures"]])]
    pictures = pictures[: turn["count"]]
    before = work.peak_mib()
    settings = {"max_new_tokens": turn["new_tokens"], "decoding": turn["decoding"]}
    size = turn["batch_size"]
    predictor.predict(pictures[:1], batch_size=1, max_new_tokens=2, decoding=turn["decoding"])
    texts, wall, processor = [], [], []
    for start in range(0, len(pictures), size):
        began = time.perf_counter(), time.process_time()
        answers = predictor.predict(pictures[start : start + size], batch_size=size, **settings)
        wall.append(time.perf_counter() - began[0])
        processor.append(time.process_time() - began[1])
        texts += [answer.text for answer in answers]
    return {
        "pictures": len(pictures),
        "wall": wall,
        "processor": processor,
        "new_tokens": count_tokens(predictor, pictures[0], turn),
        "before_mib": before,
        "peak_mib": work.peak_mib(),
    }


def count_tokens(predictor: Predictor, picture: Image.Image, turn: dict[str, Any]) -> list[int]:
    """Give the new tokens of the first answer, to compare."""
    from loupe.predict.generation import _ask, _generate
    from loupe.predict.grammar import decode_answers

    inputs, ends = _ask(predictor, [picture])
    if turn["decoding"] == "guided":
        with torch.inference_mode():
            return decode_answers(predictor.model, inputs, predictor.grammar, turn["new_tokens"])[0]
    settings = {"do_sample": False, "num_beams": 1}
    return _generate(predictor, inputs, ends, turn["new_tokens"], settings)[0]


def run_turn(command: list[str], turn: dict[str, Any]) -> dict[str, Any]:
    """Measure in a process of its own."""
    done = subprocess.run(
        [*command, json.dumps(turn)], check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def summarise(found: dict[str, Any]) -> dict[str, Any]:
    """Pictures per second and per processor second, latency where it was one by one, memory."""
    wall, processor, count = found["wall"], found["processor"], found["pictures"]
    result = {
        "pictures": count,
        "per_second": round(count / sum(wall), 3),
        "per_processor_second": round(count / sum(processor), 3),
        "new_tokens": len(found["new_tokens"]),
        "peak_mib": round(found["peak_mib"]),
        "before_mib": round(found["before_mib"]),
    }
    if len(wall) == count:
        for name, taken in (("seconds", wall), ("processor_seconds", processor)):
            middle, late = np.percentile(taken, [50, 95])
            result |= {
                f"{name}_p50": round(float(middle), 3),
                f"{name}_p95": round(float(late), 3),
            }
    return result


def collect(arguments: argparse.Namespace, folder: Path) -> dict[str, dict[str, Any]]:
    """Let each line be measured in turn."""
    shape = {
        name: getattr(arguments, name)
        for name in ("hidden", "layers", "tower", "tower_layers", "vocabulary")
    }
    most = max([*LEAST_PICTURES.values(), *arguments.batch_size])
    sample, mid, drawn = folder / "sample", folder / "mid", folder / "pictures"
    drawn.mkdir()
    command = ["sample", "--house", "alder", "--rows", str(most), "--output", str(sample)]
    subprocess.run([sys.executable, "-m", "loupe", *command], check=True, stdout=sys.stderr)
    write_mid(mid, shape, arguments.num_crops)
    write_pictures(drawn, most)
    works = {
        "tiny": {"model": vlm.TINY, "pictures": str(sample / "images"), "new_tokens": 96},
        "mid": {"model": str(mid), "pictures": str(drawn), "new_tokens": arguments.new_tokens},
    }
    lines: dict[str, tuple[list[str], dict[str, Any]]] = {}
    for name, turn in works.items():
        for decoding in ("guided", "free"):
            for size in arguments.batch_size:
                count = max(size, LEAST_PICTURES[name])
                own = {"decoding": decoding, "batch_size": size, "count": count}
                lines[f"{name}, {decoding}, batch {size}"] = (
                    [sys.executable, __file__, "--turn"],
                    turn | own | {"threads": arguments.threads},
                )
    if arguments.official:
        own = {"count": LEAST_PICTURES["mid"], "threads": arguments.threads, "shape": shape}
        turn = works["mid"] | own | prompt_of(mid) | {"official": str(arguments.official)}
        script = str(HERE / "side_by_side" / "official_prediction.py")
        lines["microsoft, free, batch 1"] = ([arguments.official_python, script], turn)
    found = {}
    for name, (run, turn) in lines.items():
        if not arguments.only or any(name.startswith(start) for start in arguments.only):
            found[name] = run_turn(run, turn)
            print(name, summarise(found[name]), file=sys.stderr)
    return found


def prompt_of(model: Path) -> dict[str, Any]:
    """Give the ids of the prompt before and after the picture, and the number of crops."""
    processor = vlm.load_processor(str(model))
    dialogue = vlm.make_dialogue(processor, task_beside(str(model)).question)
    made = processor(dialogue.prompt, [Image.new("RGB", (336, 336))])
    ids, place = list(made["input_ids"][0]), processor.image_token_id
    first, last = ids.index(place), len(ids) - ids[::-1].index(place)
    crops = processor.image_processor.num_crops
    return {"before": ids[:first], "after": ids[last:], "num_crops": crops}


def print_table(results: dict[str, dict[str, Any]]) -> None:
    print(
        f"{'':<26}{'pictures/s':>11}{'per CPU s':>11}{'p50 s':>8}{'p95 s':>8}{'p50 CPU':>9}"
        f"{'p95 CPU':>9}{'tokens':>8}{'peak MiB':>10}"
    )
    for name, row in results.items():
        latency = [
            f"{row[kind]:.3f}" if kind in row else ""
            for kind in ("seconds_p50", "seconds_p95", "processor_seconds_p50",
                         "processor_seconds_p95")
        ]  # fmt: skip
        print(
            f"{name:<26}{row['per_second']:>11.2f}{row['per_processor_second']:>11.2f}"
            f"{latency[0]:>8}{latency[1]:>8}{latency[2]:>9}{latency[3]:>9}"
            f"{row['new_tokens']:>8}{row['peak_mib']:>10}"
        )


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch-size", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--num-crops", type=int, default=4, help="4 as in Phi-3.5, 16 in Phi-3")
    parser.add_argument("--new-tokens", type=int, default=32, help="of a mid-size answer")
    parser.add_argument("--hidden", type=int, default=288, help="a multiple of 96")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--tower", type=int, default=128, help="its width, a multiple of 64")
    parser.add_argument("--tower-layers", type=int, default=3)
    parser.add_argument("--vocabulary", type=int, default=32064)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="+", help="lines that begin so")
    parser.add_argument("--official", type=Path, help="folder of Microsoft's *_phi3_v.py")
    parser.add_argument("--official-python", help="Python with what they need")
    parser.add_argument("--turn", help="measure one line here (JSON); used by the benchmark itself")
    return parser.parse_args()


def main() -> None:
    arguments = read_arguments()
    if arguments.turn:
        transformers.logging.set_verbosity_error()
        print(json.dumps(measure(json.loads(arguments.turn))))
        return
    with tempfile.TemporaryDirectory() as folder:
        found = collect(arguments, Path(folder))
    results = {name: summarise(line) for name, line in found.items()}
    print_table(results)
    ours, theirs = found.get("mid, free, batch 1"), found.get("microsoft, free, batch 1")
    skipped = {"official", "official_python", "turn", "only"}
    record = {
        "benchmark": "predict_speed",
        "results": results,
        "same_tokens": ours["new_tokens"] == theirs["new_tokens"] if ours and theirs else None,
        **{name: value for name, value in vars(arguments).items() if name not in skipped},
        "cpu_count": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 1),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "commit": commit(),
    }
    print(json.dumps(record))


if __name__ == "__main__":
    main()
