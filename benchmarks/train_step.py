"""How long does one optimizer step over 16 pictures take, and how much memory, beside others?

The same 16 samples (pictures of product-like shapes, question, answer), the same model in the
published layout with small random weights, float32, everything trained with AdamW:

- `loupe`: one step of `loupe train`, batch 16, the first that sees these pictures;
  `loupe_frozen` with a frozen tower, whose work is then still done anew in each step;
  `loupe_features` with what that tower saw in the pass before, as from the second pass on.
- `cookbook`: Microsoft's code, trained as the Phi-3 Cookbook does; `cookbook_kept` without its
  gradient checkpointing, which takes less time; `cookbook_frozen` with a frozen tower.
- `tutorial`: the tutorial's loop as it is, which never encodes a picture; `tutorial_seeing` does.

Contenders but our own need a folder of Microsoft's files and a Python that runs them. Each turn is
a process of its own, in turns with the others; ratios are of processor time, because wall time on
shared cores tells more of the neighbours. In so small a model with the published vocabulary the
head weighs more than in the published one, so sparing logits gains more; `--vocabulary 1024` makes
the head as small beside the layers as it is there.

Usage: python benchmarks/train_step.py [--official FOLDER --official-python PYTHON]
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
sys.path.append(str(Path(__file__).parent / "side_by_side"))

import torch
import training
import transformers
from phi3_v import commit
from torch.utils.data import Dataset

from loupe import vlm
from loupe.options import TrainOptions
from loupe.phi3_v import Phi3VConfig, Phi3VForCausalLM, Phi3VImageProcessor, Phi3VProcessor
from loupe.predict import Predictor, task_beside
from loupe.tracking import JsonlTracker
from loupe.train.adapters import choose_trained
from loupe.train.batches import ExampleDataset
from loupe.train.examples import Example, Sample
from loupe.train.features import FEATURES, FeaturedDataset, FeatureStore
from loupe.train.pictures import PictureCache
from loupe.train.run import train_on

HERE = Path(__file__).parent
OURS: dict[str, dict[str, Any]] = {
    "loupe": {},
    "loupe_frozen": {"parts": {"tower": "frozen"}},
    "loupe_features": {"parts": {"tower": "frozen"}},
}
"""Options of `loupe train` that each of ours departs from the default in."""
THEIRS = ("cookbook", "cookbook_frozen", "cookbook_kept", "tutorial", "tutorial_seeing")


class Watched(Dataset[Sample]):
    """Samples as `loupe train` draws them; notes when the first of a step is drawn."""

    def __init__(
        self, samples: ExampleDataset | FeaturedDataset, watch: training.Stopwatch, unseen: int
    ) -> None:
        self._samples = samples
        self._watch = watch
        self._drawn = -unseen * len(samples)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._samples, name)

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, draw: tuple[int, int]) -> Sample:
        if self._drawn >= 0 and self._drawn % len(self) == 0:
            self._watch.note()
        self._drawn += 1
        return self._samples[draw]


def draw_samples(processor: Any, turn: dict[str, Any]) -> ExampleDataset:
    """Encode the samples as `loupe train` encodes rows."""
    samples = training.make_samples(turn["samples"], turn["shape"]["vocabulary"])
    examples = []
    for place, sample in enumerate(samples):
        size = sample.picture.height, sample.picture.width
        places = [training.IMAGE] * processor.image_processor.count_image_tokens(*size)
        prompt = (*sample.before, *places, *sample.after)
        examples.append(Example(f"row {place}", prompt, sample.answer, ""))
    pictures = PictureCache(lambda place: samples[place].picture, processor)
    return ExampleDataset(examples, range(len(examples)), pictures, seed=None)


class EndOfLastStep(JsonlTracker):
    """Notes when the run logs, which it does after its last step and before it saves."""

    def __init__(self, watch: training.Stopwatch) -> None:
        super().__init__()
        self._watch = watch

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Note the time."""
        self._watch.note()


def measure(turn: dict[str, Any]) -> dict[str, Any]:
    """One turn of ours: `train_on`, as `loupe train` calls it; a pass over the rows is a step."""
    decoder, tower = training.make_config(turn["shape"])
    config = Phi3VConfig(**decoder, vision_config=tower)
    # Token ids are given, so any tokenizer does.
    tokenizer = vlm.load_processor(vlm.TINY).tokenizer
    processor = Phi3VProcessor(Phi3VImageProcessor(num_crops=turn["num_crops"]), tokenizer)
    watch = training.Stopwatch()
    samples: ExampleDataset | FeaturedDataset = draw_samples(processor, turn)
    predictor = Predictor(Phi3VForCausalLM(config), processor, task_beside(vlm.TINY))
    with tempfile.TemporaryDirectory() as folder:
        options = TrainOptions(
            dataset="",
            output=folder,
            batch_size=turn["samples"],
            learning_rate=training.LEARNING_RATE,
            max_gradient_norm=training.MAX_GRADIENT_NORM,
            **OURS[turn["who"]],
        )
        predictor.model, _ = choose_trained(predictor.model, options, vlm.TINY)
        unseen = int(turn["who"] == "loupe_features")
        if unseen:  # the pass that keeps what it sees goes before
            keys = [f"{row:064x}" for row in range(len(samples))]
            store = FeatureStore(Path(folder) / FEATURES, "benchmark", torch.float32)
            samples = FeaturedDataset(samples, keys, store)
        train_on(
            predictor,
            Watched(samples, watch, unseen),
            None,
            options,
            EndOfLastStep(watch),
            unseen + turn["steps"],
        )
    return watch.found()


