"""The grammar of a task's answers: true answers are in it, and all that is in it parses."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llguidance import LLMatcher, LLTokenizer

from loupe import vlm
from loupe.task import Task

CHOICES = ["SHIRTS", "SHORTS", 'BAGS, "new"', "ÉTÉ \\ 2024", "A, Full Price: 3"]
ORDERS = {
    "tutorial": "Product: {title}, Category: {category3_code}, Full Price: {full_price}",
    "text last": "{full_price} for {category3_code}: {title}",
    "text before its own end": "[{title}] {category3_code} ({full_price})!",
}


def make_task(answer=ORDERS["tutorial"], **fields):
    declared = Task.load().to_dict()
    declared["answer"] = answer
    declared["fields"]["category3_code"]["choices"] = CHOICES
    return Task.from_dict(declared | {"fields": declared["fields"] | fields})


@pytest.fixture(scope="module")
def tokenizer():
    from llguidance import hf

    _, processor = vlm.load_model_and_processor(vlm.TINY, dtype="float32")
    return hf.from_tokenizer(processor.tokenizer)


def matches(tokenizer: LLTokenizer, task: Task, text: str) -> bool:
    matcher = LLMatcher(tokenizer, task.grammar())
    assert not matcher.is_error(), matcher.get_error()
    tokens = tokenizer.tokenize_str(text)
    return matcher.validate_tokens([*tokens, tokenizer.eos_token]) == len(tokens) + 1


titles = st.text(min_size=1, max_size=30).filter(
    lambda text: text.strip() and text.encode("utf-8", "ignore").decode() == text
)


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
@settings(max_examples=60, deadline=None)
@given(title=titles, choice=st.sampled_from(CHOICES), price=st.floats(0, 99_999_999))
def test_every_true_answer_is_in_the_grammar(tokenizer, order, title, choice, price):
    task = make_task(order)
    row = {"title": title, "category3_code": choice, "full_price": price}
    try:
        text = task.format(row)
    except ValueError:
        return  # a title such as "N.A." is no value

    assert matches(tokenizer, task, text)
    assert matches(tokenizer, task, f" {text}")


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
@pytest.mark.parametrize("seed", range(12))
def test_every_text_of_the_grammar_parses(tokenizer, order, seed):
    task = make_task(order)
    matcher = LLMatcher(tokenizer, task.grammar())
    generator = np.random.default_rng(seed)
    ids = []
    for _ in range(400):  # a walk at random, in which texts are long
        bits = np.frombuffer(matcher.compute_bitmask(), np.uint8)
        allowed = np.flatnonzero(np.unpackbits(bits, bitorder="little"))
        if tokenizer.eos_token in allowed:
            break
        # Spaces, backslashes and the marks of delimiters are where a parser errs.
        marks = [
            each for each in allowed if set(tokenizer.decode_str([int(each)])) <= set(" \\,:n")
        ]
        chosen = int(generator.choice(marks if marks and generator.random() < 0.3 else allowed))
        assert matcher.consume_token(chosen)
        ids.append(chosen)
        if (begun := tokenizer.decode_str(ids)) and len(ids) > 30:
            closing = tokenizer.tokenize_str("…" + task.literal_after(begun))
            if matcher.validate_tokens(closing) == len(closing):
                assert matcher.consume_tokens(closing)
                ids += closing
    else:
        pytest.fail("the walk did not end")

    answer = task.parse(tokenizer.decode_str(ids).strip())

    assert answer.values is not None, answer.problem
    assert answer.values["category3_code"] in CHOICES


@pytest.mark.parametrize(
    "text",
    [
        "Product: , Category: SHIRTS, Full Price: 1.0",
        "Product: \\u0020 \\n, Category: SHIRTS, Full Price: 1.0",
        "Product: Shirt, Category: HATS, Full Price: 1.0",
        "Product: Shirt, Category: SHIRTS, Full Price: 1.00",
        "Product: Shirt, Category: SHIRTS, Full Price: 012.0",
        "Product: Shirt, Category: SHIRTS, Full Price: -1.0",
        "Product: Shirt, Category: SHIRTS, Full Price: 1.0 or so",
        "Product: Shirt, Category: SHIRTS",
        "Shirt, Category: SHIRTS, Full Price: 1.0",
    ],
)
def test_what_is_no_answer_is_not_in_the_grammar(tokenizer, text):
    assert not matches(tokenizer, make_task(), text)


def test_a_text_ends_at_the_first_literal_after_it(tokenizer):
    twice = "Product: A, Category: SHIRTS, Category: SHIRTS, Full Price: 1.0"

    assert not matches(tokenizer, make_task(), twice)


@pytest.mark.parametrize(
    ("field", "inside", "outside"),
    [
        ({"type": "integer"}, ["0", "-7", "12345"], ["007", "1.5", ""]),
        ({"type": "number", "decimals": 3}, ["-0.125", "3.000"], ["3.0", "3"]),
        ({"type": "price", "decimals": 0}, ["0", "120"], ["120.0", "-1"]),
        ({"type": "choice"}, ["anything"], [" "]),  # a set that is not closed yet
    ],
)
def test_other_fields_have_their_own_form(tokenizer, field, inside, outside):
    task = Task.from_dict(
        {"question": "How many?", "answer": "{count}!", "fields": {"count": field}}
    )

    for text in inside:
        assert matches(tokenizer, task, f"{text}!"), text
    for text in outside:
        assert not matches(tokenizer, task, f"{text}!"), text


@pytest.mark.parametrize(
    ("begun", "expected"),
    [
        ("", ", Category: "),
        ("Prod", ", Category: "),
        (" Product: Red Shirt", ", Category: "),
        ("Product: Red Shirt, Category: SHI", ", Full Price: "),
        ("Product: Red Shirt, Category: SHIRTS, Full Price: 1", ""),
    ],
)
def test_the_literal_after_the_open_field_is_known(begun, expected):
    assert make_task().literal_after(begun) == expected
