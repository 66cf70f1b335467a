"""Where two tasks differ."""

import pytest

from loupe.task import Task, find_differences


def make_task(question="?", answer="{kind}: {price}", kind=None, price=None):
    fields = {
        "kind": {"type": "choice", "choices": ["bag", "hat"], **(kind or {})},
        "price": {"type": "price", "currency": "USD", **(price or {})},
    }
    return Task.from_dict({"question": question, "answer": answer, "fields": fields})


def test_equal_tasks_do_not_differ():
    assert find_differences(make_task(), make_task()) == ()


@pytest.mark.parametrize(
    ("changes", "about", "text"),
    [
        ({"question": "What?"}, "question", "The question was '?' in training, 'What?' now"),
        ({"answer": "{kind}; {price}"}, "template", "Answers were '{kind}: {price}' in training"),
        ({"price": {"currency": "EUR"}}, "currency", "price was in USD in training and is in EUR"),
        ({"price": {"decimals": 0}}, "decimals", "with 2 decimals in training and is with 0"),
        (
            {"kind": {"choices": None}},
            "choices",
            "kind was one of 2 choices in training and is any",
        ),
        (
            {"kind": {"choices": ["bag", "cap", "tie"]}},
            "choices",
            "2 not known in training (cap, tie) and 1 less than in training (hat)",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_differs_is_told(changes, about, text):
    (found,) = find_differences(make_task(), make_task(**changes))
    assert found.about == about
    assert text in found.text


def test_new_choices_are_given():
    (found,) = find_differences(make_task(), make_task(kind={"choices": ["bag", "cap"]}))
    assert (found.field, found.new_choices) == ("kind", ("cap",))


def test_many_choices_are_cut():
    (found,) = find_differences(
        make_task(), make_task(kind={"choices": ["bag", "hat", *"abcdefgh"]})
    )
    assert "8 not known in training (a, b, c, d, e and 3 more)" in found.text


def test_other_fields_and_types_are_told():
    fields = {"kind": {"type": "text"}, "size": {"type": "integer"}}
    other = Task.from_dict({"question": "?", "answer": "{kind}: {size}", "fields": fields})
    found = {each.about: each.text for each in find_differences(make_task(), other)}
    assert found["fields"] == "The fields were kind, price in training, kind, size now"
    assert found["type"] == "kind was a choice in training and is a text now"