def run_turn(command: list[str], turn: dict[str, Any]) -> dict[str, Any]:
    """Measure in a process of its own, so that its peak of memory is its own."""
    done = subprocess.run(
        [*command, json.dumps(turn)], check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def collect(arguments: argparse.Namespace) -> dict[str, dict[str, list[float]]]:
    """Let the contenders take their steps in turns, `rounds` times."""
    turn = {
        "steps": arguments.steps,
        "samples": arguments.samples,
        "num_crops": arguments.num_crops,
        "shape": {
            "hidden": arguments.hidden,
            "layers": arguments.layers,
            "tower": arguments.tower,
            "tower_layers": arguments.tower_layers,
            "vocabulary": arguments.vocabulary,
        },
        "threads": arguments.threads,
        "official": str(arguments.official),
    }
    ours = [sys.executable, __file__, "--turn"]
    theirs = [arguments.official_python, str(HERE / "side_by_side" / "official_training.py")]
    commands = dict.fromkeys(OURS, ours)
    if arguments.official:
        commands |= dict.fromkeys(THEIRS, theirs)
    if arguments.only:
        commands = {who: commands[who] for who in arguments.only}
    found: dict[str, Any] = defaultdict(lambda: defaultdict(list))
    for _ in range(arguments.rounds):
        for who, command in commands.items():
            taken = run_turn(command, turn | {"who": who})
            print(who, taken, file=sys.stderr)
            for name, value in taken.items():
                found[who][name] += value if isinstance(value, list) else [value]
    return found


def summarise(
    taken: dict[str, list[float]], ours: dict[str, list[float]], samples: int
) -> dict[str, Any]:
    """Medians, extremes, and how many times as long as ours it took: median, least, most."""
    processor, own = taken["processor"], ours["processor"]
    return {
        "samples_per_processor_second": round(samples / statistics.median(processor), 3),
        "samples_per_second": round(samples / statistics.median(taken["wall"]), 3),
        "processor_seconds": [round(each, 2) for each in processor],
        "wall_seconds": [round(each, 2) for each in taken["wall"]],
        "peak_mib": round(max(taken["peak_mib"])),
        "before_mib": round(max(taken["before_mib"])),
        "slower_than_loupe": [
            round(statistics.median(processor) / statistics.median(own), 2),
            round(min(processor) / max(own), 2),
            round(max(processor) / min(own), 2),
        ],
    }


def print_table(results: dict[str, dict[str, Any]]) -> None:
    heads = f"{'who':<16}{'samples/CPU s':>14}{'CPU s':>9}{'wall s':>9}{'peak MiB':>10}"
    print(f"{heads}{'before':>8}  slower")
    for who, row in results.items():
        middle, least, most = row["slower_than_loupe"]
        print(
            f"{who:<16}{row['samples_per_processor_second']:>14.2f}"
            f"{statistics.median(row['processor_seconds']):>9.1f}"
            f"{statistics.median(row['wall_seconds']):>9.1f}{row['peak_mib']:>10}{row['before_mib']:>8}"
            f"  {middle:.2f}x ({least:.2f} to {most:.2f})"
        )


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=16, help="of a step, up to 16")
    parser.add_argument("--num-crops", type=int, default=4, help="4 as in Phi-3.5, 16 in Phi-3")
    parser.add_argument("--hidden", type=int, default=288, help="a multiple of 96")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--tower", type=int, default=128, help="its width, a multiple of 64")
    parser.add_argument("--tower-layers", type=int, default=3)
    parser.add_argument("--vocabulary", type=int, default=32064)
    parser.add_argument("--steps", type=int, default=1, help="steps in each turn")
    parser.add_argument("--rounds", type=int, default=2, help="turns of each contender")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="+", help="contenders, `loupe` first")
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
        print(json.dumps(measure(turn)))
        return
    found = collect(arguments)
    results = {
        who: summarise(taken, found["loupe"], arguments.samples) for who, taken in found.items()
    }
    print_table(results)
    settings = {
        name: value
        for name, value in vars(arguments).items()
        if name not in {"official", "official_python", "turn", "only"}
    }
    about = {
        "cpu_count": os.cpu_count(),
        "load_average": os.getloadavg(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "commit": commit(),
    }
    print(json.dumps({"benchmark": "train_step", "results": results, **settings, **about}))


if __name__ == "__main__":
    main()
