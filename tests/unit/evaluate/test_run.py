"""The evaluation from options to files."""

import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest

from loupe.errors import DatasetError, EvaluateError
from loupe.evaluate import evaluate_model
from loupe.evaluate.run import evaluate
from loupe.task import Task


@pytest.fixture
def run(make_dataset, make_predictor, options, task):
    """Give a function that evaluates a fake model on a fake dataset."""

    def run(task=task, looks=True, train=80, test=160, **changes):
        dataset = make_dataset(task, train, test)
        predictor = make_predictor(dataset, looks)
        return evaluate(dataset, lambda: predictor, replace(options, **changes))

    return run


def read(result, name):
    return json.loads((Path(result.output) / name).read_text("utf-8"))


def test_writes_scores_predictions_report_and_options(run):
    result = run(words=["colour_word"])
    assert sorted(path.name for path in Path(result.output).iterdir()) == [
        "options.yaml",
        "predictions.parquet",
        "report.html",
        "scores.json",
    ]
    assert read(result, "scores.json") == result.scores


def test_a_model_that_looks_is_said_to_look(run):
    result = run(words=["colour_word"])
    scores = result.scores
    assert scores["verdict"].startswith("The model looks: its own picture makes it better at title")
    assert scores["scores"]["evaluate/category3_code_accuracy"]["value"] == 1.0
    assert scores["scores"]["evaluate/colour_word_accuracy"]["value"] == 1.0
    gain = scores["picture_gain"]["evaluate/category3_code_accuracy"]
    assert gain["blind"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert gain["shuffled"]["low"] > 0.5
    assert "no evidence" not in result.summary()


def test_a_model_that_does_not_look_is_found_out(run):
    result = run(looks=False)
    assert result.scores["verdict"].startswith("There is no evidence that the model looks")
    for gain in result.scores["picture_gain"].values():
        assert gain["looks"] is False
        assert gain["blind"]["value"] == gain["shuffled"]["value"] == 0.0


def test_baselines_stand_beside_the_scores(run):
    scores = run().scores
    assert list(scores["baselines"]) == [
        "constant",
        "median_of_predicted_category3_code",
        "median_of_true_category3_code",
        "nearest_pixels_16",
        "nearest_pixels_32",
        "nearest_features",
        "ridge_features",
    ]
    oracle = scores["baselines"]["median_of_true_category3_code"]
    assert oracle["is_oracle"]
    assert list(oracle["models_advantage"]) == ["evaluate/full_price_median_ape"]
    constant = scores["baselines"]["constant"]["scores"]
    assert constant["evaluate/category3_code_accuracy"]["value"] == 0.25
    assert scores["beaten"]["evaluate/category3_code_accuracy"] == {
        "beaten": ["constant"],
        "not_beaten": [
            "nearest_pixels_16",
            "nearest_pixels_32",
            "nearest_features",
            "ridge_features",
        ],
    }
    assert scores["best_possible"]["evaluate/full_price_median_ape"]["value"] <= 0.2


def test_prices_read_otherwise_stand_beside_those_that_were_said(run):
    result = run(price="median")
    price = "evaluate/full_price_median_ape"
    assert result.scores["scores"][price]["value"] > 0.5
    assert result.scores["variants"]["said"]["scores"][price]["value"] == 0.1
    assert "the model, price as it was said" in result.summary()
    assert "price as it was said" in Path(result.report).read_text("utf-8")
    assert "said" not in run(output=result.output + "2").scores["variants"]


def test_predictions_hold_truth_answer_and_errors(run):
    table = pq.read_table(Path(run().output) / "predictions.parquet").to_pylist()
    row = table[3]
    assert row["truth_title"] == row["predicted_title"] == "Bag"
    assert row["answer"].startswith("Product: Bag, Category: BAGS")
    assert row["full_price_ape"] == pytest.approx(
        abs(row["predicted_full_price"] / row["truth_full_price"] - 1)
    )
    assert (row["problem"], row["blind_predicted_title"]) == (None, None)
    shuffled = next(other for other in table if other["row_id"] == row["shuffled_row_id"])
    assert row["shuffled_answer"] == shuffled["answer"]


def test_the_blind_twin_is_asked_once_per_size(make_dataset, make_predictor, options, task):
    dataset = make_dataset(task)
    predictor = make_predictor(dataset)
    evaluate(dataset, lambda: predictor, replace(options, batch_size=100))
    assert predictor.asked == [100, 100, 60, 60, 1]  # each picture guided and freely


def test_scores_are_the_same_on_every_run(run, tmp_path):
    one, other = run(output=str(tmp_path / "one")), run(output=str(tmp_path / "other"))
    for part in ("scores", "twins", "baselines", "slices"):
        assert one.scores[part] == other.scores[part]


def test_drawn_rows_are_said(run):
    result = run(max_rows=12)
    assert result.scores["counts"]["rows"] == 12
    assert "12 of 160 rows were answered, drawn by the seed." in result.scores["notes"]


def test_without_twins_nothing_is_claimed(run):
    result = run(twins=False)
    assert result.scores["verdict"].startswith("Whether the model looks was not tested")
    assert result.scores["twins"] == {}
    assert "was not tested" in result.summary()


def test_without_training_rows_there_are_no_baselines(make_dataset, make_predictor, options, task):
    predictor = make_predictor(make_dataset(task))
    scores = evaluate(make_dataset(task, train=0), lambda: predictor, options).scores
    assert scores["baselines"] == {}
    assert "There are no baselines: the dataset has no training rows." in scores["notes"]


def test_baselines_can_be_left_out(run):
    result = run(baseline_rows=0)
    assert result.scores["baselines"] == {}
    assert "There are no baselines: baseline_rows is 0." in result.scores["notes"]
    assert result.summary()


def test_one_row_is_enough(run):
    scores = run(test=1).scores
    assert list(scores["twins"]) == ["blind"]


TASKS = {
    "text": {"title": {"type": "text"}},
    "choice": {"category3_code": {"type": "choice"}},
    "integer": {"stock": {"type": "integer"}},
    "number and choice": {
        "weight": {"type": "number", "decimals": 1},
        "category3_code": {"type": "choice"},
    },
}


@pytest.mark.parametrize("fields", TASKS.values(), ids=TASKS.keys())
def test_tasks_with_other_fields(run, fields):
    template = ", ".join(f"{name}: {{{name}}}" for name in fields)
    task = Task.from_dict({"question": "What?", "answer": template, "fields": fields})
    result = run(task=task)
    assert set(result.scores["picture_gain"]) == set(result.scores["beaten"])
    assert result.summary()
    assert "<html" in (Path(result.output) / "report.html").read_text("utf-8")


def test_scores_hold_no_nan(run):
    def numbers(value):
        if isinstance(value, dict | list):
            for inner in value.values() if isinstance(value, dict) else value:
                yield from numbers(inner)
        elif isinstance(value, float):
            yield value

    assert all(math.isfinite(number) for number in numbers(run(test=3).scores))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": "tset"}, "There is no split 'tset'; choose one of train, validation, test"),
        ({"batch_size": 0}, "batch_size is 0; it must be at least 1"),
        ({"seed": -1}, "seed is -1; it must be at least 0"),
        ({"maps": -1}, "maps is -1; it must be at least 0"),
        ({"confidence": 95}, "confidence is 95; it must lie between 0 and 1"),
        ({"split": "validation"}, "has no validation rows to answer"),
        ({"slice_by": ["color"]}, "slice_by names column 'color', which the dataset does not"),
        ({"words": ["color"]}, "words names column 'color', which the dataset does not have"),
        ({"words": ["row_id"]}, "no row's title says its value"),
        ({"best_columns": {"price": "x"}}, "best_columns names the fields .'price'."),
        ({"best_columns": {"full_price": "x"}}, "best_columns names column 'x'"),
        ({"best_columns": {"full_price": "row_id"}}, "that the field does not take"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_be_meant_is_refused_before_the_model_is_loaded(
    make_dataset, options, task, changes, message
):
    def load():
        pytest.fail("the model was loaded")

    with pytest.raises(EvaluateError, match=message):
        evaluate(make_dataset(task), load, replace(options, **changes))
    assert not list(Path(options.output).parent.iterdir())


def test_words_need_a_text_field(run):
    fields = {"category3_code": {"type": "choice"}}
    task = Task.from_dict({"question": "?", "answer": "{category3_code}", "fields": fields})
    with pytest.raises(EvaluateError, match="looked for in text fields, and the task has none"):
        run(task=task, words=["colour_word"])


def test_a_model_of_another_task_is_refused(make_dataset, make_predictor, options, task):
    fields = {"title": {"type": "text"}}
    other = Task.from_dict({"question": "?", "answer": "{title}", "fields": fields})
    predictor = make_predictor(make_dataset(other))
    with pytest.raises(EvaluateError, match="Evaluate a model that was trained on this task"):
        evaluate(make_dataset(task), lambda: predictor, options)


def changed(task, field, **settings):
    declared = task.to_dict()
    declared["fields"][field] |= settings
    return Task.from_dict(declared)


def test_a_model_that_answers_in_another_currency_is_refused(
    make_dataset, make_predictor, options, task
):
    predictor = make_predictor(make_dataset(changed(task, "full_price", currency="EUR")))
    message = "full_price was in EUR in training and is in USD now"
    with pytest.raises(EvaluateError, match=message):
        evaluate(make_dataset(task), lambda: predictor, options)


def test_choices_that_the_model_was_not_trained_on_are_told(
    make_dataset, make_predictor, options, task
):
    goods = ["BAGS", "COATS", "SCARVES"]
    dataset = make_dataset(changed(task, "category3_code", choices=[*goods, "SHIRTS"]))
    predictor = make_predictor(dataset)
    predictor.task = changed(task, "category3_code", choices=[*goods, "TIES"])
    predictor.known = [each for each in predictor.known if each[1]["category3_code"] != "SHIRTS"]
    predictor.processor = SimpleNamespace(tokenizer=lambda texts, **_: {"input_ids": texts})
    result = evaluate(dataset, lambda: predictor, options)
    note = result.scores["notes"][0]
    assert "1 not known in training (SHIRTS) and 1 less than in training (TIES)" in note
    assert "40 of 160 rows are of choices that the model cannot name" in note
    assert "1 not known in training" in result.summary()
    assert "1 not known in training" in Path(result.report).read_text("utf-8")


def test_another_question_is_told(make_dataset, make_predictor, options, task):
    predictor = make_predictor(make_dataset(task))
    predictor.task = replace(task, question="What is it?")
    notes = evaluate(make_dataset(task), lambda: predictor, options).scores["notes"]
    assert notes[0].startswith("The question was 'What is it?' in training")


def test_prices_as_they_were_said_are_read_by_the_models_own_template(
    make_dataset, make_predictor, options, task
):
    predictor = make_predictor(make_dataset(task))
    predictor.task = replace(task, answer="{title} / {category3_code} / {full_price}")
    found = evaluate(make_dataset(task), lambda: predictor, replace(options, price="median"))
    said = found.scores["variants"]["said"]["scores"]
    assert said["evaluate/full_price_median_ape"]["value"] == 0.1


@pytest.mark.parametrize(
    ("record", "message"),
    [({}, "neither training.json nor"), ({"base": "/gone/base"}, "'/gone/base', which")],
    ids=["unknown", "gone"],
)
def test_untuned_needs_the_base(make_dataset, options, task, tmp_path, record, message):
    (tmp_path / "training.json").write_text(json.dumps(record), "utf-8")
    asked = replace(options, model=str(tmp_path), untuned=True)
    with pytest.raises(EvaluateError, match=message):
        evaluate(make_dataset(task), lambda: pytest.fail("the model was loaded"), asked)


def test_a_missing_dataset_is_one_line(options):
    with pytest.raises(DatasetError, match="data"):
        evaluate_model(options)


def test_an_absurd_number_spoils_neither_scores_nor_files(make_dataset, options):
    fields = {"stock": {"type": "integer"}}
    task = Task.from_dict({"question": "?", "answer": "{stock}", "fields": fields})
    dataset = make_dataset(task)

    class Boaster:
        processor = None

        def __init__(self):
            self.task = task

        def predict(self, pictures, **_):
            return [task.parse("9" * 400)] * len(pictures)

        def features(self, pictures, **_):
            return np.zeros((len(pictures), 2), np.float32)

    result = evaluate(dataset, Boaster, options)
    assert result.scores["scores"]["evaluate/stock_mae"]["value"] > 1e14
    table = pq.read_table(Path(result.output) / "predictions.parquet")
    assert table.num_rows == 160


@pytest.mark.parametrize(("fingerprint", "is_noted"), [("f" * 64, False), ("0" * 64, True)])
def test_a_model_of_another_dataset_is_noted(run, tmp_path, fingerprint, is_noted):
    record = json.dumps({"dataset_fingerprint": fingerprint})
    (tmp_path / "training.json").write_text(record, "utf-8")
    notes = run(model=str(tmp_path)).scores["notes"]
    assert any("trained on another dataset" in note for note in notes) is is_noted


def test_a_silent_twin_is_noted(run):
    note = "100 % of the blind twin's answers do not parse, which counts as wrong"
    assert any(line.startswith(note) for line in run().scores["notes"])


def test_the_longest_answer_follows_the_training_answers(
    make_dataset, make_predictor, options, task
):
    dataset, limits = make_dataset(task), []
    predictor = make_predictor(dataset)
    inner = predictor.predict

    def predict(pictures, *, max_new_tokens, **_):
        limits.append(max_new_tokens)
        return inner(pictures)

    predictor.predict = predict
    predictor.processor = SimpleNamespace(
        tokenizer=lambda texts, **_: {"input_ids": [text.split() for text in texts]}
    )
    evaluate(dataset, lambda: predictor, options)
    assert set(limits) == {int(8 * 1.25) + 1}  # "Product: Red Shirt, Category: SHIRTS, ..."


def test_summary_is_a_table_with_the_verdict_and_the_next_command(run):
    lines = run(words=["colour_word"]).summary().splitlines()
    assert lines[0] == "160 test rows in 20 groups; 0 answers do not parse."
    assert lines[2].split() == ["title", "category3_code", "full_price", "colour"]
    labels = [line.split("  ")[0] for line in lines[4:17]]
    assert labels[0] == "model"
    assert "median of the true category3_code (oracle)" in labels
    assert "best possible" in labels
    assert max(map(len, lines[:-1])) <= 120
    assert lines[-1].endswith("Next: `loupe predict PICTURE --model model`")
