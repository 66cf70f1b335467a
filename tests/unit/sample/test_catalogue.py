"""What is sold, under which title: `loupe.sample.catalogue`."""

from dataclasses import asdict
from itertools import product as every

import pytest

from loupe.errors import SampleError
from loupe.sample import HOUSES, draw_products
from loupe.sample.catalogue import title_of
from loupe.sample.goods import ACCENT_RGB, ACCENTS, COLOURS, KINDS

ATTRIBUTES = ("colour", "pattern", "cloth", "size", "detail", "metal")


@pytest.mark.parametrize("house", HOUSES)
def test_same_seed_gives_the_same_products(house):
    assert draw_products(house, 120, 3) == draw_products(house, 120, 3)
    assert draw_products(house, 120, 3) != draw_products(house, 120, 4)


@pytest.mark.parametrize("house", HOUSES)
def test_title_follows_from_attributes(house):
    for product in draw_products(house, 400, 0):
        attributes = {name: asdict(product)[name] for name in ATTRIBUTES}
        assert product.title == title_of(HOUSES[house], product.kind, attributes)


@pytest.mark.parametrize("house", HOUSES)
def test_every_possible_title_has_three_to_seven_words_unless_it_is_plain_and_bare(house):
    for kind, good in HOUSES[house].goods.items():
        goods = KINDS[kind]
        for values in every(
            COLOURS, goods.patterns, goods.cloths, goods.sizes, goods.details, goods.metals
        ):
            title = title_of(HOUSES[house], kind, dict(zip(ATTRIBUTES, values, strict=True)))
            assert 3 <= len(title.split()) <= 7, title
            assert good.noun in title


@pytest.mark.parametrize("house", HOUSES)
def test_colour_and_pattern_words_are_in_the_title_or_null(house):
    for product in draw_products(house, 400, 1):
        assert product.pattern_word is None or product.pattern_word in product.title
        assert (product.pattern_word is None) == (product.pattern == "plain")
        names_colour = "colour" in HOUSES[house].goods[product.kind].named
        assert (product.colour_word is not None) == names_colour
        assert product.colour_word is None or product.colour_word in product.title


@pytest.mark.parametrize("house", HOUSES)
def test_a_family_shares_title_and_price_under_neighbouring_codes(house):
    families = {}
    for product in draw_products(house, 500, 2):
        families.setdefault(product.family_id, []).append(product)
    assert max(len(family) for family in families.values()) == 4
    for family in families.values():
        assert len({(p.title, p.full_price, p.best_full_price, p.category) for p in family}) == 1
        codes = sorted(product.product_code for product in family)
        assert codes[-1] - codes[0] < 4


@pytest.mark.parametrize("house", HOUSES)
def test_variants_change_main_colour_only_where_the_title_names_none(house):
    families = {}
    for product in draw_products(house, 500, 2):
        families.setdefault(product.family_id, []).append(product)
    for family in families.values():
        colours = {product.colour for product in family}
        expected = 1 if family[0].colour_word else len(family)
        assert len(colours) == expected


def test_product_codes_are_unique():
    codes = [p.product_code for house in HOUSES for p in draw_products(house, 1000, 0)]
    assert len(set(codes)) == len(codes)


def test_houses_use_different_words_and_cover_enough_kinds():
    for house in HOUSES.values():
        assert len(house.goods) >= 14
        assert len({good.category for good in house.goods.values()}) == len(house.goods)
        assert len(set(house.words["colour"].values())) == len(COLOURS)
    words = [set(house.words["colour"].values()) for house in HOUSES.values()]
    assert not words[0] & words[1]
    assert not words[1] & words[2]


def test_second_colours_stand_out_on_their_grounds():
    for colour, accents in ACCENTS.items():
        for accent in accents:
            pairs = zip(COLOURS[colour], ACCENT_RGB[accent], strict=True)
            assert max(abs(a - b) for a, b in pairs) > 70


def test_unknown_house_is_refused_by_name():
    with pytest.raises(SampleError, match=r"no house named 'burbery'; the houses are alder, corv"):
        draw_products("burbery", 1, 0)
