"""How long `loupe --help` and `import loupe` take: people wait for them at every turn.

Compared with the 0.5 s that we promise on 2 cores. Each is a fresh process, timed from outside.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import time

COMMANDS = {
    "loupe --help": ["-m", "loupe", "--help"],
    "loupe train --help": ["-m", "loupe", "train", "--help"],
    "import loupe": ["-c", "import loupe"],
    "python alone": ["-c", "pass"],
}
REPEATS = 11


def seconds_of(words: list[str]) -> float:
    """Time one process."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    """Print a table and one JSON line."""
    results = {}
    for name, words in COMMANDS.items():
        seconds_of(words)
        times = [seconds_of(words) for _ in range(REPEATS)]
        results[name] = {
            "median_seconds": round(statistics.median(times), 4),
            "min_seconds": round(min(times), 4),
            "max_seconds": round(max(times), 4),
        }
        print(f"{name:<20} {results[name]['median_seconds']:.3f} s")
    print(
        json.dumps(
            {
                "benchmark": "startup",
                "results": results,
                "repeats": REPEATS,
                "cores": os.cpu_count(),
                "machine": platform.machine(),
                "python": platform.python_version(),
            }
        )
    )


if __name__ == "__main__":
    main()
