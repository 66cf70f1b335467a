import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from loupe.errors import TrainError
from loupe.options import TrainOptions
from loupe.train.batches import (
    IGNORED_LABEL,
    Collator,
    FilledDataset,
    Filler,
    LengthGroupedOrder,
    TokenBatches,
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


def places_of(batches, epoch=0):
    return [[place for place, _ in batch] for batch in draws_of(batches, epoch)]


def test_a_batch_holds_no_more_tokens_than_it_may():
    sizes = lengths()
    batches = places_of(TokenBatches(sizes, 1000, seed=0))
    padded = [len(batch) * max(sizes[place] for place in batch) for batch in batches]
    assert max(padded) <= 1000
    assert sorted(place for batch in batches for place in batch) == list(range(700))
    assert 1 - sum(sizes) / sum(padded) < 0.02
    counts = sorted(map(len, batches))[1:]  # without what is left over
    assert counts[0] == 1000 // 89  # few long ones
    assert counts[-1] > 40  # or many short


def test_all_passes_have_as_many_batches_of_as_many_samples():
    sizes = lengths()
    batches = TokenBatches(sizes, 1000, seed=0)
    passes = [places_of(batches, epoch) for epoch in range(5)]
    assert {len(each) for each in passes} == {len(batches)}
    assert len({tuple(sorted(map(len, each))) for each in passes}) == 1


def test_token_batches_depend_on_seed_and_pass_alone():
    def order(seed, epoch):
        return places_of(TokenBatches(lengths(), 1000, seed), epoch)

    assert order(1, 2) == order(1, 2)
    assert order(1, 2) != order(1, 3)
    assert order(1, 2) != order(2, 2)
    held = [{frozenset(batch) for batch in order(1, epoch)} for epoch in (2, 3)]
    assert len(held[0] & held[1]) < len(held[0]) / 4  # not the same batches in another order


def test_a_sample_that_no_batch_can_hold_is_told():
    with pytest.raises(TrainError, match=r"batch_tokens is 50, but the longest sample has 60 "):
        TokenBatches([10, 60, 20], 50, seed=0)


@pytest.mark.parametrize("count", [1, 6, 16, 37])
def test_processes_draw_together_what_one_draws(count):
    sizes = lengths(count)
    one = draws_of(LengthGroupedOrder(sizes, 16, seed=0), epoch=1)
    together = LengthGroupedOrder(sizes, 16, 0, processes=4)
    draws = draws_of(together, epoch=1)
    assert len(draws) == len(together) == -(-count // 16) * 16
    for start in range(0, len(draws), 16):  # a batch, of which each process has four in a row
        real = [draw for draw in draws[start : start + 16] if not isinstance(draw, Filler)]
        assert sorted(real) == sorted(one[start : start + 16])
        shares = [draws[at : at + 4] for at in range(start, start + 16, 4)]
        held = [sum(not isinstance(draw, Filler) for draw in share) for share in shares]
        assert max(held) - min(held) <= 1


def test_what_fills_a_batch_counts_for_nothing(predictor, make):
    rows, _ = make.rows(predictor, 3)
    filled = FilledDataset(rows)
    collate = Collator(predictor.processor)
    assert len(filled) == 3
    assert collate([filled[0, 0], filled[Filler((1, 0))]])["row_ids"] == ["row 0"]
    alone = collate([filled[Filler((1, 0))], filled[Filler((2, 0))]])
    assert count_scored(alone["labels"]) == 0
    assert len(alone["input_ids"]) == 1  # something has to be computed
    del alone["row_ids"]
    predictor.model(**alone, num_items_in_batch=7).loss.backward()
    assert float(predictor.model.lm_head.weight.grad.abs().max()) == 0


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
    first, again, second = (np.asarray(rows[0, epoch].pictures[0]) for epoch in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, second)


def test_pictures_are_left_alone_without_a_seed(predictor, make):
    rows, _ = make.rows(predictor, 2)
    assert np.array_equal(rows[0, 0].pictures[0], rows[0, 1].pictures[0])
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
    options = TrainOptions(dataset="data", output="model", batch_size=batch_size)
    assert samples_at_once(model, options, longest, device) == expected
