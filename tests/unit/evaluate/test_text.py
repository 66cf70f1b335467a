"""Token F1 and chrF."""

import numpy as np
import pytest

from loupe.evaluate.text import chrf_counts, token_f1, tokens
from loupe.evaluate.weighted import CorpusChrf

# (answer, truth, score of sacrebleu 2.6.0's CHRF().sentence_score)
SACREBLEU = [
    ("Check Cotton Shirt", "Check Cotton Shirt", 100.0),
    ("Check Shirt", "Check Cotton Shirt", 37.49106281704841),
    ("", "Silk Scarf", 0.0),
    ("Vintage Check Wool Scarf in Camel", "Wool Scarf", 62.69112238321679),
    ("abc", "xyz", 0.0),
    ("Crème brûlée 🎉", "Creme brulee", 24.096790501338813),
    ("ab", "abcdefgh", 23.404255319148938),
]
SACREBLEU_CORPUS = 48.83435040631125  # CHRF().corpus_score of the same pairs


@pytest.mark.parametrize(("answer", "truth", "expected"), SACREBLEU)
def test_chrf_of_one_row_is_sacrebleus(answer, truth, expected):
    score = CorpusChrf(chrf_counts([answer], [truth]))(np.ones((1, 1)))
    assert 100 * score[0] == pytest.approx(expected)


def test_chrf_of_all_rows_is_sacrebleus_corpus_score():
    answers, truths, _ = zip(*SACREBLEU, strict=True)
    score = CorpusChrf(chrf_counts(answers, truths))(np.ones((1, len(answers))))
    assert 100 * score[0] == pytest.approx(SACREBLEU_CORPUS)


@pytest.mark.parametrize(
    ("answer", "truth", "expected"),
    [
        ("Wool Scarf", "scarf, wool", 1.0),
        ("Wool Wool", "Wool Scarf", 0.5),
        ("Coat", "Scarf", 0.0),
        ("", "Scarf", 0.0),
        ("", "", 1.0),
        ("🎉", "🎉", 1.0),
    ],
)
def test_token_f1(answer, truth, expected):
    assert token_f1(answer, truth) == pytest.approx(expected)


def test_tokens_fold_case_in_any_script():
    assert tokens("STRASSE Straße") == ["strasse", "strasse"]
