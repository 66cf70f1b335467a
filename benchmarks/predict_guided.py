"""What does guidance by the grammar cost, beside free decoding of the same pictures?

The tiny base reads pictures of its own sample house, guided and freely, in turns; processor seconds
of the best turn, one thread. Both write the same answers where the free one parses, so the work is
equal; what guidance adds is the masks, what it saves are the steps of what is certain.

Usage: python benchmarks/predict_guided.py [--pictures 96] [--batch-size 1 8 32] [--turns 3]
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from loupe.predict import Predictor
from loupe.predict.pictures import find_pictures, open_picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=96)
    parser.add_argument("--batch-size", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--turns", type=int, default=3)
    args = parser.parse_args()
    predictor = Predictor.load("tiny", device="cpu", threads=1)
    with tempfile.TemporaryDirectory() as folder:
        command = ["sample", "--house", "alder", "--rows", str(args.pictures), "--output", folder]
        subprocess.run([sys.executable, "-m", "loupe", *command, "--overwrite"], check=True)
        pictures = [open_picture(path) for path in find_pictures([f"{folder}/images"])]
    results = [measure(predictor, pictures, size, args.turns) for size in args.batch_size]
    for result in results:
        print(
            f"batch {result['batch_size']:>3}: guided {result['guided_seconds']:.2f} s, free "
            f"{result['free_seconds']:.2f} s, {100 * result['cost']:+.1f} %; parsed "
            f"{result['guided_parsed']:.3f} and {result['free_parsed']:.3f}; "
            f"{result['same_text']:.3f} alike"
        )
    record = {
        "benchmark": "predict_guided",
        "pictures": len(pictures),
        "results": results,
        "load_average": round(os.getloadavg()[0], 1),
        "machine": platform.machine(),
    }
    print(json.dumps(record))


def measure(predictor: Predictor, pictures: list, batch_size: int, turns: int) -> dict:
    """Answer the pictures both ways, in turns."""
    seconds: dict[str, list[float]] = {"guided": [], "free": []}
    answers = {}
    for _ in range(turns):
        for decoding, taken in seconds.items():
            started = time.process_time()
            answers[decoding] = predictor.predict(
                pictures, batch_size=batch_size, decoding=decoding
            )
            taken.append(time.process_time() - started)
    best = {decoding: min(taken) for decoding, taken in seconds.items()}
    pairs = list(zip(answers["guided"], answers["free"], strict=True))
    return {
        "batch_size": batch_size,
        **{f"{decoding}_seconds": round(value, 3) for decoding, value in best.items()},
        "cost": round(best["guided"] / best["free"] - 1, 4),
        **{
            f"{decoding}_parsed": sum(answer.values is not None for answer in given) / len(given)
            for decoding, given in answers.items()
        },
        "same_text": sum(one.text == other.text for one, other in pairs) / len(pairs),
    }


if __name__ == "__main__":
    main()
