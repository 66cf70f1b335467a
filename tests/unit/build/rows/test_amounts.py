from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loupe.build.rows.amounts import find_mark, means_currency, read_amount


def read(text, mark=None, is_strict=False):
    return read_amount(text, mark, is_strict=is_strict)


@pytest.mark.parametrize(
    ("text", "amount", "words"),
    [
        ("1290", "1290", []),
        ("1.290,00 €", "1290", ["€"]),
        ("$1,290.50", "1290.5", ["$"]),
        ("USD 1,290.50", "1290.5", ["USD"]),
        ("1.290.000", "1290000", []),
        ("1,29,000.00 ₹", "129000", ["₹"]),
        ("1\u202f290,00\u00a0€", "1290", ["€"]),
        ("CHF 1’290.–", "1290", ["CHF"]),
        ("1.290,- kr.", "1290", ["kr."]),
        ("0.290", "0.29", []),
        ("1290.125", "1290.125", []),
        ("12,5", "12.5", []),
        ("−5", "-5", []),
        ("€-5,00", "-5", ["€"]),
        (" \u200f12 ", "12", []),
    ],
)
def test_text_that_is_one_number_is_read(text, amount, words):
    assert read(text) == (Decimal(amount), words)


@pytest.mark.parametrize(
    "text",
    [
        "", "Free", "from 12 to 15 EUR", "£12 was £15", "2 x 12.50", "12€95", "1e5", "1_290", "١٢",
        "12 34", "1,,2", "12.", ".5", "1.290,00.5", "5-6", "--5", "-", "12²", "9" * 19,
        "1.2900,00", "1/2",
    ],
)  # fmt: skip
def test_text_that_is_not_one_number_is_refused(text):
    with pytest.raises(ValueError, match="is not one number such as"):
        read(text)


@pytest.mark.parametrize("text", ["1.290", "1,290", "$12,500", "999.999 EUR"])
def test_number_that_may_be_two_is_refused_with_both(text):
    with pytest.raises(ValueError, match=r"may be [\d.]+ or \d+, .*--decimal-mark point or comma"):
        read(text)


def test_decimal_mark_settles_what_may_be_two_numbers():
    assert read("1.290", ".")[0] == Decimal("1.29")
    assert read("1.290", ",")[0] == 1290
    assert read("1.290,00", ".")[0] == 1290


def test_strict_decimal_mark_refuses_the_other():
    assert read("1.290,5", ",", is_strict=True)[0] == Decimal("1290.5")
    with pytest.raises(ValueError, match=r"'1,290\.50' is not written with the decimal mark ','"):
        read("1,290.50", ",", is_strict=True)


@pytest.mark.parametrize(
    ("texts", "mark"),
    [
        (["1.290", "890", "12,5"], ","),
        (["1.290", "2.500.000"], ","),
        (["1.290", "0.5"], "."),
        (["1.290", "890", "N/A"], None),
        (["1.290", "12,5", "12.5"], None),
        ([], None),
    ],
)
def test_mark_is_found_where_all_certain_numbers_agree(texts, mark):
    assert find_mark(texts) == mark


@pytest.mark.parametrize(
    ("word", "code", "answer"),
    [
        ("$", "USD", True), ("$", "CAD", True), ("$", "EUR", False), ("US$", "CAD", False),
        ("eur", "EUR", True), ("€", "USD", False), ("Kr", "SEK", True), ("GBP", "USD", False),
        ("pcs", "USD", None), ("%", "USD", None), ("XAF", "XAF", True),
        ("mad", "USD", False),
    ],
)  # fmt: skip
def test_word_means_a_currency_another_or_none(word, code, answer):
    assert means_currency(word, code) is answer


@given(
    st.decimals(0, 10**9, places=2),
    st.sampled_from([",.", ".,", " ,", " .", "',", "'.", "\u202f,", "’."]),
    st.sampled_from(["{}", "{} €", "€{}", "EUR {}"]),
)
def test_amount_with_cents_is_read_however_it_is_written(amount, marks, frame):
    whole, cents = f"{amount:,.2f}".split(".")
    text = frame.format(whole.replace(",", marks[0]) + marks[1] + cents)
    assert read(text)[0] == amount


@given(st.text(max_size=20))
def test_any_text_is_a_number_or_refused(text):
    try:
        amount, _ = read(text)
    except ValueError as error:
        assert repr(text[:60]) in str(error)  # noqa: PT017 - most texts are refused, some are not
    else:
        assert "".join(filter(str.isdigit, text)).lstrip("0") in f"{amount:f}".replace(".", "")
