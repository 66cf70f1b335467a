"""Draw the picture of a product."""

import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image

from loupe.sample.catalogue import Product
from loupe.sample.pictures import accessories, bags, bottoms, hard_goods, shoes, tops
from loupe.sample.pictures.canvas import Canvas
from loupe.sample.pictures.scene import draw_scene, finish

DRAWINGS: dict[str, Callable[[Canvas, Product], None]] = {
    "tote": bags.draw_tote,
    "shoulder bag": bags.draw_shoulder_bag,
    "backpack": bags.draw_backpack,
    "wallet": bags.draw_wallet,
    "belt": bags.draw_belt,
    "sneakers": shoes.draw_sneakers,
    "boots": shoes.draw_boots,
    "pumps": shoes.draw_pumps,
    "t-shirt": tops.draw_t_shirt,
    "shirt": tops.draw_shirt,
    "sweater": tops.draw_sweater,
    "coat": tops.draw_coat,
    "trousers": bottoms.draw_trousers,
    "skirt": bottoms.draw_skirt,
    "dress": bottoms.draw_dress,
    "scarf": accessories.draw_scarf,
    "cap": accessories.draw_cap,
    "beanie": accessories.draw_beanie,
    "gloves": accessories.draw_gloves,
    "socks": accessories.draw_socks,
    "tie": accessories.draw_tie,
    "sunglasses": hard_goods.draw_sunglasses,
    "watch": hard_goods.draw_watch,
    "umbrella": hard_goods.draw_umbrella,
}
STANDING = frozenset(
    ("tote", "shoulder bag", "backpack", "sneakers", "boots", "pumps", "belt", "cap", "beanie")
)
"""Kinds that stand on the studio's floor; the others lie flat."""


def draw_picture(product: Product, image_size_px: int, rng: np.random.Generator) -> Image.Image:
    """The product's picture, square and RGB; pose, light and backdrop are drawn from `rng`."""
    scene = draw_scene(rng, is_standing=product.kind in STANDING)
    canvas = Canvas(image_size_px, scene.pose, scene.light)
    DRAWINGS[product.kind](canvas, product)
    return finish(canvas, scene)


def picture_rng(product: Product, seed: int, view: int = 1) -> np.random.Generator:
    """The generator of one view of a product: no picture depends on which was drawn before it."""
    key = [seed, zlib.crc32(product.house.encode()), product.product_code]
    return np.random.default_rng(key if view == 1 else [*key, view])
