import re
from itertools import islice

import numpy as np
import pytest
import torch
from PIL import Image

from loupe import vlm
from loupe.predict import Predictor
from loupe.predict.prices import PriceDistribution, _numeric_tokens, read_prices
from loupe.predict.readings import POINTS
from loupe.sample import draw_picture, draw_products, picture_rng

VALUES = [
    {"title": "Bag", "category3_code": "BAGS", "full_price": 10.0},
    {"title": "A much longer Title in Tan", "category3_code": "BAGS", "full_price": 250.0},
]
PICTURES = [Image.new("RGB", (60, 60), "red"), Image.new("RGB", (90, 30), "blue")]


@pytest.fixture(scope="module")
def base():
    return Predictor.load("tiny", device="cpu")


def share_said(predictor, picture, values, tokens):
    """The probability of these tokens after the answer so far, and of what ends a price then."""
    task, processor = predictor.task, predictor.processor
    answer, places = task.format_fields(values)
    prompt = vlm.make_dialogue(processor, task.question).prompt
    text = prompt + answer[: places["full_price"][0]].rstrip()
    inputs = dict(processor(text=[text], images=[[picture]], return_tensors="pt"))
    more = torch.tensor([tokens])
    length = inputs["input_ids"].shape[1]
    inputs["input_ids"] = torch.cat([inputs["input_ids"], more], dim=1)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    with torch.inference_mode():
        shares = predictor.model(**inputs).logits[0, length - 1 :].double().softmax(dim=-1)
    numeric = [token for token, _ in _numeric_tokens(processor.tokenizer)]
    steps = shares[:-1].gather(1, more.T).prod()
    return float(steps * (1 - shares[-1, numeric].sum()))


def test_shares_are_those_of_the_tokens_said_one_by_one(base):
    vocabulary = base.processor.tokenizer.get_vocab()
    found = read_prices(base, PICTURES, VALUES, "full_price")
    for picture, values, distribution in zip(PICTURES, VALUES, found, strict=True):
        for place in np.argsort(distribution.shares)[-3:]:
            text = base.task.fields["full_price"].format(distribution.values[place])
            said = [vocabulary[piece] for piece in f"\u2581{text}"]
            expected = share_said(base, picture, values, said)
            assert distribution.shares[place] == pytest.approx(expected, rel=1e-3)
            assert expected > 0.01


def test_a_batch_reads_what_single_pictures_do(base):
    together = read_prices(base, PICTURES, VALUES, "full_price")
    for picture, values, both in zip(PICTURES, VALUES, together, strict=True):
        (alone,) = read_prices(base, [picture], [values], "full_price")
        shares = [dict(zip(each.values, each.shares, strict=True)) for each in (alone, both)]
        # a beginning that is just likely enough may fall to either side by rounding
        gaps = [abs(shares[0].get(v, 0) - shares[1].get(v, 0)) for v in {*shares[0], *shares[1]}]
        assert sorted(gaps)[-3] < 1e-5
        assert max(gaps) < 0.01


def test_the_base_reads_most_of_its_prices(base):
    pictures, values = [], []
    for product in islice(draw_products("alder", 50, 5), 4):
        pictures.append(draw_picture(product, 224, picture_rng(product, 5)))
        values.append(VALUES[0] | {"title": product.title, "category3_code": product.category})
    for distribution in read_prices(base, pictures, values, "full_price"):
        assert distribution.unread < 0.3
        assert distribution.shares.sum() + distribution.unread == pytest.approx(1)
        assert (np.diff(distribution.values) > 0).all()


def test_the_median_takes_the_place_of_the_price_and_not_of_the_words(base, monkeypatch):
    said = "Product: Bag, Category: BAGS, Full Price: 10.0"
    monkeypatch.setattr(
        "loupe.predict.generation.generate_texts", lambda *_: [said, "nothing of the kind"]
    )
    read, silent = base.predict(PICTURES, price="median")
    assert read.text == said
    assert read.values["title"] == "Bag"
    (distribution,) = read_prices(base, PICTURES[:1], VALUES[:1], "full_price")
    assert read.values["full_price"] == distribution.median() != 10.0
    assert silent.values is None
    assert base.predict(PICTURES)[0].values["full_price"] == 10.0


def test_quantiles_are_prices_that_may_be_said():
    prices = PriceDistribution(np.array([10.0, 20.0, 500.0]), np.array([0.2, 0.3, 0.3]), 0.2)
    assert [prices.quantile(share) for share in (0.0, 0.25, 0.3, 0.625, 0.7, 1.0)] == [
        10.0, 10.0, 20.0, 20.0, 500.0, 500.0,
    ]  # fmt: skip
    assert prices.median() == 20.0
    with pytest.raises(ValueError, match="no price"):
        PriceDistribution(np.zeros(0), np.zeros(0), 1.0).median()


