import pytest

from loupe.prefer.ranking import make_pair, rank_answers, score_texts, tell_pairs
from loupe.task import Task

TASK = Task.from_dict(
    {
        "question": "What is it?",
        "answer": "Product: {title}, Category: {kind}, Price: {price}, Left: {left}",
        "fields": {
            "title": {"type": "text"},
            "kind": {"type": "choice", "choices": ["CUPS", "BAGS"]},
            "price": {"type": "price", "currency": "USD", "decimals": 1},
            "left": {"type": "integer"},
        },
    }
)
TRUTH = {"title": "red cup", "kind": "CUPS", "price": 100.0, "left": 0}


def said(title="red cup", kind="CUPS", price="100.0", left=0):
    return f"Product: {title}, Category: {kind}, Price: {price}, Left: {left}"


@pytest.mark.parametrize(
    ("text", "score"),
    [
        (said(), 1.0),
        (said(title="blue cup"), 0.875),
        (said(kind="BAGS"), 0.75),
        (said(price="120.0"), 0.95),
        (said(price="900.0"), 0.75),
        (said(left=1), 0.75),
        ("no answer", 0.0),
        (None, 0.0),
    ],
    ids=["true", "half a title", "kind", "price 20 % off", "price far off", "not 0", "form", "cut"],
)
def test_an_answer_scores_the_mean_of_its_fields(text, score):
    assert score_texts(TASK, TRUTH, [text], {}) == pytest.approx([score])


def test_weights_say_which_fields_count():
    texts = [said(price="120.0"), said(title="blue cup")]
    assert score_texts(TASK, TRUTH, texts, {"price": 2}) == pytest.approx([0.92, 0.9])
    only_price = {"title": 0, "kind": 0, "left": 0}
    assert score_texts(TASK, TRUTH, texts, only_price) == pytest.approx([0.8, 1.0])


def test_the_best_answer_is_paired_with_the_worst():
    pair = make_pair("row", ["middling", "bad", "good", "worse"], [0.5, 0.2, 0.9, 0.1], 0.3)
    assert (pair.chosen, pair.rejected) == ("good", "worse")
    assert (pair.chosen_score, pair.rejected_score) == (0.9, 0.1)


@pytest.mark.parametrize(
    ("texts", "scores", "is_pair"),
    [
        (["a", "b"], [0.7, 0.6], True),
        (["a", "b"], [0.69, 0.6], False),
        (["a", "a"], [0.6, 0.6], False),
        (["a", None], [0.6, 0.0], False),
        ([None, None], [0.0, 0.0], False),
    ],
    ids=["just enough", "too alike", "the same", "one was cut off", "all were"],
)
def test_rows_without_a_clear_difference_give_no_pair(texts, scores, is_pair):
    assert (make_pair("row", texts, scores, 0.1) is not None) == is_pair


def test_a_report_counts_rows_pairs_and_answers_that_fail():
    samples = {
        "row 1": [said(), said(kind="BAGS"), "no answer"],
        "row 2": [said(), said(), None],
    }
    ranked = rank_answers(TASK, {"row 1": TRUTH, "row 2": TRUTH}, samples, {}, 0.1)

    assert [(pair.row_id, pair.rejected) for pair in ranked.pairs] == [("row 1", "no answer")]
    assert ranked.to_dict() == {
        "rows": 2,
        "answers": 6,
        "cut_off": 1,
        "unparsed": 1,
        "mean_score": pytest.approx(3.75 / 6),
        "pairs": 1,
        "mean_chosen_score": 1.0,
        "mean_rejected_score": 0.0,
    }
    assert tell_pairs(ranked.to_dict()) == (
        "1 of 2 rows gave a pair; of 6 answers 1 do not parse and 1 were cut off. Mean score of an "
        "answer 0.625, of the preferred 1.000, of those they are preferred to 0.000."
    )
