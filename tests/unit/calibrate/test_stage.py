"""The calibrate stage, and what predict and evaluate make of what it writes."""

import json
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from loupe.calibrate import calibrate_model
from loupe.certainty import CALIBRATION, Calibration
from loupe.errors import CalibrationError, OptionError, PredictError
from loupe.evaluate import evaluate_model
from loupe.options import CalibrateOptions, EvaluateOptions, PredictOptions
from loupe.predict import predict_pictures

TOKENS = 6  # a random model never ends a title by itself


@pytest.fixture
def options(model, dataset):
    return CalibrateOptions(
        model=str(model),
        dataset=str(dataset),
        max_new_tokens=TOKENS,
        bootstrap=20,
        device="cpu",
    )


@pytest.fixture
def calibrated(options):
    calibrate_model(options)
    return options


def test_a_calibration_is_written_beside_the_model_and_told(options, model):
    result = calibrate_model(options)
    held = Calibration.load(model)
    assert (held.rows, held.split, held.decoding) == (result.told["rows"], "validation", "guided")
    assert held.rows > 20
    assert set(held.prices) == {"full_price"}
    assert set(held.choices) == {"category3_code"}
    assert result.path == str(model / CALIBRATION)
    for word in ("geometric", "temperature", "calibration error", "Next: `loupe evaluate"):
        assert word in result.summary()
    assert json.loads(json.dumps(result.to_dict())) == result.to_dict()
    said = result.told["prices"]["full_price"]["readings"]["said"]
    assert said["errors"]["full_price_mae"]["less_than_said"]["value"] == 0.0


def test_it_is_replaced_only_where_that_is_asked_for(calibrated, model):
    before = (model / CALIBRATION).read_bytes()
    with pytest.raises(CalibrationError, match=r"has a calibration.json. Add --overwrite"):
        calibrate_model(calibrated)
    calibrate_model(replace(calibrated, overwrite=True, max_rows=25))
    assert (model / CALIBRATION).read_bytes() != before
    assert Calibration.load(model).rows == 25


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_rows": 0}, "max_rows is 0; it must be at least 1"),
        ({"seed": -1}, "seed is -1; it must be at least 0"),
        ({"model": "tiny"}, "is no folder to write calibration.json into"),
        ({"max_rows": 5}, "5 of the 5 answers parse; a calibration needs at least 20"),
    ],
)
def test_what_cannot_be_calibrated_is_one_line(options, changes, message):
    with pytest.raises(CalibrationError, match=message):
        calibrate_model(replace(options, **changes))


@pytest.fixture
def predict(model, dataset):
    """Give a function that answers some pictures of the dataset's folder."""

    def predict(**changes):
        pictures = [str(dataset.parent / f"{number}.png") for number in range(3)]
        chosen = {"max_new_tokens": TOKENS, "device": "cpu", **changes}
        return predict_pictures(PredictOptions(pictures=pictures, model=str(model), **chosen))

    return predict


def test_predict_tells_intervals_and_confidences(calibrated, predict):
    plain, sure = predict().pictures, predict(coverage=0.8).pictures
    for one, other in zip(plain, sure, strict=True):
        assert "certainty" not in one
        assert {name: other[name] for name in one} == one
        price, choice = (other["certainty"][name] for name in ("full_price", "category3_code"))
        low, high = price["interval"]
        assert low <= other["full_price"] <= high
        assert 0 <= price["probability"] <= 1
        assert 0 < choice["confidence"] <= 1
    wide = predict(coverage=0.9).pictures[0]["certainty"]["full_price"]["interval"]
    assert wide[0] <= sure[0]["certainty"]["full_price"]["interval"][0]


def test_a_table_shows_them_in_the_cells(calibrated, predict):
    lines = predict(coverage=0.8, format="table").summary().splitlines()
    assert lines[0].split() == ["picture", "title", "category3_code", "full_price"]
    assert " to " in lines[2]
    assert " %)" in lines[2]


