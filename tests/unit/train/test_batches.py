import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from loupe.train.batches import (
    IGNORED_LABEL,
    Collator,
    LengthGroupedOrder,
    count_scored,
    samples_at_once,
)


def draws_of(order, epoch=0):
    order.set_epoch(epoch)
    return list(order)


def lengths(count=700):
    return random.Random(0).choices(range(20, 90), k=count)


def padding_share(order, sizes, batch_size):
    places = [place for place, _ in draws_of(order)]
    batches = [places[at : at + batch_size] for at in range(0, len(places), batch_size)]
    padded = sum(len(batch) * max(sizes[place] for place in batch) for batch in batches)
    return 1 - sum(sizes) / padded


def test_every_example_is_drawn_once_in_a_pass():
    sizes = lengths()
    draws = draws_of(LengthGroupedOrder(sizes, 16, seed=0), epoch=3)
    assert sorted(place for place, _ in draws) == list(range(700))
    assert {epoch for _, epoch in draws} == {3}


def test_the_order_depends_on_seed_and_pass_alone():
    def order(seed, epoch):
        return [place for place, _ in draws_of(LengthGroupedOrder(lengths(), 16, seed), epoch)]

    assert order(1, 2) == order(1, 2)
    assert order(1, 2) != order(1, 3)
    assert order(1, 2) != order(2, 2)


def test_batches_of_like_lengths_need_little_padding():
    sizes = lengths()
    assert padding_share(LengthGroupedOrder(sizes, 16, seed=0), sizes, 16) < 0.06


def test_only_the_last_batch_is_short():
    sizes = lengths(16 * 33 + 5)  # more than one pool, and a rest
    places = [place for place, _ in draws_of(LengthGroupedOrder(sizes, 16, seed=0))]
    spread = [np.ptp([sizes[place] for place in places[at : at + 16]]) for at in range(0, 512, 16)]
    assert max(spread) <= 10  # batches hold like lengths, so none is cut in two


def test_labels_are_the_answer_and_its_end_and_nothing_else(predictor, make):
    rows, _ = make.rows(predictor, 3)
    samples = [rows[place, 0] for place in range(3)]

    batch = Collator(predictor.processor)(samples)

    tokens = max(len(sample.example) for sample in samples)
    assert batch["input_ids"].shape == batch["labels"].shape == (3, tokens)
    assert batch["row_ids"] == ["row 0", "row 1", "row 2"]
    for sample, ids, mask, labels in zip(
        samples, batch["input_ids"], batch["attention_mask"], batch["labels"], strict=True
    ):
        example = sample.example
        assert tuple(ids[mask.bool()].tolist()) == example.prompt_ids + example.answer_ids
        assert tuple(labels[labels != IGNORED_LABEL].tolist()) == example.answer_ids
        assert predictor.processor.tokenizer.decode(example.answer_ids[-1]) == "<|end|>"
        assert not (labels[: len(example.prompt_ids)] != IGNORED_LABEL).any()
    assert count_scored(batch["labels"]) == sum(len(s.example.answer_ids) for s in samples)


@pytest.mark.parametrize("family", ["tiny_checkpoint", "llava_checkpoint"])
def test_a_batch_has_the_mean_loss_of_its_samples(make, request, family):
    predictor = make.predictor(request.getfixturevalue(family))
    rows, _ = make.rows(predictor, 4)
    samples = [rows[place, 0] for place in range(4)]
    collate = Collator(predictor.processor)

    def loss_of(some):
        batch = collate(some)
        del batch["row_ids"]
        with torch.no_grad():
            return predictor.model(**batch).loss.item(), count_scored(batch["labels"])

    alone = [loss_of([sample]) for sample in samples]
    total = sum(loss * count for loss, count in alone) / sum(count for _, count in alone)
    # other order of float32 sums
    assert loss_of(samples)[0] == pytest.approx(total, abs=1e-5)


def test_a_varied_picture_differs_from_pass_to_pass_and_not_within(predictor, make):
    rows, _ = make.rows(predictor, 2, seed=5)
    first, again, second = (np.asarray(rows[0, epoch].picture) for epoch in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, second)


def test_pictures_are_left_alone_without_a_seed(predictor, make):
    rows, _ = make.rows(predictor, 2)
    assert np.array_equal(rows[0, 0].picture, rows[0, 1].picture)
    assert len(rows) == 2
    assert rows.lengths == [len(example) for example in rows.examples]


@pytest.mark.parametrize(
    ("batch_size", "longest", "device", "counts", "expected"),
    [
        (16, 130, "cpu", True, 16),
        (16, 800, "cpu", True, 2),
        (16, 2500, "cpu", True, 1),
        (12, 1000, "cpu", True, 3),
        (3, 9000, "cpu", True, 1),
        (16, 2500, "cuda", True, 16),
        (16, 2500, "cpu", False, 16),
    ],
)
def test_a_cpu_works_off_long_samples_in_pieces_that_divide_the_batch(
    batch_size, longest, device, counts, expected
):
    model = SimpleNamespace(accepts_loss_kwargs=counts)
    assert samples_at_once(model, batch_size, longest, device) == expected
