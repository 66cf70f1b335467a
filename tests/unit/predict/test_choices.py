"""The distribution of a choice is what the model gives to each choice, said token by token."""

import numpy as np
import pytest
import torch
from PIL import Image

from loupe import vlm
from loupe.predict import Predictor
from loupe.predict.choices import read_choices
from loupe.task import Task

CHOICES = ("BAG", "BAGS", "BAGS AND BELTS", "SCARVES", "a choice with many words")
TASK = Task.load().with_choices([{"category3_code": choice} for choice in CHOICES])
VALUES = [
    {"title": "Bag", "category3_code": "BAGS", "full_price": 10.0},
    {"title": "A much longer Title in Tan", "category3_code": "BAG", "full_price": 250.0},
]
PICTURES = [Image.new("RGB", (60, 60), "red"), Image.new("RGB", (90, 30), "blue")]
LAST = Task.from_dict(
    {
        "question": "What is it?",
        "answer": "{price} {kind}",
        "fields": {"price": {"type": "price"}, "kind": {"type": "choice", "choices": [*CHOICES]}},
    }
)
ALONE = Task.from_dict(
    {
        "question": "What is it?",
        "answer": "{kind}",
        "fields": {"kind": {"type": "choice", "choices": [*CHOICES]}},
    }
)


def shares_by_brute_force(predictor, picture, values, field):
    """Each choice with what follows it, in a forward pass of its own; their softmax."""
    task, processor = predictor.task, predictor.processor
    dialogue = vlm.make_dialogue(processor, task.question)
    logs = []
    for choice in task.fields[field].choices:
        answer, places = task.format_fields({**values, field: choice})
        begin, end = places[field]
        before, said, whole = (
            processor.tokenizer(dialogue.prompt + text)["input_ids"]
            for text in (answer[:begin].rstrip(), answer[:end], answer + dialogue.end)
        )
        past = next((n for n, token in enumerate(said) if whole[n] != token), len(said))
        more = torch.tensor([whole[len(before) : past + 1]])
        prompt = dialogue.prompt + answer[:begin].rstrip()
        inputs = dict(processor(text=[prompt], images=[[picture]], return_tensors="pt"))
        length = inputs["input_ids"].shape[1]
        inputs["input_ids"] = torch.cat([inputs["input_ids"], more], dim=1)
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        with torch.inference_mode():
            each = predictor.model(**inputs).logits[0, length - 1 : -1].double().log_softmax(-1)
        logs.append(float(each.gather(1, more.T).sum()))
    return np.array(logs) - np.logaddexp.reduce(logs)


@pytest.mark.parametrize("checkpoint", ["tiny", "tiny_checkpoint", "llava_checkpoint"])
def test_shares_are_those_of_brute_force(checkpoint, request):
    name = checkpoint if checkpoint == vlm.TINY else str(request.getfixturevalue(checkpoint))
    predictor = Predictor.load(name, task=TASK, device="cpu")
    found = read_choices(predictor, PICTURES, VALUES, "category3_code")
    for picture, values, distribution in zip(PICTURES, VALUES, found, strict=True):
        expected = shares_by_brute_force(predictor, picture, values, "category3_code")
        assert distribution.log_shares == pytest.approx(expected, abs=2e-3)
        assert np.exp(distribution.log_shares).sum() == pytest.approx(1)


@pytest.mark.parametrize(("task", "values"), [(LAST, {"price": 3.0}), (ALONE, {})])
def test_a_choice_may_end_the_answer_or_be_all_of_it(tiny_checkpoint, task, values):
    predictor = Predictor.load(str(tiny_checkpoint), task=task, device="cpu")
    held = {**values, "kind": "BAG"}
    (found,) = read_choices(predictor, PICTURES[:1], [held], "kind")
    expected = shares_by_brute_force(predictor, PICTURES[0], held, "kind")
    assert found.log_shares == pytest.approx(expected, abs=2e-3)


def test_few_rows_at_a_time_give_the_same(tiny_checkpoint, monkeypatch):
    predictor = Predictor.load(str(tiny_checkpoint), task=TASK, device="cpu")
    whole = read_choices(predictor, PICTURES, VALUES, "category3_code")
    monkeypatch.setattr("loupe.predict.choices.MOST_LOGITS", 1)
    parts = read_choices(predictor, PICTURES, VALUES, "category3_code")
    for one, other in zip(whole, parts, strict=True):
        assert one.log_shares == pytest.approx(other.log_shares, abs=1e-4)
        assert one.probability("BAGS") == pytest.approx(np.exp(one.log_shares[1]))
        assert one.probability("never heard of") == 0


@pytest.mark.parametrize("checkpoint", ["tiny", "tiny_checkpoint"])
def test_what_follows_in_another_row_does_not_count(checkpoint, request):
    task = Task.from_dict(
        {
            "question": "What is it?",
            "answer": "{kind} {title}",
            "fields": {
                "kind": {"type": "choice", "choices": [*CHOICES]},
                "title": {"type": "text"},
            },
        }
    )
    name = checkpoint if checkpoint == vlm.TINY else str(request.getfixturevalue(checkpoint))
    predictor = Predictor.load(name, task=task, device="cpu")
    values = [{"kind": "BAGS", "title": "Wool Coat"}, {"kind": "BAG", "title": "Suede Boots"}]
    found = read_choices(predictor, PICTURES, values, "kind")
    for picture, each, distribution in zip(PICTURES, values, found, strict=True):
        (alone,) = read_choices(predictor, [picture], [each], "kind")
        assert distribution.log_shares == pytest.approx(alone.log_shares, abs=2e-3)
