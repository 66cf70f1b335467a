"""The table: products as rows with the columns of the real sets, plus their attributes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from loupe.sample.catalogue import Product
from loupe.sample.goods import KINDS
from loupe.sample.houses import HOUSES

REAL_COLUMNS = (
    "website_name", "competence_date", "country_code", "currency_code", "brand",
    "category1_code", "category2_code", "category3_code", "product_code", "title", "itemurl",
    "imageurl", "full_price", "price", "full_price_eur", "price_eur", "flg_discount",
)  # fmt: skip
"""The columns of DBQ/Burberry.Product.prices.United.States, in their order."""

NOT_AVAILABLE = "N.A."
EUR_PER_USD = 0.92
COMPETENCE_DATE = "2024-06-03"
LINES = ("WOMEN", "MEN", "UNISEX")
WOMENS = ("skirt", "dress", "pumps", "shoulder bag")
MISSING_SHARE = 0.04


def image_path(product: Product, view: int = 1) -> str:
    """Where a product's picture lies, relative to the sample's folder; views count from 1."""
    mark = "" if view == 1 else f"-{view}"
    return f"images/{product.house}-{product.product_code}{mark}.jpg"


def to_table(products: Sequence[Product], seed: int, views: int = 1) -> pa.Table:
    """The products as a table: the real columns first, then the pictures, then the attributes."""
    rng = np.random.default_rng([seed, 17])
    return pa.Table.from_pylist(
        [_real_row(product, rng) | _attribute_row(product, views) for product in products],
        _schema(views),
    )


def _real_row(product: Product, rng: np.random.Generator) -> dict[str, Any]:
    brand = product.house.upper()
    site = f"https://www.{product.house}.example"
    group = HOUSES[product.house].category_groups[KINDS[product.kind].group]
    slug = "-".join(product.title.lower().split())
    price = round(product.full_price * (1.0 - product.discount), 2)
    line, group, address = _with_gaps(
        rng,
        "WOMEN" if product.kind in WOMENS else LINES[product.family_id % len(LINES)],
        group,
        f"{site}/us/{slug}-p{product.product_code}",
    )
    return {
        "website_name": product.house.capitalize(),
        "competence_date": COMPETENCE_DATE,
        "country_code": "USA",
        "currency_code": "USD",
        "brand": brand,
        "category1_code": line,
        "category2_code": group,
        "category3_code": product.category,
        "product_code": product.product_code,
        "title": product.title,
        "itemurl": address,
        "imageurl": f"https://images.{product.house}.example/{product.product_code}.jpg",
        "full_price": product.full_price,
        "price": price,
        "full_price_eur": round(product.full_price * EUR_PER_USD, 2),
        "price_eur": round(price * EUR_PER_USD, 2),
        "flg_discount": int(product.discount > 0),
    }


def _with_gaps(rng: np.random.Generator, *values: str) -> list[str]:
    """The values, a few of them replaced by the real sets' mark for a missing one."""
    gaps = rng.random(len(values)) < MISSING_SHARE
    return [NOT_AVAILABLE if gap else value for value, gap in zip(values, gaps, strict=True)]


def image_column(view: int) -> str:
    """Name the column with a view's picture; views count from 1."""
    return "image" if view == 1 else f"image_{view}"


def _attribute_row(product: Product, views: int) -> dict[str, Any]:
    names = ("kind", "colour", "accent", "pattern", "cloth", "size", "detail", "metal")
    return {
        **{image_column(view): image_path(product, view) for view in range(1, views + 1)},
        **{name: getattr(product, name) for name in names},
        "family_id": product.family_id,
        "colour_word": product.colour_word,
        "pattern_word": product.pattern_word,
        "best_full_price": product.best_full_price,
    }


def _schema(views: int) -> pa.Schema:
    numbers = {
        "product_code": pa.int64(), "flg_discount": pa.int64(), "family_id": pa.int64(),
        "full_price": pa.float64(), "price": pa.float64(), "full_price_eur": pa.float64(),
        "price_eur": pa.float64(), "best_full_price": pa.float64(),
    }  # fmt: skip
    ours = (
        *map(image_column, range(1, views + 1)),
        "kind", "colour", "accent", "pattern", "cloth", "size", "detail", "metal", "family_id",
        "colour_word", "pattern_word", "best_full_price",
    )  # fmt: skip
    return pa.schema([(name, numbers.get(name, pa.string())) for name in (*REAL_COLUMNS, *ours)])
