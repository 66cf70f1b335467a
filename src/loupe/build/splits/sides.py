"""Group the kept rows, put each on its side, and measure what that did."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
import pyarrow.parquet as pq

from loupe.build.dataset import Dataset, split_file
from loupe.build.hashing import hash_text
from loupe.build.journal import Journal
from loupe.build.output import FINISHED_FILE
from loupe.build.pictures import CheckedPicture
from loupe.build.rows.examine import Examined
from loupe.build.splits.audit import audit_split, compare_with_random
from loupe.build.splits.groups import Hashes, Rows, group_rows, name_groups
from loupe.build.splits.likeness import find_alike
from loupe.build.splits.pictures import gather_looks
from loupe.build.splits.split import SPLITS, UNDECIDED, Sides, price_classes, split_groups
from loupe.options import BuildOptions
from loupe.task import Task

__all__ = ["Placement", "place_rows"]


@dataclass(frozen=True)
class Placement:
    """The group and the side of each row of the table, of no meaning where it was rejected.

    Both (rows,); `record` tells how the split was made, with its audit.
    """

    groups: Hashes
    sides: Sides
    record: dict[str, Any]


def place_rows(
    examined: Examined, journal: Journal, task: Task, options: BuildOptions
) -> Placement:
    """Choose the group and the side of each kept row.

    Raises:
        BuildError: there are fewer groups than splits.
        DatasetError: keep_sides names a folder that is no dataset.
    """
    usable = np.flatnonzero(examined.places >= 0)
    kept = usable[journal.kept[examined.places[usable]]]  # rows of the table
    looks = gather_looks(examined, journal, kept)
    found = {"picture": looks.pixels}
    if options.likeness_bits is not None:
        found["likeness"] = find_alike(looks.hashes, options.likeness_bits)
    if options.likeness_model is not None:
        found["embedding"] = _embed(looks.places, journal, options)
    keys = {rule: column[kept] for rule, column in examined.keys.items()}
    keys |= {rule: each[looks.main] for rule, each in found.items()}
    stock_pictures = 0
    if len(looks.further):
        alone = group_rows(keys)
        for rule, each in found.items():
            keys[rule], stock = looks.tie(each, alone)
            stock_pictures = max(stock_pictures, stock)
    pixels, hashes = looks.pixels[looks.main], looks.hashes[looks.main]
    titles = keys.get("title", np.zeros_like(pixels))
    anchors = np.where(titles == 0, pixels, titles)
    groups = name_groups(group_rows(keys), anchors)
    prices = _choose_prices(examined, task)[kept]
    choices = {name: column[kept] for name, column in examined.choices.items()}
    held = _recall(_choose_earlier(options), groups, pixels)
    train_share = 1 - options.validation_share - options.test_share
    sides, policy = split_groups(
        groups,
        anchors,
        _cross([price_classes(prices).astype(np.uint64), *choices.values()]),
        held,
        shares=(train_share, options.validation_share, options.test_share),
        seed=options.seed,
    )
    audit = audit_split(sides, groups, keys)
    assert audit["test_rows_leaked"] == 0, f"{audit['test_rows_leaked']} test rows leaked"
    if examined.names_more:
        audit["stock_pictures"] = stock_pictures
    audit |= compare_with_random(sides, groups, hashes, prices, choices)
    placement = Placement(
        groups=np.zeros(len(examined.places), np.uint64),
        sides=np.zeros(len(examined.places), np.int8),
        record={"policy": policy, "seed": options.seed, "audit": audit},
    )
    placement.groups[kept], placement.sides[kept] = groups, sides
    return placement


def _embed(places: Rows, journal: Journal, options: BuildOptions) -> Hashes:
    from loupe.build.splits.embeddings import embed_pictures, find_close

    assert options.likeness_model is not None
    outcomes = (journal.read(int(place)).outcome for place in places)
    paths = (each.path for each in outcomes if isinstance(each, CheckedPicture))
    embeddings = embed_pictures(paths, len(places), options.likeness_model)
    return find_close(embeddings, options.likeness_cosine)


def _choose_prices(examined: Examined, task: Task) -> npt.NDArray[np.float64]:
    """Give the task's first price, else its first number, of each row; else NaN."""
    names = sorted(examined.numbers, key=lambda name: task.fields[name].type != "price")
    return examined.numbers[names[0]] if names else np.full(len(examined.places), np.nan)


def _cross(factors: list[Hashes]) -> Hashes:
    """Number the combinations of values that there are: (rows,)."""
    _, numbers = np.unique(np.stack(factors, axis=1), axis=0, return_inverse=True)
    return numbers.astype(np.uint64)


def _choose_earlier(options: BuildOptions) -> str | None:
    """Give the dataset whose rows stay where they are: one named, or the one tried again."""
    is_again = options.retry is not None and (Path(options.output) / FINISHED_FILE).exists()
    return options.keep_sides or (options.output if is_again else None)


def _recall(folder: str | None, groups: Hashes, pixels: Hashes) -> Sides:
    """Give the side that a row's picture, else its group, had in an earlier dataset."""
    held = np.full(len(groups), UNDECIDED, np.int8)
    if folder is None:
        return held
    earlier = Dataset.open(folder).path
    for side, split in enumerate(SPLITS):
        table = pq.read_table(earlier / split_file(split), columns=["group_id"])
        names = [int(name, 16) for name in table["group_id"].unique().to_pylist()]
        held[np.isin(groups, np.array(names, np.uint64))] = side
    fates = pq.read_table(earlier / "ledger.parquet", columns=["fate", "pixel_sha256"])
    for side, split in enumerate(SPLITS):
        known = fates.filter(pc.field("fate") == split)["pixel_sha256"].unique().to_pylist()
        texts = [hash_text(f"picture {each}") for each in known]
        held[np.isin(pixels, np.array(texts, np.uint64))] = side
    return held
