import logging

import pytest
import torch

from loupe.errors import TrainError
from loupe.evaluate.scores import is_lower_better, score_answers
from loupe.task import Answer, Task
from loupe.train.batches import Collator
from loupe.train.validation import Validation, check_best_metric

TRUTHS = [{"title": "Cup", "category3_code": "CUPS", "full_price": 5.0}]


@pytest.mark.parametrize("family", ["tiny_checkpoint", "llava_checkpoint"])
def test_the_loss_is_the_mean_over_the_answers_tokens(make, request, family):
    predictor = make.predictor(request.getfixturevalue(family))
    scores, answers = make.validation(predictor, 6).score()

    rows, _ = make.rows(predictor, 6)
    batch = Collator(predictor.processor)([rows[place, 0] for place in range(6)])
    del batch["row_ids"]
    with torch.no_grad():
        expected = predictor.model(**batch).loss.item()

    # batches of 4 and 2 against one of 6: other order of float32 sums
    assert scores["loss"] == pytest.approx(expected, abs=1e-5)
    assert len(answers) == 6
    assert scores["parse_rate"] == 0  # random weights
    assert "colour_exact_match" in scores


def test_when_time_is_up_the_rows_answered_are_scored(predictor, make, caplog):
    caplog.set_level(logging.INFO, logger="loupe")
    rows, truths = make.rows(predictor, 6)
    whole, _ = Validation(predictor, rows, truths, 4).score()
    scores, answers = Validation(predictor, rows, truths, 4, seconds=1e-9).score()
    assert len(answers) == scores["answered_rows"] == 4
    assert scores["loss"] == whole["loss"]
    assert "answered_rows" not in whole
    assert "Only 4 of 6 validation rows were answered in the 1.67e-11 minutes" in caplog.text


def test_a_signal_breaks_scoring_off(predictor, make):
    asked = []
    assert make.validation(predictor, 8).score(lambda: not asked.append(1)) is None
    assert len(asked) == 1


def test_scoring_leaves_a_model_in_training_as_it_was(predictor, make):
    predictor.model.train()
    make.validation(predictor, 2).score()
    assert predictor.model.training


def test_answers_are_shown_beside_truth_and_picture(predictor, make):
    validation = make.validation(predictor, 3)
    _, answers = validation.score()
    shown = validation.predicted_rows(answers, 2)
    assert [row.row_id for row in shown] == ["row 0", "row 1"]
    assert shown[1].truth == "Colour: green"
    assert shown[1].prediction == answers[1].text
    assert shown[1].picture.getpixel((0, 0))[1] > 150
    assert shown[1].scores == {"parsed": 0, "colour_right": 0, "colour_token_f1": 0}


def test_shown_answers_bring_their_errors_field_by_field(predictor, make):
    truths = [{**TRUTHS[0], "full_price": price} for price in (5.0, 0.0)]
    rows, _ = make.rows(predictor, 2)
    predictor.task = Task.load()
    said = predictor.task.parse("Product: Red Cup, Category: CUPS, Full Price: 4.0")
    shown = Validation(predictor, rows, truths, 2).predicted_rows([said, said], 2)
    assert shown[0].scores["category3_code_right"] == 1
    assert shown[0].scores["title_token_f1"] == pytest.approx(2 / 3)
    assert shown[0].scores["full_price_ape"] == pytest.approx(0.2)
    assert shown[0].scores["full_price_error"] == pytest.approx(1)
    assert shown[1].scores["full_price_ape"] is None  # nothing is relative to 0


def test_each_score_of_the_task_may_choose_the_best_and_knows_its_better_side():
    task = Task.load()
    truths = [*TRUTHS, {"title": "Bag", "category3_code": "BAGS", "full_price": 90.0}]
    wrong = {"title": "Hat", "category3_code": "HATS", "full_price": 900.0}
    right = score_answers(task, truths, [Answer(task.format(each), each) for each in truths])
    bad = score_answers(task, truths, [Answer("", None), Answer(task.format(wrong), wrong)])
    assert len(right) >= 8
    for name, value in right.items():
        check_best_metric(name, task, truths)
        assert value < bad[name] if is_lower_better(name) else value > bad[name], name
    check_best_metric("loss", task, truths)


def test_an_unknown_score_lists_the_known_ones():
    with pytest.raises(TrainError, match=r"'accuracy' is no score .*loss, parse_rate, .*_median_a"):
        check_best_metric("accuracy", Task.load(), TRUTHS)
