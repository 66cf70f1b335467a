"""Do number-aware prices (digit_weight, price_spread) lower the price error?

Two sample houses, each fine-tuned from the tiny base by the options of examples/tiny.yaml for a
fixed number of steps, with three seeds: once with every token of the answer counted alike, once
with digits weighted and prices nearby partly right. Both are evaluated on the same test rows with
`--price median`, and compared by `loupe compare`, whose intervals are over rows and seeds. What is
finished in the folder is kept, so that the benchmark can be stopped and goes on.

Usage: python benchmarks/train_prices.py [--steps 200] [--rows 3000] [--seeds 3] [--folder FOLDER]
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
HOUSES = ("corvane", "mistral")
RECIPES = {
    "plain": ("--digit-weight", "1", "--price-spread", "0"),
    "aware": ("--digit-weight", "4", "--price-spread", "0.1"),
}
SCORES = ("full_price_median_ape", "full_price_mean_abs_log_error", "full_price_within_10_percent",
          "title_token_f1", "category3_code_accuracy")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--folder", type=Path, default=Path("build/train_prices"))
    args = parser.parse_args()
    found = {house: measure_house(args, house) for house in HOUSES}
    for house, comparison in found.items():
        print(f"{house}: {comparison['rows']} test rows, {args.seeds} seeds a recipe")
        for name in SCORES:
            score = comparison["scores"][name]
            held = score["advantage"]
            print(
                f"  {name:32} plain {score['first']:.4f}  aware {score['second']:.4f}  better by "
                f"{held['value']:+.4f} ({held['low']:+.4f} to {held['high']:+.4f})"
            )
    record = {
        "benchmark": "train_prices",
        "steps": args.steps,
        "rows": args.rows,
        "seeds": args.seeds,
        "houses": {
            house: {name: comparison["scores"][name] for name in SCORES}
            for house, comparison in found.items()
        },
        "machine": platform.machine(),
    }
    print(json.dumps(record))


def measure_house(args: argparse.Namespace, house: str) -> dict:
    """Make the house's dataset, run every recipe with every seed, and compare the two."""
    folder = args.folder / house
    sample, data = folder / "sample", folder / "data"
    make(sample / "sample.json", "sample", "--house", house, "--rows", args.rows, "--seed", 1,
         "--output", sample)  # fmt: skip
    make(data / "dataset.json", "build", "--source", sample, "--output", data, "--group-by", "kind",
         "colour", "pattern", "--validation-share", 0.04, "--test-share", 0.12)  # fmt: skip
    for seed in range(args.seeds):
        for recipe, options in RECIPES.items():
            model = folder / f"{recipe}-{seed}" / "model"
            make(model / "training.json", "train", "--dataset", data, "--output", model, "--config",
                 EXAMPLES / "tiny.yaml", "--max-steps", args.steps, "--max-minutes", 600, "--seed",
                 seed, "--threads", args.threads, "--evaluations", 0, *options)  # fmt: skip
            make(model.parent / "evaluation/report.html", "evaluate", "--model", model, "--dataset",
                 data, "--output", model.parent / "evaluation", "--twins", "false", "--price",
                 "median", "--threads", args.threads)  # fmt: skip
    patterns = [folder / f"{recipe}-*" / "evaluation" for recipe in RECIPES]
    return json.loads(loupe("compare", *patterns, "--json"))


def make(finished: Path, *words: object) -> None:
    """Run a stage, unless the file that it writes last stands."""
    if not finished.exists():
        print("loupe", *words, file=sys.stderr, flush=True)
        loupe(*words)


def loupe(*words: object) -> str:
    """Run a command; give what it printed."""
    command = [sys.executable, "-m", "loupe", *map(str, words)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.returncode)
    return done.stdout


if __name__ == "__main__":
    main()
