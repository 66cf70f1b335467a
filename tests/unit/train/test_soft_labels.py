"""What counts in the loss, and by how much."""

import math

import pytest
import torch

from loupe.errors import OptionError
from loupe.options import TrainOptions
from loupe.task import Task
from loupe.train.batches import IGNORED_LABEL, Collator, count_scored
from loupe.train.examples import Encoder, Sample
from loupe.train.soft_labels import SoftLabels, collect_spellings

from .conftest import coloured

PRICES = (10.0, 480.0, 490.0, 500.0, 1290.0)
SPREAD = 0.03


@pytest.fixture
def examples(predictor):
    encoder = Encoder(predictor.processor, Task.load())
    return [
        encoder.encode(
            str(price),
            {"title": "Bag 7", "category3_code": "BAGS", "full_price": price},
            [(60, 60)],
        )
        for price in PRICES
    ]


def collate(predictor, examples, weight, spread):
    soft = SoftLabels(predictor.processor.tokenizer, weight, spread, collect_spellings(examples))
    samples = [Sample(example, [coloured("red")]) for example in examples]
    return Collator(predictor.processor, soft)(samples)


def shares_of(predictor, batch, row):
    """What may stand at each token of the row's price, as text, with its weight."""
    text_of = predictor.processor.tokenizer.decode
    scored = torch.nonzero(batch["labels"][row] != IGNORED_LABEL).flatten().tolist()
    return [
        {
            text_of([token]): weight
            for token, weight in zip(
                batch["label_choices"][row, place].tolist(),
                batch["label_weights"][row, place].tolist(),
                strict=True,
            )
            if weight
        }
        for place in scored[-1 - len(str(PRICES[row])) : -1]
    ]


def test_the_places_of_a_price_are_its_tokens_in_the_answer(predictor, examples):
    text_of = predictor.processor.tokenizer.decode
    for example, price in zip(examples, PRICES, strict=True):
        (place,) = example.prices
        assert place.value == price
        assert text_of(example.answer_ids[place.begin : place.end]).strip() == str(price)


def test_prices_nearby_count_in_part_at_the_digits_where_they_part(predictor, examples):
    batch = collate(predictor, examples, 1.0, SPREAD)
    first, second, *rest = shares_of(predictor, batch, PRICES.index(490.0))
    below, above = (
        math.exp(-0.5 * (math.log(other / 490) / SPREAD) ** 2) for other in (480.0, 500.0)
    )
    total = 1 + below + above
    assert first == pytest.approx({"4": (1 + below) / total, "5": above / total})
    assert second == pytest.approx({"9": 1 / (1 + below), "8": below / (1 + below)})
    assert rest == [{"0": 1.0}, {".": 1.0}, {"0": 1.0}]


def test_a_price_without_neighbours_counts_alone(predictor, examples):
    batch = collate(predictor, examples, 1.0, SPREAD)
    assert shares_of(predictor, batch, PRICES.index(1290.0)) == [{char: 1.0} for char in "1290.0"]


def test_only_digits_weigh_more(predictor, examples):
    batch = collate(predictor, examples, 3.0, 0.0)
    text_of = predictor.processor.tokenizer.decode
    assert batch["label_choices"].shape[2] == 1
    for weights, labels in zip(batch["label_weights"][..., 0], batch["labels"], strict=True):
        scored = labels != IGNORED_LABEL
        words = [text_of([label]).strip() for label in labels[scored]]
        assert weights[scored].tolist() == [3.0 if word.isdigit() else 1.0 for word in words]
        assert "7" in words  # of the title


def test_the_loss_is_the_cross_entropy_against_the_shares(predictor, examples):
    batch = collate(predictor, examples, 2.0, SPREAD)
    soft = {name: batch.pop(name) for name in ("label_choices", "label_weights")}
    del batch["row_ids"]
    with torch.no_grad():
        loss = predictor.model(**batch, **soft).loss.item()
        logits = predictor.model(**batch).logits
    likelihoods = logits[:, :-1].log_softmax(-1)
    dense = torch.zeros_like(likelihoods)
    dense.scatter_add_(2, soft["label_choices"][:, 1:], soft["label_weights"][:, 1:])
    dense[batch["labels"][:, 1:] == IGNORED_LABEL] = 0
    expected = -(likelihoods * dense).sum() / count_scored(batch["labels"])
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    with pytest.raises(ValueError, match="go together"):
        predictor.model(**batch, label_weights=soft["label_weights"])


@pytest.mark.parametrize("wrong", [{"digit_weight": 0.0}, {"price_spread": -0.1}])
def test_weights_that_cannot_be_meant_are_refused(wrong):
    with pytest.raises(OptionError, match="expected a weight above 0"):
        TrainOptions(dataset="data", output="model", **wrong)
