"""How many pictures a second does one core draw, by size and by kind of goods?

It matters because a base model is pretrained on pictures drawn on the fly, and because the demo
draws its catalogue while the reader waits. Compared with: a throw-away trial of a like technique,
which drew 47 pictures of 224 px per CPU-second. The CPU seconds of this process are counted, not
wall time; neighbours on the same cores still slow it, so the load is recorded.

Usage: python benchmarks/sample_pictures.py [repeats]
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import time

import numpy
import PIL

from loupe.sample import draw_picture, draw_products, picture_rng

SIZES_PX = (112, 224, 336, 512)
PICTURES = 60
HOUSE = "corvane"


def main() -> None:
    """Measure, print a table, end with one JSON line."""
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    products = draw_products(HOUSE, PICTURES, seed=0)
    _rate(products[:8], 64)  # fill the caches of textures
    rates = {size: [_rate(products, size) for _ in range(repeats)] for size in SIZES_PX}
    print(f"{'pixels':>7}  {'pictures per core-second':>25}  spread over {repeats} runs")
    for size, values in rates.items():
        print(f"{size:>7}  {statistics.median(values):>25.1f}  {min(values):.1f}-{max(values):.1f}")
    by_kind = _milliseconds_by_kind()
    print("\nmilliseconds a picture at 224 px, dearest kinds first")
    for kind, milliseconds in by_kind.items():
        print(f"{kind:>14}  {milliseconds:6.1f}")
    print(json.dumps(_record(rates, by_kind)))


def _rate(products: list, size_px: int) -> float:
    start = time.process_time()
    for product in products:
        draw_picture(product, size_px, picture_rng(product, 0))
    return len(products) / (time.process_time() - start)


def _milliseconds_by_kind() -> dict[str, float]:
    kinds: dict[str, list] = {}
    for product in draw_products(HOUSE, 600, seed=1):
        kinds.setdefault(product.kind, []).append(product)
    times = {kind: 1000 / _rate(products[:6], 224) for kind, products in kinds.items()}
    ordered = sorted(times.items(), key=lambda entry: -entry[1])
    return {kind: round(milliseconds, 1) for kind, milliseconds in ordered}


def _record(rates: dict[int, list[float]], by_kind: dict[str, float]) -> dict:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return {
        "pictures_per_core_second": {
            size: {
                "median": round(statistics.median(values), 1),
                "low": round(min(values), 1),
                "high": round(max(values), 1),
            }
            for size, values in rates.items()
        },
        "milliseconds_by_kind_224_px": by_kind,
        "load_average": round(os.getloadavg()[0], 1),
        "cores": os.cpu_count(),
        "hardware": platform.processor() or platform.machine(),
        "versions": {
            "python": platform.python_version(),
            "numpy": numpy.__version__,
            "pillow": PIL.__version__,
        },
        "commit": commit.stdout.strip(),
    }


if __name__ == "__main__":
    main()
