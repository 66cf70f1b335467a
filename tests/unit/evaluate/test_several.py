"""Rows with several pictures: all are shown, greyed or left out together."""

import json
from dataclasses import replace

import pytest

from loupe.errors import CheckpointError
from loupe.evaluate.material import find_most_pictures
from loupe.evaluate.run import evaluate


def is_grey(picture):
    return picture.getextrema() == ((128, 128),) * 3


@pytest.fixture
def several(make_dataset, make_predictor, task):
    """A dataset whose odd test rows have two pictures, and a predictor that notes what it sees."""
    dataset = make_dataset(task, test=40)
    split = dataset.rows("test")
    split.pictures = lambda row: [split.shown[row]] * (1 + row % 2)
    split.picture_sizes = lambda: [(split.shown[row].size,) * (1 + row % 2) for row in range(40)]
    predictor = make_predictor(dataset)
    predictor.seen, predictor.checked = [], []
    predict = predictor.predict

    def note(pictures, **settings):
        predictor.seen += pictures
        return predict(pictures, **settings)

    predictor.predict, predictor.check_pictures = note, predictor.checked.append
    return dataset, predictor


def test_all_pictures_of_a_row_are_shown_and_all_turn_grey(several, options):
    dataset, predictor = several
    evaluate(dataset, lambda: predictor, replace(options, decoding="free"))

    shown = [len(each) for each in predictor.seen if not is_grey(each[0])]
    grey = [each for each in predictor.seen if is_grey(each[0])]
    assert shown == [1, 2] * 20
    assert sorted(map(len, grey)) == [1, 2]
    assert all(is_grey(picture) for each in grey for picture in each)
    assert predictor.checked == [2]


def test_a_model_that_takes_one_picture_is_refused_before_it_answers(several, options):
    dataset, predictor = several

    def refuse(most):
        raise CheckpointError(f"takes no {most} pictures at a time")

    predictor.check_pictures = refuse
    with pytest.raises(CheckpointError, match="takes no 2 pictures"):
        evaluate(dataset, lambda: predictor, options)
    assert not predictor.seen


@pytest.mark.parametrize(
    ("trained", "asked", "shown"), [(None, None, None), (2, None, 2), (2, 3, 3), (None, 1, 1)]
)
def test_as_many_pictures_are_shown_as_asked_else_as_in_training(
    options, tmp_path, trained, asked, shown
):
    record = {} if trained is None else {"pictures": trained}
    (tmp_path / "training.json").write_text(json.dumps(record), "utf-8")
    assert find_most_pictures(replace(options, model=str(tmp_path), pictures=asked)) == shown
