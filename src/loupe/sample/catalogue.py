"""The catalogue: which products a house sells, each with the attributes that its picture shows."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from loupe.sample.goods import ACCENTS, KINDS
from loupe.sample.house import House
from loupe.sample.houses import find_house
from loupe.sample.law import lawful_price, round_like_a_shop, tag_price

VARIANT_WEIGHTS = (0.42, 0.3, 0.18, 0.1)
"""How often a family has 1, 2, 3 and 4 variants."""
COLOUR_WEIGHTS = {"black": 1.7, "ivory": 1.3, "navy": 1.3, "camel": 1.2, "violet": 0.8}
"""Colours not listed weigh 1."""
DISCOUNTS = (0.2, 0.3, 0.4, 0.5)
DISCOUNTED_SHARE = 0.15


@dataclass(frozen=True, kw_only=True)
class Product:
    """One row of the catalogue.

    Attributes without a value in this kind are `""`. `colour_word` and `pattern_word` are the
    phrases that the title uses, `None` where it names none. Prices are in US dollars.
    """

    house: str
    kind: str
    colour: str
    accent: str
    pattern: str
    cloth: str
    size: str
    detail: str
    metal: str
    family_id: int
    product_code: int
    title: str
    category: str
    colour_word: str | None
    pattern_word: str | None
    full_price: float
    best_full_price: float
    lawful_price: float
    discount: float


def draw_products(house: str, rows: int, seed: int) -> list[Product]:
    """Invent that many products of a house; the same seed gives the same products.

    Families come whole and in shuffled order, except the last, which is cut to the number of rows.

    Raises:
        SampleError: there is no such house.
    """
    brand = find_house(house)
    rng = np.random.default_rng([seed, zlib.crc32(house.encode())])
    products: list[Product] = []
    for family in _families(brand, rng):
        products.extend(family)
        if len(products) >= rows:
            break
    del products[rows:]
    order = rng.permutation(len(products))
    return [products[index] for index in order]


def title_of(house: House, kind: str, attributes: dict[str, str]) -> str:
    """The title that the house's grammar gives to these attributes."""
    named = house.goods[kind].named
    words = []
    for part in house.grammar:
        if part == "noun":
            words.append(house.goods[kind].noun)
        elif part == "in":
            words.extend(["in"] if "colour" in named else [])
        elif part in named:
            words.append(house.words[part].get(attributes[part], ""))
    return " ".join(word for word in words if word)


def _families(house: House, rng: np.random.Generator) -> Iterator[list[Product]]:
    code = house.first_code
    family_id = 0
    while True:
        family_id += 1
        code += 10 * int(rng.integers(1, 8))
        yield _draw_family(house, rng, family_id, code)


def _draw_family(
    house: House, rng: np.random.Generator, family_id: int, code: int
) -> list[Product]:
    kind = _pick(rng, {name: good.weight for name, good in house.goods.items()})
    attributes = _draw_attributes(house, kind, rng)
    lawful = lawful_price(house, kind, attributes)
    named = house.goods[kind].named
    colour_word = house.words["colour"][attributes["colour"]] if "colour" in named else None
    founder = Product(
        house=house.name,
        kind=kind,
        accent=str(rng.choice(ACCENTS[attributes["colour"]])),
        family_id=family_id,
        product_code=code + int(rng.integers(1, 6)),
        title=title_of(house, kind, attributes),
        category=house.goods[kind].category,
        colour_word=colour_word,
        pattern_word=house.words["pattern"].get(attributes["pattern"]),
        full_price=tag_price(lawful, house, rng),
        best_full_price=round_like_a_shop(lawful),
        lawful_price=lawful,
        discount=0.0,
        **attributes,
    )
    count = 1 + int(rng.choice(len(VARIANT_WEIGHTS), p=VARIANT_WEIGHTS))
    return [_vary(founder, index, house, rng) for index in range(count)]


def _draw_attributes(house: House, kind: str, rng: np.random.Generator) -> dict[str, str]:
    goods = KINDS[kind]
    words = house.words["colour"]
    return {
        "colour": _pick(rng, {name: COLOUR_WEIGHTS.get(name, 1.0) for name in words}),
        "pattern": _pick(rng, {name: house.pattern_weights[name] for name in goods.patterns}),
        "cloth": str(rng.choice(goods.cloths)),
        "size": str(rng.choice(goods.sizes)),
        "detail": str(rng.choice(goods.details)),
        "metal": str(rng.choice(goods.metals)),
    }


def _vary(founder: Product, index: int, house: House, rng: np.random.Generator) -> Product:
    """A variant: another main colour where the title names none, else another accent."""
    discount = float(rng.choice(DISCOUNTS)) if rng.random() < DISCOUNTED_SHARE else 0.0
    variant = replace(founder, product_code=founder.product_code + index, discount=discount)
    if index == 0:
        return variant
    colour = founder.colour
    if founder.colour_word is None:
        palette = list(house.words["colour"])
        colour = palette[(palette.index(colour) + 5 * index) % len(palette)]
    accents = ACCENTS[colour]
    accent = (
        accents[(accents.index(founder.accent) + index) % len(accents)]
        if (founder.accent in accents)
        else accents[index % len(accents)]
    )
    return replace(variant, colour=colour, accent=accent)


def _pick(rng: np.random.Generator, weights: dict[str, float]) -> str:
    share = np.array(list(weights.values()))
    return str(list(weights)[int(rng.choice(len(weights), p=share / share.sum()))])
