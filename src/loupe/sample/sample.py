"""Make a sample: draw a house's products and pictures and write them as a folder."""

import json
import logging
import platform
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pyarrow as pa
import pyarrow.parquet as pq

from loupe.errors import SampleError
from loupe.options import SampleOptions, save_options
from loupe.sample.catalogue import Product, draw_products
from loupe.sample.contact_sheet import draw_contact_sheet
from loupe.sample.house import House
from loupe.sample.houses import find_house
from loupe.sample.law import price_error, simulated_best_error
from loupe.sample.table import image_column, to_table
from loupe.sample.write_pictures import JPEG_QUALITY, write_pictures

logger = logging.getLogger(__name__)

TABLE_FILE = "products.parquet"
STATEMENT_FILE = "sample.json"
SHEET_FILE = "contact_sheet.jpg"
SIMULATED_PRODUCTS = 500
MIN_IMAGE_SIZE_PX, MAX_IMAGE_SIZE_PX = 32, 2048
HD_ONLY = (
    "leather grain and canvas weave, finer than the cloth's sheen and seams",
    "stitches",
    "watch hands and marks",
    "buttons' holes, laces' eyelets and zip teeth",
)
"""Details that small pictures lose. None of them decides a label."""


@dataclass(frozen=True)
class Sample:
    """What `make_sample` wrote."""

    output: Path
    statement: dict[str, Any]
    """What stands in sample.json."""
    views: int = 1
    """Pictures of each product."""

    def summary(self) -> str:
        """Tell a person what was invented, and what to run next."""
        columns = " ".join(map(image_column, range(1, self.views + 1)))
        counts, best = self.statement["counts"], self.statement["best_possible"]
        return (
            f"{self.statement['house'].capitalize()} sells {counts['rows']:,} products of "
            f"{counts['families']:,} families in {len(counts['categories'])} categories\n"
            f"No reader of the pictures can price them closer than a median error of "
            f"{best['full_price_median_ape']:.1%}\n"
            f"Wrote {counts['rows'] * self.views:,} pictures and their table to {self.output}. "
            f"Next: `loupe build --source {self.output} --output data"
            f"{'' if self.views == 1 else f' --image-column {columns}'}`"
        )

    def to_dict(self) -> dict[str, Any]:
        """Give the same as plain data."""
        return {"output": str(self.output), **self.statement}


def make_sample(options: SampleOptions) -> Sample:
    """Draw a catalogue and its pictures into the options' output folder.

    Everything is written under another name beside it; the folder takes its own name only when it
    is complete, so an interrupted run leaves nothing that a second one would trust.

    Raises:
        SampleError: the house is unknown, a number is out of range, or the folder is not ours to
            replace.
    """
    house = find_house(options.house)
    _check_numbers(options)
    output = Path(options.output)
    _check_output(output, overwrite=options.overwrite)
    products = draw_products(house.name, options.rows, options.seed)
    statement = describe_sample(house, products, options.seed, options.image_size_px)
    with _finished_folder(output.absolute()) as folder:
        write_pictures(
            products,
            folder,
            options.image_size_px,
            options.seed,
            options.workers,
            options.views,
        )
        draw_contact_sheet(products, folder).save(folder / SHEET_FILE, quality=JPEG_QUALITY)
        save_options(options, folder)
        pq.write_table(to_table(products, options.seed, options.views), folder / TABLE_FILE)
        text = json.dumps(statement, indent=2, ensure_ascii=False)
        (folder / STATEMENT_FILE).write_text(text + "\n", "utf-8")
    return Sample(output, statement, options.views)


def describe_sample(
    house: House, products: Sequence[Product], seed: int, image_size_px: int
) -> dict[str, Any]:
    """The sample's statement: its seed, its law, and the best error that a reader can reach."""
    best = price_error(
        [product.full_price for product in products],
        [product.best_full_price for product in products],
    )
    lawful = [product.lawful_price for product in products[:SIMULATED_PRODUCTS]]
    simulated = simulated_best_error(house, lawful, seed)
    return {
        "house": house.name,
        "seed": seed,
        "image_size_px": image_size_px,
        "law": _describe_law(house),
        "best_possible": {
            **{f"full_price_{name}": value for name, value in best.as_dict().items()},
            "simulated": {
                f"full_price_{name}": value for name, value in simulated.as_dict().items()
            },
        },
        "counts": _count(products),
        "hd_only": list(HD_ONLY),
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "pillow": PIL.__version__,
            "pyarrow": pa.__version__,
        },
    }


def _describe_law(house: House) -> dict[str, Any]:
    return {
        "formula": "full_price = round_like_a_shop(base_price * product of factors * exp(noise))",
        "noise": "normal, mean 0, one draw per product family",
        "noise_sigma": house.price_noise_sigma,
        "rounding": "nearest 5 below 150, 10 below 1500, 50 from there",
        "factors": {name: dict(factors) for name, factors in house.factors.items()},
        "factor_when_not_listed": 1.0,
        "goods": {kind: asdict(good) for kind, good in house.goods.items()},
        "title_order": list(house.grammar),
        "words": {name: dict(words) for name, words in house.words.items()},
    }


def _count(products: Sequence[Product]) -> dict[str, Any]:
    categories = sorted({product.category for product in products})
    return {
        "rows": len(products),
        "families": len({product.family_id for product in products}),
        "titles": len({product.title for product in products}),
        "categories": {
            category: sum(product.category == category for product in products)
            for category in categories
        },
    }


def _check_numbers(options: SampleOptions) -> None:
    if options.rows < 1:
        raise SampleError(f"sample.rows is {options.rows}; a sample needs at least 1 row.")
    if options.views < 1:
        raise SampleError(f"sample.views is {options.views}; a product needs at least 1 picture.")
    if not MIN_IMAGE_SIZE_PX <= options.image_size_px <= MAX_IMAGE_SIZE_PX:
        raise SampleError(
            f"sample.image_size_px is {options.image_size_px}; pictures are drawn from "
            f"{MIN_IMAGE_SIZE_PX} to {MAX_IMAGE_SIZE_PX} pixels a side."
        )
    if options.seed < 0 or options.workers < 0:
        raise SampleError(
            f"sample.seed is {options.seed} and sample.workers {options.workers}; "
            "neither can be negative (0 workers means one per core)."
        )


def _check_output(output: Path, *, overwrite: bool) -> None:
    if not output.exists():
        return
    if not output.is_dir():
        raise SampleError(f"{output} is a file; set sample.output to a folder.")
    if not any(output.iterdir()):
        return
    if not overwrite:
        raise SampleError(
            f"{output} is not empty. Set sample.output to another folder, or pass --overwrite to "
            "replace the sample there."
        )
    if not (output / STATEMENT_FILE).is_file():
        raise SampleError(
            f"{output} holds no {STATEMENT_FILE}, so it is not a sample and is not overwritten. "
            "Set sample.output to another folder."
        )


@contextmanager
def _finished_folder(output: Path) -> Iterator[Path]:
    """A folder to write into, which takes the output's name once the block has ended well."""
    output.parent.mkdir(parents=True, exist_ok=True)
    working = output.parent / f".{output.name}.unfinished"
    _remove(working)
    (working / "images").mkdir(parents=True)
    try:
        yield working
        _remove(output)
        working.rename(output)
    finally:
        _remove(working)


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