def brute_force(predictor, picture, values, least):
    """Every price whose beginnings are likely enough, each in a forward pass of its own."""
    task, processor = predictor.task, predictor.processor
    answer, places = task.format_fields(values)
    prompt = vlm.make_dialogue(processor, task.question).prompt
    text = prompt + answer[: places["full_price"][0]].rstrip()
    inputs = dict(processor(text=[text], images=[[picture]], return_tensors="pt"))
    numeric, found = _numeric_tokens(processor.tokenizer), {}

    def follow(tokens, said, share):
        more = torch.tensor([tokens], dtype=torch.long)
        whole = torch.cat([inputs["input_ids"], more], dim=1)
        asked = {**inputs, "input_ids": whole, "attention_mask": torch.ones_like(whole)}
        with torch.inference_mode():
            following = predictor.model(**asked).logits[0, -1].double().softmax(dim=-1)
        try:
            value = task.fields["full_price"].parse(said.strip())
        except ValueError:
            pass
        else:
            ended = share * (1 - sum(float(following[token]) for token, _ in numeric))
            found[value] = found.get(value, 0.0) + ended
        for token, piece in numeric:
            grown = share * float(following[token])
            if grown >= least and re.fullmatch(r" ?(\d+\.?\d*)?", said + piece):
                follow([*tokens, token], said + piece, grown)

    follow([], "", 1.0)
    return found


def test_all_prices_are_those_of_brute_force(base, monkeypatch):
    least = 0.04
    monkeypatch.setattr("loupe.predict.prices.LEAST_SHARE", least)
    (found,) = read_prices(base, PICTURES[:1], VALUES[:1], "full_price")
    expected = brute_force(base, PICTURES[0], VALUES[0], least)
    assert len(expected) > 5
    assert dict(zip(found.values, found.shares, strict=True)) == pytest.approx(expected, abs=1e-5)
    assert found.unread == pytest.approx(1 - sum(expected.values()), abs=1e-4)


def test_means_deviation_and_probability_are_those_of_what_was_read():
    prices = PriceDistribution(np.array([10.0, 40.0]), np.array([0.3, 0.3]), 0.4)
    assert prices.mean() == 25.0
    assert prices.geometric_mean() == pytest.approx(20.0)
    assert prices.log_deviation() == pytest.approx(np.log(2))
    assert prices.probability(40.0) == 0.3
    assert prices.probability(20.0) == 0.0


def test_a_price_of_nothing_has_no_logarithm():
    free = PriceDistribution(np.array([0.0, 5.0]), np.array([0.5, 0.5]), 0.0)
    assert (free.mean(), free.log_deviation()) == (2.5, 0.0)
    assert free.geometric_mean() == pytest.approx(5.0)
    nothing = PriceDistribution(np.array([0.0]), np.array([1.0]), 0.0)
    assert (nothing.geometric_mean(), nothing.log_deviation()) == (0.0, np.inf)


@pytest.mark.parametrize(
    ("share", "best"), [("median", "absolute"), ("mean", "square"), ("geometric", "log square")]
)
def test_each_reading_minimises_its_own_error(share, best):
    generator = np.random.default_rng(5)
    values = np.sort(generator.lognormal(5, 1, 30))
    prices = PriceDistribution(values, generator.dirichlet(np.ones(30)), 0.0)
    errors = {
        "absolute": lambda at: (prices.shares * np.abs(values - at)).sum(),
        "square": lambda at: (prices.shares * (values - at) ** 2).sum(),
        "log square": lambda at: (prices.shares * (np.log(values) - np.log(at)) ** 2).sum(),
    }
    point = POINTS[share](prices)
    for other in (*values, point * 0.99, point * 1.01):
        assert errors[best](point) <= errors[best](other) + 1e-9


@pytest.mark.parametrize("price", ["median", "mean", "geometric"])
def test_readings_are_rounded_to_the_fields_decimals(base, price):
    said = base.predict(PICTURES, price="said")
    for one, other, reading in zip(
        said, base.predict(PICTURES, price=price), base.read(PICTURES, said), strict=True
    ):
        assert reading.read(base.task, price) == other
        assert other.text == one.text
        if other.values:
            point = POINTS[price](reading.prices["full_price"])
            assert other.values["full_price"] == round(point, 1)
            assert reading.read(base.task, "said") == one