def test_prices_that_are_not_sure_enough_are_withheld(calibrated, predict, model, caplog):
    """The errors are made to be small for the surer half of the rows alone."""
    path = model / CALIBRATION
    held = json.loads(path.read_text("utf-8"))
    rows = 400
    record = {
        "log_errors": {
            name: [0.0] * (rows // 2) + [2.0] * (rows // 2)
            for name in held["prices"]["full_price"]["log_errors"]
        },
        "log_deviations": [0.1] * (rows // 2) + [0.9] * (rows // 2),
        "categories": ["SHIRTS"] * rows,
        "groups": list(range(rows)),
    }
    held["prices"]["full_price"] = record
    path.write_text(json.dumps(held), "utf-8")
    caplog.set_level("INFO", "loupe")
    found = predict(at_most_error=0.15, confidence=0.9).pictures
    assert "full_price: given for 50 % of the calibration's rows, of which 100.0 %" in caplog.text
    for each in found:  # a random model is never as sure as that
        assert each["full_price"] is None
        assert "less sure" in each["certainty"]["full_price"]["withheld"]
        assert "interval" not in each["certainty"]["full_price"]
        assert each["title"]
    with pytest.raises(CalibrationError, match=r"at most 15 % is shown in 99 % of cases for no sh"):
        predict(at_most_error=0.15, confidence=0.99)
    record["log_deviations"] = [8.0] * rows
    record["log_errors"] = {name: [0.0] * rows for name in record["log_errors"]}
    path.write_text(json.dumps(held), "utf-8")
    assert all(each["full_price"] is not None for each in predict(at_most_error=0.15).pictures)


@pytest.mark.parametrize("form", ["json", "parquet"])
def test_a_folder_of_answers_holds_certainty_of_one_kind(calibrated, predict, tmp_path, form):
    output = tmp_path / "answers"
    predict(coverage=0.8, output=str(output), format=form)
    if form == "json":
        lines = (output / "answers.jsonl").read_text("utf-8").splitlines()
        told = [json.loads(line)["certainty"] for line in lines]
    else:
        (path,) = output.glob("answers-*.parquet")
        told = [json.loads(each) for each in pq.read_table(path)["certainty"].to_pylist()]
    assert len(told) == 3
    assert all(len(each["full_price"]["interval"]) == 2 for each in told)
    with pytest.raises(PredictError, match="coverage"):
        predict(coverage=0.9, output=str(output), format=form)


@pytest.mark.parametrize("changes", [{"coverage": 0.9}, {"at_most_error": 0.15}])
def test_certainty_without_a_calibration_is_refused(predict, changes):
    with pytest.raises(CalibrationError, match=r"has no calibration.json. Make one"):
        predict(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"coverage": 90}, "coverage is 90; it must lie between 0 and 1"),
        ({"confidence": 1.0}, "confidence is 1.0; it must lie between 0 and 1"),
        ({"at_most_error": 0.0}, "at_most_error is 0.0; it must be above 0"),
    ],
)
def test_shares_that_cannot_be_meant_are_refused(changes, message):
    with pytest.raises(OptionError, match=message):
        PredictOptions(pictures=["x"], model="y", **changes)


def test_other_decoding_than_the_calibrations_is_refused(calibrated, predict):
    with pytest.raises(CalibrationError, match="made with --decoding guided"):
        predict(coverage=0.8, decoding="free")


@pytest.fixture
def evaluate(model, dataset, tmp_path):
    """Give a function that evaluates the model on the dataset."""

    def evaluate(**changes):
        chosen = {"dataset": str(dataset), "max_new_tokens": TOKENS, "bootstrap": 20, **changes}
        return evaluate_model(
            EvaluateOptions(
                model=str(model),
                output=str(tmp_path / "out"),
                device="cpu",
                overwrite=True,
                **chosen,
            )
        )

    return evaluate


def test_an_evaluation_scores_the_calibration(calibrated, evaluate):
    result = evaluate(coverage=0.8, price="median")
    found = result.scores["certainty"]
    assert (found["coverage_asked"], found["is_shifted"], found["notes"]) == (0.8, False, [])
    price, choice = found["prices"]["full_price"], found["choices"]["category3_code"]
    assert price["coverage"]["value"] == price["coverage_by_rows"]["value"]
    assert price["coverage_by_rows"]["low"] < price["coverage"]["value"]
    assert price["risk"]["by_share_answered"][-1][0] == 1.0
    assert sum(each["rows"] for each in choice["bins_after"]) == result.scores["counts"]["rows"]
    table = pq.read_table(Path(result.output) / "predictions.parquet").to_pylist()
    held = [
        row["full_price_interval_low"] <= row["truth_full_price"] <= row["full_price_interval_high"]
        for row in table
    ]
    assert price["coverage"]["value"] == pytest.approx(sum(held) / len(held))
    assert all(0 < row["category3_code_confidence"] <= 1 for row in table)
    page = Path(result.report).read_text("utf-8")
    assert "How sure it is, and whether that holds" in page
    assert page.count('<polyline class="curve"') == 1
    assert "intervals of 80 % hold the truth in" in page


def test_the_rows_of_the_calibration_itself_are_told(calibrated, evaluate):
    (note,) = evaluate(split="validation").scores["certainty"]["notes"]
    assert note.startswith("These are the rows that the calibration was made of")


def test_another_dataset_is_a_shift(calibrated, evaluate, model):
    path = model / CALIBRATION
    held = json.loads(path.read_text("utf-8"))
    held["made_of"]["dataset"] = "0" * 64
    path.write_text(json.dumps(held), "utf-8")
    found = evaluate().scores["certainty"]
    assert found["is_shifted"]
    assert "made of another dataset than this one" in found["notes"][0]


def test_what_would_be_withheld_is_scored(calibrated, evaluate):
    found = evaluate(at_most_error=0.15)
    answered = found.scores["certainty"]["prices"]["full_price"]["answered"]
    assert answered["calibration_share"] is None  # a random model is nowhere so near
    assert answered["share"]["value"] == 0.0
    page = Path(found.report).read_text("utf-8")
    assert "at most 15 % is shown for no share of the calibration" in page


def test_without_a_calibration_nothing_is_said(evaluate):
    result = evaluate()
    assert result.scores["certainty"] is None
    assert "How sure it is" not in Path(result.report).read_text("utf-8")
    with pytest.raises(CalibrationError, match=r"has no calibration.json"):
        evaluate(at_most_error=0.15)


def test_coverage_null_leaves_certainty_out(calibrated, evaluate):
    assert evaluate(coverage=None).scores["certainty"] is None
    with pytest.raises(OptionError, match="coverage null leaves out"):
        evaluate(coverage=None, at_most_error=0.1)
