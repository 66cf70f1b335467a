"""Guided decoding: answers that always parse, the same as free ones where those parse."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from loupe import vlm
from loupe.errors import PredictError
from loupe.predict import Predictor
from loupe.predict.grammar import AnswerGrammar, decode_answers
from loupe.task import Task

CHOICES = ("BAGS", "SCARVES", "SHIRTS")
TASK = Task.load().with_choices([{"category3_code": choice} for choice in CHOICES])


def pictures(count=5):
    return [Image.new("RGB", (60 + 30 * (n % 2), 60), (40 * n, 90, 200)) for n in range(count)]


@pytest.fixture(scope="module", params=["tiny_checkpoint", "llava_checkpoint"])
def random_model(request):
    """A model with random weights, which says nothing sensible."""
    return Predictor.load(str(request.getfixturevalue(request.param)), task=TASK, device="cpu")


@pytest.fixture(scope="module")
def tiny():
    """The pretrained base, which knows the tutorial's template."""
    return Predictor.load(vlm.TINY, device="cpu")


@pytest.mark.parametrize("most", [1, 12, 40])
def test_any_model_answers_what_parses(random_model, most):
    answers = random_model.predict(pictures(), max_new_tokens=most)

    for answer in answers:
        assert answer.values is not None, answer.problem
        assert answer.values["category3_code"] in CHOICES


def test_a_batch_answers_what_single_pictures_do(random_model):
    together = random_model.predict(pictures(), batch_size=5, max_new_tokens=12)
    alone = random_model.predict(pictures(), batch_size=1, max_new_tokens=12)

    assert [answer.text for answer in together] == [answer.text for answer in alone]


def test_a_text_that_does_not_end_is_cut_and_marked(random_model):
    answer = random_model.predict(pictures(1), max_new_tokens=12)[0]

    assert answer.values["title"].endswith("…")


def test_free_answers_that_parse_are_what_guided_ones_are(tiny):
    shown = pictures(6)
    free = tiny.predict(shown, batch_size=4, decoding="free")
    guided = tiny.predict(shown, batch_size=4)

    parsed = [place for place, answer in enumerate(free) if answer.values]
    assert len(parsed) >= 3
    assert [guided[place] for place in parsed] == [free[place] for place in parsed]


def test_medians_are_read_behind_guided_answers(tiny):
    said, median = (tiny.predict(pictures(2), price=price) for price in ("said", "median"))

    assert [answer.text for answer in said] == [answer.text for answer in median]
    assert all(answer.values["full_price"] > 0 for answer in median)


class RandomSpeaker:
    """Stands for a model: random logits, and a count of the forward passes."""

    def __init__(self, vocabulary, seed):
        self._draw = torch.Generator().manual_seed(seed)
        self._vocabulary = vocabulary
        self.passes = 0
        self.places = []

    def __call__(self, input_ids, attention_mask, position_ids=None, **_):
        self.passes += 1
        if position_ids is not None:
            held = attention_mask[:, -input_ids.shape[1] :].bool()
            self.places.append((held, position_ids))
        logits = torch.randn(len(input_ids), 1, self._vocabulary, generator=self._draw)
        return SimpleNamespace(logits=logits, past_key_values=None)


def start(rows, lengths):
    mask = torch.zeros(rows, max(lengths), dtype=torch.long)
    for row, length in enumerate(lengths):
        mask[row, -length:] = 1
    return {"input_ids": torch.zeros_like(mask), "attention_mask": mask}


@pytest.mark.parametrize("seed", range(8))
def test_whatever_is_likeliest_the_answer_parses(tiny, seed):
    grammar = AnswerGrammar(TASK, tiny.processor.tokenizer, tiny.grammar.end_id)
    model = RandomSpeaker(grammar.vocabulary, seed)

    said = decode_answers(model, start(3, [4, 2, 3]), grammar, 40)

    for ids in said:
        answer = TASK.parse(tiny.processor.tokenizer.decode(ids).strip())
        assert answer.values is not None, answer.problem


def test_words_between_fields_cost_no_pass_of_their_own(tiny):
    grammar = AnswerGrammar(TASK, tiny.processor.tokenizer, tiny.grammar.end_id)
    model = RandomSpeaker(grammar.vocabulary, 0)

    (ids,) = decode_answers(model, start(1, [4]), grammar, 12)

    certain = tiny.processor.tokenizer(", Full Price:", add_special_tokens=False)["input_ids"]
    assert model.passes <= len(ids) - len(certain)


def test_each_row_counts_its_own_places(tiny):
    grammar = AnswerGrammar(TASK, tiny.processor.tokenizer, tiny.grammar.end_id)
    model = RandomSpeaker(grammar.vocabulary, 1)
    lengths = [4, 2, 3]

    said = decode_answers(model, start(3, lengths), grammar, 30)

    for row, (ids, length) in enumerate(zip(said, lengths, strict=True)):
        places = [
            place
            for held, positions in model.places
            for place in positions[row][held[row]].tolist()
        ]
        assert places == list(range(length, length + len(places)))
        assert len(places) <= len(ids)


def test_a_slow_tokenizer_is_refused():
    with pytest.raises(PredictError, match=r"fast tokenizer.*--decoding free"):
        AnswerGrammar(TASK, SimpleList([1, 2, 3]), 0)


class SimpleList(list):
    """Has a length, and is no tokenizer."""


def test_a_choice_that_is_not_closed_is_a_text(tiny):
    task = replace(
        TASK, fields=TASK.fields | {"category3_code": Task.load().fields["category3_code"]}
    )
    grammar = AnswerGrammar(task, tiny.processor.tokenizer, tiny.grammar.end_id)

    said = decode_answers(RandomSpeaker(grammar.vocabulary, 3), start(2, [2, 2]), grammar, 30)

    for ids in said:
        assert task.parse(tiny.processor.tokenizer.decode(ids).strip()).values is not None
