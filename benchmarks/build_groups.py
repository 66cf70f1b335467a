"""What does the rule for near-identical pictures find and merge; what do strata gain and cost?

Pictures of the sample catalogue are made anew in ways that keep the product (compressed, halved,
and so on): each should be tied to its original. Products of different families should not be tied
to each other. Compared with pHash alone, which knows no colours. Then the catalogue's families
are dealt to splits with and without strata, with rows added behind and with the first ones gone.
Both matter because a split is only as good as its groups, and a catalogue grows.

Usage: python benchmarks/build_groups.py [--house corvane] [--rows 2000] [--hashes 1000000]
"""

import argparse
import io
import json
import platform
import string
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image, ImageDraw, ImageEnhance, ImageFont

from loupe.build.pictures.perceptual_hash import HASH_BYTES, perceptual_hash
from loupe.build.splits import likeness
from loupe.build.splits.audit import compare_with_random
from loupe.build.splits.likeness import find_alike
from loupe.build.splits.split import UNDECIDED, price_classes, split_groups
from loupe.options import SampleOptions
from loupe.sample import make_sample

BITS = 4
REMADE = 200  # pictures made anew in each way
SHARES = (0.7, 0.1, 0.2)


def compress(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


WAYS = {
    "compressed to quality 20": lambda image: compress(image, 20),
    "halved": lambda image: image.resize((image.width // 2, image.height // 2)),
    "a third, quality 60": lambda image: compress(image.resize((75, 75)), 60),
    "doubled": lambda image: image.resize((2 * image.width, 2 * image.height)),
    "cropped by 1 % a side": lambda image: image.crop((2, 2, image.width - 2, image.height - 2)),
    "cropped by 2 % a side": lambda image: image.crop((4, 4, image.width - 4, image.height - 4)),
    "5 % brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.05),
}


def pack(images: list[Image.Image]) -> np.ndarray:
    content = b"".join(perceptual_hash(image).to_bytes(HASH_BYTES, "big") for image in images)
    return np.frombuffer(content, np.uint8).reshape(len(images), HASH_BYTES)


def count_merged(keys: np.ndarray, families: np.ndarray) -> dict[str, int]:
    tied = [families[keys == key] for key in np.unique(keys[keys != 0])]
    wrong = [each for each in tied if len(np.unique(each)) > 1]
    return {
        "rows_tied": int((keys != 0).sum()),
        "rows_tied_across_families": sum(map(len, wrong)),
        "largest": max(map(len, tied), default=0),
    }


def draw_letters() -> list[Image.Image]:
    """Small things on white, each another one."""
    font, letters = ImageFont.load_default(80), []
    for letter in string.ascii_letters + string.digits:
        letters.append(Image.new("RGB", (224, 224), "white"))
        ImageDraw.Draw(letters[-1]).text((112, 112), letter, "black", font, anchor="mm")
    return letters


def measure_likeness(images: list[Image.Image], families: np.ndarray) -> dict[str, object]:
    hashes = pack(images)
    found = {}
    for name, way in WAYS.items():
        remade = pack([way(image) for image in images[:REMADE]])
        keys = find_alike(np.concatenate([hashes, remade]), BITS)
        again = keys[len(hashes) :]
        found[name] = float(((again != 0) & (again == keys[: len(again)])).mean())
    merged = count_merged(find_alike(hashes, BITS), families)
    limits = likeness._MAX_COLOUR_DIFFERENCE, likeness._MAX_OF_CONTRAST
    likeness._MAX_COLOUR_DIFFERENCE = likeness._MAX_OF_CONTRAST = 255.0
    alone = count_merged(find_alike(hashes, BITS), families)
    likeness._MAX_COLOUR_DIFFERENCE, likeness._MAX_OF_CONTRAST = limits
    letters = find_alike(pack(draw_letters()), BITS)
    return {
        "found": found,
        "merged": merged,
        "merged_by_phash_alone": alone,
        "letters_merged": count_merged(letters, np.arange(len(letters))),
    }


def measure_split(table: dict[str, list], hashes: np.ndarray, seed: int) -> dict[str, float]:
    prices = np.array(table["full_price"], float)
    categories = np.unique(table["category3_code"], return_inverse=True)[1].astype(np.uint64)
    families = np.array(table["family_id"], np.uint64)
    strata = categories * np.uint64(10_000) + (price_classes(prices) + 5000).astype(np.uint64)
    rows = len(families)

    def split(keep: slice, strata: np.ndarray) -> np.ndarray:
        kept = np.full(rows, UNDECIDED, np.int8)[keep]
        anchors = families[keep]
        return split_groups(anchors, anchors, strata[keep], kept, shares=SHARES, seed=seed)[0]

    whole, few, later = slice(None), slice(0, rows * 9 // 10), slice(rows // 10, None)
    found = {}
    alone = np.arange(rows).astype(np.uint64)[np.unique(families, return_inverse=True)[1]]
    for name, by in (("strata", strata), ("hash_alone", alone)):
        sides = split(whole, by)
        audit = compare_with_random(sides, families, hashes, prices, {"category": categories})
        unlike = audit["unlike_test_rows"]
        found[f"{name}_category_unlike"] = unlike["category"]["this_split"]
        found[f"{name}_price_unlike"] = unlike["price_decile"]["this_split"]
        error = audit["neighbour_price_error"]
        found[f"{name}_neighbour_error"] = error["this_split"]
        found["random_neighbour_error"] = error["random_split"]
        found[f"{name}_moved_by_a_tenth_more_rows"] = float(np.mean(split(few, by) != sides[few]))
        found[f"{name}_moved_by_losing_the_first_tenth"] = float(
            np.mean(split(later, by) != sides[later])
        )
    return found


def measure_speed(count: int) -> dict[str, float]:
    """Random hashes, a tenth of them twins of others, on backgrounds as light as a catalogue's."""
    random = np.random.default_rng(0)
    hashes = random.integers(0, 256, (count, HASH_BYTES), dtype=np.uint8)
    lightness = random.normal(225, 15, (count, 1)).clip(130, 255).astype(np.uint8)
    hashes[:, 8:] = lightness - hashes[:, 8:] // 2
    twins = count // 10
    hashes[:twins] = hashes[twins : 2 * twins]
    hashes[:twins, 0] ^= 1
    started = time.perf_counter()
    tied = int((find_alike(hashes, BITS) != 0).sum())
    return {"hashes": count, "tied": tied, "seconds": time.perf_counter() - started}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--house", default="corvane")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--hashes", type=int, default=1_000_000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sample = Path(folder) / "sample"
        make_sample(SampleOptions(output=str(sample), house=args.house, rows=args.rows))
        table = pq.read_table(sample / "products.parquet").to_pydict()
        images = [Image.open(sample / path).convert("RGB") for path in table["image"]]
    families = np.array(table["family_id"])
    result = {
        "house": args.house,
        "rows": args.rows,
        "bits": BITS,
        "likeness": measure_likeness(images, families),
        "split_mean_of_10_seeds": {},
        "speed": measure_speed(args.hashes),
        "machine": platform.machine(),
        "numpy": np.__version__,
    }
    hashes = pack(images)
    splits = [measure_split(table, hashes, seed) for seed in range(10)]
    result["split_mean_of_10_seeds"] = {
        name: round(float(np.mean([each[name] for each in splits])), 4) for name in splits[0]
    }
    for name, share in result["likeness"]["found"].items():
        print(f"{name:25} {share:6.1%} tied to the original")
    for name in ("merged", "merged_by_phash_alone", "letters_merged"):
        print(f"{name:25} {result['likeness'][name]}")
    for name, value in result["split_mean_of_10_seeds"].items():
        print(f"{name:45} {value:.4f}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
