"""The goods that the tiny base is pretrained on, and their pictures."""

import random
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from loupe.sample import Product, draw_picture, draw_products, picture_rng
from loupe.sample.goods import ACCENTS, COLOURS, KINDS

NO_HOUSE = "any"
HOUSES = ("alder", "mistral")
"""Not corvane, which the demo learns."""
DETAILS = ("metal", "detail", "size", "cloth", "pattern", "colour", "accent")
ONE_COLOURED = ("plain", "quilted")
"""Patterns that do not show the accent."""
PICTURE_SIZE_PX = 224  # as `loupe sample` draws them
SHIFT_PX = 6
BLANK_SHARE = 0.04


@dataclass(frozen=True)
class Drawn:
    """A product and its picture, (height, width, 3), uint8, at the size of the crops' grid."""

    product: Product
    picture: np.ndarray


def visible(product: Product, attribute: str) -> str:
    """Give an attribute's value; "" where the kind does not vary it or the pattern hides it."""
    if attribute == "accent" and product.pattern in ONE_COLOURED:
        return ""
    return getattr(product, attribute)


def invent_products(goods: int, rows: int, seed: int) -> list[Product]:
    """Invent that many goods of no house, and that many rows of each house."""
    of_houses = [each for house in HOUSES for each in draw_products(house, rows, seed)]
    return [*_invent_goods(goods, seed), *of_houses]


def _invent_goods(count: int, seed: int) -> list[Product]:
    """Invent goods of every kind, all looks as likely, without a title or a price."""
    rng = np.random.default_rng(seed)
    goods = []
    for index in range(count):
        kind = KINDS[str(rng.choice(list(KINDS)))]
        colour = str(rng.choice(list(COLOURS)))
        goods.append(
            Product(
                house=NO_HOUSE,
                kind=kind.name,
                colour=colour,
                accent=str(rng.choice(ACCENTS[colour])),
                pattern=str(rng.choice(kind.patterns)),
                cloth=str(rng.choice(kind.cloths)),
                size=str(rng.choice(kind.sizes)),
                detail=str(rng.choice(kind.details)),
                metal=str(rng.choice(kind.metals)),
                family_id=index,
                product_code=index,
                title="",
                category="",
                colour_word=None,
                pattern_word=None,
                full_price=0.0,
                best_full_price=0.0,
                lawful_price=0.0,
                discount=0.0,
            )
        )
    return goods


def draw_goods(
    products: list[Product], seed: int, side: int, kept: Path | None = None
) -> list[Drawn]:
    """Draw products as `loupe sample` does, shrunk to the grid of crops.

    `kept` is a file of pictures that were drawn before, or where to keep them.
    """
    if kept is not None and kept.is_file():
        pictures = np.load(kept)
    else:
        started = time.time()
        with ProcessPoolExecutor() as pool:
            jobs = [(product, seed, side) for product in products]
            pictures = np.stack(list(pool.map(_draw, jobs, chunksize=50)))
        print(f"drew {len(pictures)} pictures in {time.time() - started:.0f} s", flush=True)
        if kept is not None:
            np.save(kept, pictures)
    return [Drawn(*each) for each in zip(products, pictures, strict=True)]


def _draw(job: tuple[Product, int, int]) -> np.ndarray:
    product, seed, side = job
    picture = draw_picture(product, PICTURE_SIZE_PX, picture_rng(product, seed))
    return np.asarray(picture.resize((side, side), Image.Resampling.BILINEAR))


def augment(picture: np.ndarray, rng: random.Random) -> Image.Image:
    """Mirror and shift a picture by a little; what it uncovers repeats the edge. Or blank it."""
    if rng.random() < BLANK_SHARE:
        return Image.new("RGB", picture.shape[1::-1], tuple(rng.choices(range(256), k=3)))
    if rng.random() < 0.5:
        picture = picture[:, ::-1]
    rows, columns = picture.shape[:2]
    padded = np.pad(picture, ((SHIFT_PX,) * 2, (SHIFT_PX,) * 2, (0, 0)), mode="edge")
    top, left = rng.randint(0, 2 * SHIFT_PX), rng.randint(0, 2 * SHIFT_PX)
    return Image.fromarray(np.ascontiguousarray(padded[top : top + rows, left : left + columns]))
