"""The file beside a model: written, read back, and refused where it is not the model's own."""

import json
import math
from typing import get_args

import numpy as np
import pytest

from loupe.certainty import CALIBRATION, Calibration, ChoiceRecord, PriceRecord, identify
from loupe.errors import CalibrationError
from loupe.options import PriceReading
from loupe.task import Answer, Task

TASK = Task.load().with_choices([{"category3_code": name} for name in ("BAGS", "COATS")])


@pytest.fixture
def model(tmp_path):
    (tmp_path / "training.json").write_text('{"steps": 7}', "utf-8")
    return tmp_path


@pytest.fixture
def calibration(model):
    errors = np.linspace(-0.5, 0.5, 40)
    record = PriceRecord(
        {reading: tuple(errors) for reading in get_args(PriceReading)},
        (0.1,) * 40,
        ("BAGS", "COATS") * 20,
        tuple(range(40)),
    )
    return Calibration(
        task=TASK,
        training=identify(model),
        dataset="f" * 64,
        split="validation",
        decoding="guided",
        prices={"full_price": record},
        choices={"category3_code": ChoiceRecord(2.0)},
        rows=40,
        groups=40,
    )


def test_what_is_written_is_read_back(calibration, model):
    calibration.save(model)
    read = Calibration.load(model)
    assert read.to_dict() == calibration.to_dict()
    assert read.task == TASK
    assert [path.name for path in model.iterdir() if path.name.startswith(".")] == []


def test_intervals_are_factors_around_the_price(calibration):
    scales = calibration.scales("full_price", "median", 0.9)
    answers = [
        Answer("", {"title": "Bag", "category3_code": "BAGS", "full_price": 100.0}),
        Answer("nothing", None, "does not parse"),
        Answer("", {"title": "Bag", "category3_code": "BAGS", "full_price": 0.0}),
    ]
    (low, high), none, zero = calibration.intervals(
        "full_price", scales, answers, [0.1, math.nan, 0.1]
    )
    assert low * high == pytest.approx(100.0**2)
    assert math.log(high / 100) == pytest.approx(0.5 * 37 / 39)  # rank 37 of 40, by pairs
    assert np.isnan(none).all()
    assert 0 < zero[0] < zero[1] < 1


def test_the_less_sure_gets_the_wider_interval(calibration):
    scales = calibration.scales("full_price", "median", 0.9)
    answer = Answer("", {"title": "Bag", "category3_code": "BAGS", "full_price": 100.0})
    narrow, wide, nothing_read, unsure = calibration.intervals(
        "full_price", scales, [answer] * 4, [0.05, 0.4, math.inf, 1.0]
    )
    assert wide[0] < narrow[0] < 100 < narrow[1] < wide[1]
    assert nothing_read.tolist() == unsure.tolist()


def test_a_selection_counts_errors_as_scores_do(calibration):
    """A log error of -0.5 is an answer 65 % above the truth, one of +0.5 is 39 % below it."""
    errors = calibration.prices["full_price"].relative_errors("said")
    assert errors[[0, -1]] == pytest.approx([math.exp(0.5) - 1, 1 - math.exp(-0.5)])
    assert calibration.select("full_price", "said", 0.7, 0.8).share == 1.0
    assert calibration.select("full_price", "said", 0.1, 0.8) is None


def test_a_model_without_a_calibration_is_told_how_to_make_one(model):
    with pytest.raises(CalibrationError, match=r"has no calibration.json. Make one: `loupe cal"):
        Calibration.load(model)


def test_a_path_without_a_model_is_not_told_to_be_calibrated(tmp_path):
    with pytest.raises(CalibrationError, match=r"There is no model folder .*gone'"):
        Calibration.load(tmp_path / "gone")


def test_the_calibration_of_another_model_is_refused(calibration, model):
    calibration.save(model)
    (model / "training.json").write_text('{"steps": 8}', "utf-8")
    with pytest.raises(CalibrationError, match=r"was made of another model .* Calibrate again"):
        Calibration.load(model)


def change(path, spoil):
    held = json.loads(path.read_text("utf-8"))
    spoil(held)
    path.write_text(json.dumps(held), "utf-8")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda held: held.update(format=2), "its format is 2, expected 1"),
        (lambda held: held.pop("prices"), "KeyError: 'prices'"),
        (lambda held: held["prices"]["full_price"].pop("groups"), "KeyError: 'groups'"),
        (
            lambda held: held["prices"]["full_price"]["groups"].pop(),
            "columns of unlike length",
        ),
        (
            lambda held: held["prices"]["full_price"]["log_errors"].pop("mean"),
            "other readings than this Loupe's",
        ),
        (
            lambda held: held["prices"]["full_price"]["log_deviations"].__setitem__(0, "much"),
            "could not convert",
        ),
        (
            lambda held: held["prices"]["full_price"]["log_deviations"].__setitem__(0, math.nan),
            "nan is no finite number",
        ),
        (lambda held: held["choices"].update(colour={"temperature": 1}), "'colour'. are not"),
        (
            lambda held: held["choices"]["category3_code"].update(temperature=0),
            "temperature is not above 0",
        ),
        (lambda held: held["model"]["task"].pop("fields"), "TaskError"),
        (lambda held: held.update(made_of=[1]), "TypeError"),
    ],
)
def test_a_damaged_file_is_one_line(calibration, model, spoil, reason):
    change(calibration.save(model), spoil)
    with pytest.raises(CalibrationError, match=reason) as raised:
        Calibration.load(model)
    assert "cannot be read as a calibration" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"\xff\xfe", b'{"format": 1'])
def test_a_file_of_something_else_is_one_line(model, content):
    (model / CALIBRATION).write_bytes(content)
    with pytest.raises(CalibrationError, match="cannot be read as a calibration"):
        Calibration.load(model)


def test_another_task_or_decoding_is_refused(calibration):
    calibration.check_use(TASK, "guided")
    with pytest.raises(CalibrationError, match="made for another task"):
        calibration.check_use(Task.load(), "guided")
    with pytest.raises(CalibrationError, match="made with --decoding guided, and answers are"):
        calibration.check_use(TASK, "free")
