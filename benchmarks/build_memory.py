"""How much memory does `loupe build` need for a long table?

A table may be longer than memory: rows stream, and of each some hundred bytes stay. Measured is the
largest proportional set size of the whole command on tables of cached pictures, as a killed build
leaves them: all rows, titles and picture hashes differ, and every picture is read, compared by
likeness, split and written. The aim is a million rows within 1 GiB.

Usage: python benchmarks/build_memory.py [rows ...]
"""

import json
import os
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from build_fetch import draw, measure

from loupe.build.journal import picture_file
from loupe.build.output import Workplace
from loupe.build.pictures import HASH_BYTES, CheckedPicture, PictureRules, check_picture
from loupe.build.rows.examine import key_of
from loupe.build.rows.locate import Url
from loupe.options import BuildOptions

LINKS = 10_000  # to one file: a file system allows some ten thousand


def main() -> None:
    """Measure each size, print one JSON line."""
    results = []
    for rows in [int(word) for word in sys.argv[1:]] or [10_000, 1_000_000]:
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder)
            command = [
                sys.executable, "-m", "loupe", "build", "--source", f"{work}/table.parquet",
                "--output", f"{work}/data", "--image-column", "imageurl",
            ]  # fmt: skip
            urls = [f"https://shop.example/pictures/{row:08}.jpg" for row in range(rows)]
            _write_table(work / "table.parquet", urls)
            _fill_workplace(Workplace(work / ".data.loupe-build"), urls)
            results.append({"rows": rows} | measure(command))
            print(json.dumps(results[-1]), flush=True)
    print(json.dumps({"benchmark": "build_memory", "results": results, "cores": os.cpu_count()}))


def _write_table(path: Path, urls: list[str]) -> None:
    rows = range(len(urls))
    columns = {
        "product_code": [f"{row:08}" for row in rows],
        "title": [f"Leather shoulder bag number {row} of the catalogue" for row in rows],
        "category3_code": [f"KIND {row % 20}" for row in rows],
        "full_price": [20.0 + row % 977 for row in rows],
        "brand": ["Maison Exemple"] * len(urls),
        "itemurl": [f"https://shop.example/en-gb/products/leather-bag-{row:08}" for row in rows],
        "imageurl": urls,
    }
    pq.write_table(pa.table(columns), path)


def _fill_workplace(place: Workplace, urls: list[str]) -> None:
    """Write what a build leaves that was killed after it had fetched everything."""
    options = BuildOptions(source="", output="")
    rules = PictureRules(**{name: getattr(options, name) for name in PictureRules.__annotations__})
    for first in range(256):
        (place.spool / f"{first:02x}").mkdir(parents=True)
    (place.folder / "unfinished").touch()
    rng = np.random.default_rng(0)
    with place.journal.open("w") as journal:
        journal.write(json.dumps({"terms": asdict(rules)}) + "\n")
        for row, url in enumerate(urls):
            key = key_of(Url(url))
            path = picture_file(place.spool, key)
            if row % LINKS == 0:
                original = path
                path.write_bytes(draw(row, size_px=(64, 48)))
                checked = check_picture(path, rules, path.with_suffix(".rewritten"))
                assert isinstance(checked, CheckedPicture)
            else:
                path.hardlink_to(original)
            outcome = vars(checked) | {
                "path": f"{path.parent.name}/{path.name}",
                "pixel_sha256": f"{row:064x}",
                "perceptual_hash": int.from_bytes(rng.bytes(HASH_BYTES), "big"),
            }
            line = {"key": f"{key:016x}", "state": "kept", "outcome": outcome}
            line |= {"attempts": 1, "received_bytes": checked.size_bytes, "seconds": 0.02}
            journal.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
