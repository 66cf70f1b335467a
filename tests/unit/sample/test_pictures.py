"""How products look: `loupe.sample.pictures`."""

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from loupe.sample import draw_picture, draw_products, picture_rng
from loupe.sample.goods import ACCENTS, COLOURS, KINDS
from loupe.sample.pictures.draw import DRAWINGS

SMALL_PX = 112  # what the demo's model sees
POSES = 3


@pytest.fixture(scope="module")
def tote():
    return next(p for p in draw_products("alder", 300, 0) if p.kind == "tote")


def dress_up(product, kind, **changes):
    """The product as a plain one of another kind, every attribute at its first value."""
    goods = KINDS[kind]
    attributes = {
        "kind": kind,
        "pattern": "plain",
        "cloth": goods.cloths[0],
        "size": goods.sizes[-1],
        "detail": goods.details[0],
        "metal": goods.metals[0],
    } | changes
    attributes.setdefault("accent", ACCENTS[attributes.get("colour", product.colour)][0])
    return replace(product, **attributes)


def see(product, pose=0, size_px=SMALL_PX):
    rng = np.random.default_rng([pose, 99])
    return np.asarray(draw_picture(product, size_px, rng), dtype=float)


def test_every_kind_has_a_drawing():
    assert set(DRAWINGS) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_look_of_a_kind_can_be_drawn_and_fills_the_frame(tote, kind):
    goods = KINDS[kind]
    for pattern in goods.patterns:
        for size in goods.sizes:
            product = dress_up(tote, kind, colour="navy", pattern=pattern, size=size)
            picture = see(product, size_px=64)
            assert picture.shape == (64, 64, 3)
            darker = picture.mean(axis=2) < 0.8 * np.median(picture[:3])
            assert 0.08 < darker.mean() < 0.85


def test_a_picture_depends_on_product_and_seed_alone(tote):
    first = draw_picture(tote, 64, picture_rng(tote, 1)).tobytes()
    draw_picture(dress_up(tote, "scarf"), 64, picture_rng(tote, 1))
    assert draw_picture(tote, 64, picture_rng(tote, 1)).tobytes() == first
    assert draw_picture(tote, 64, picture_rng(tote, 2)).tobytes() != first


def test_variants_of_a_family_do_not_share_a_picture(tote):
    sibling = replace(tote, product_code=tote.product_code + 1)
    pictures = [draw_picture(p, 64, picture_rng(p, 0)).tobytes() for p in (tote, sibling)]
    assert pictures[0] != pictures[1]


def colour_of(picture):
    """The median colour of the picture's middle, where garments are."""
    middle = picture[44:68, 40:72].reshape(-1, 3)
    return np.median(middle, axis=0)


@pytest.mark.parametrize("kind", ["t-shirt", "shirt", "skirt", "sweater", "backpack", "wallet"])
def test_main_colours_are_nearest_to_themselves_at_112_px(tote, kind):
    seen = {
        colour: [colour_of(see(dress_up(tote, kind, colour=colour), pose)) for pose in range(POSES)]
        for colour in COLOURS
    }
    centroids = {colour: np.mean(samples, axis=0) for colour, samples in seen.items()}
    for colour, samples in seen.items():
        for sample in samples:
            nearest = min(centroids, key=lambda name: np.linalg.norm(centroids[name] - sample))
            assert nearest == colour


@pytest.mark.parametrize(
    ("kind", "attribute"),
    [
        ("tote", "metal"),
        ("tote", "cloth"),
        ("tote", "size"),
        ("shoulder bag", "detail"),
        ("belt", "detail"),
        ("boots", "cloth"),
        ("boots", "detail"),
        ("pumps", "cloth"),
        ("coat", "cloth"),
        ("trousers", "cloth"),
        ("shirt", "cloth"),
        ("sweater", "cloth"),
        ("cap", "cloth"),
        ("sunglasses", "metal"),
        ("watch", "size"),
        ("umbrella", "size"),
    ],
)
def test_priced_cues_change_what_112_px_show(tote, kind, attribute):
    field = {"metal": "metals", "cloth": "cloths", "size": "sizes", "detail": "details"}[attribute]
    values = getattr(KINDS[kind], field)
    pictures = [see(dress_up(tote, kind, colour="red", **{attribute: value})) for value in values]
    for other in pictures[1:]:
        visible = np.abs(other - pictures[0]).max(axis=2) > 24  # a tenth of full brightness
        assert visible.sum() > 40  # pixels of 112 x 112


def test_patterns_differ_in_how_much_and_where_the_second_colour_lies(tote):
    patterns = defaultdict(list)
    for pattern in KINDS["t-shirt"].patterns:
        product = dress_up(tote, "t-shirt", colour="navy", pattern=pattern)
        patterns[pattern] = see(product)[40:80, 36:76].mean(axis=2) > 120
    shares = {name: float(mask.mean()) for name, mask in patterns.items()}
    assert shares["plain"] == 0
    assert all(0.12 < share < 0.62 for name, share in shares.items() if name != "plain")


def test_large_and_small_pictures_show_the_same_scene(tote):
    small = see(tote, size_px=64)
    large = Image.fromarray(see(tote, size_px=256).astype(np.uint8)).reduce(4)
    assert np.abs(np.asarray(large, dtype=float) - small).mean() < 6  # of 255
