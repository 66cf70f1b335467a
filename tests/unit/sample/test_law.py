"""The price law and its best error: `loupe.sample.law`."""

import numpy as np
import pytest

from loupe.sample import HOUSES, draw_products
from loupe.sample.law import (
    lawful_price,
    price_error,
    round_like_a_shop,
    simulated_best_error,
    tag_price,
)

ATTRIBUTES = ("size", "detail", "cloth", "pattern", "metal")


@pytest.mark.parametrize(
    ("price", "tag"), [(3, 5), (62.3, 60), (149, 150), (487, 490), (1496, 1500), (2312, 2300)]
)
def test_prices_are_rounded_like_a_shop(price, tag):
    assert round_like_a_shop(price) == tag


@pytest.mark.parametrize("house", HOUSES)
def test_price_follows_from_visible_attributes_and_noise(house):
    brand = HOUSES[house]
    for product in draw_products(house, 300, 0):
        attributes = {name: getattr(product, name) for name in ATTRIBUTES}
        lawful = lawful_price(brand, product.kind, attributes)
        assert product.lawful_price == lawful
        assert product.best_full_price == round_like_a_shop(lawful)
        five_sigma_and_rounding = 5 * brand.price_noise_sigma + 0.15
        assert abs(np.log(product.full_price / lawful)) < five_sigma_and_rounding


@pytest.mark.parametrize("house", HOUSES)
def test_best_error_on_rows_agrees_with_simulation(house):
    products = draw_products(house, 6000, 0)
    best = price_error([p.full_price for p in products], [p.best_full_price for p in products])
    simulated = simulated_best_error(
        HOUSES[house], [p.lawful_price for p in products[:500]], seed=0
    )
    # About 3,000 families: the median's standard error is near 0.0008, the mean's near 0.0008.
    assert best.median_ape == pytest.approx(simulated.median_ape, abs=0.004)
    assert best.log_error == pytest.approx(simulated.log_error, abs=0.004)


@pytest.mark.parametrize("house", HOUSES)
def test_no_rescaled_guess_beats_the_law_by_more_than_a_hair(house):
    brand = HOUSES[house]
    rng = np.random.default_rng(0)
    lawful = [p.lawful_price for p in draw_products(house, 1500, 5)]
    tags = [tag_price(price, brand, rng) for price in lawful]
    best = price_error(tags, [round_like_a_shop(price) for price in lawful]).median_ape
    for scale in (0.96, 0.98, 1.02, 1.04):
        rescaled = price_error(tags, [scale * price for price in lawful]).median_ape
        assert rescaled > best - 0.003  # a share of the price


@pytest.mark.parametrize("house", HOUSES)
def test_knowing_the_category_is_far_from_knowing_the_price(house):
    products = draw_products(house, 4000, 0)
    prices = {}
    for product in products:
        prices.setdefault(product.category, []).append(product.full_price)
    medians = [float(np.median(prices[product.category])) for product in products]
    assert price_error([p.full_price for p in products], medians).median_ape > 0.3


@pytest.mark.parametrize("house", HOUSES)
def test_prices_have_a_heavy_tail(house):
    prices = [product.full_price for product in draw_products(house, 3000, 0)]
    assert np.percentile(prices, 99) > 7 * np.median(prices)
