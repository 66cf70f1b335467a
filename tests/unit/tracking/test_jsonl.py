import json

from loupe.tracking import JsonlTracker


def lines_of(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_events_are_whole_lines(told):
    tracker = JsonlTracker()
    tracker.start(told.run)
    tracker.log({"train/loss": 0.5}, 3)
    tracker.predictions("train/predictions", told.rows, 3)
    tracker.model(told.model, told.facts, ["best"])

    scalars, predictions, model = lines_of(told.model / "metrics.jsonl")

    assert scalars == {"step": 3, "train/loss": 0.5}
    assert predictions["train/predictions"][1] == {
        "row_id": "row 1",
        "truth": "green",
        "prediction": "red | blue",
        "colour_right": 0.0,
        "price_ape": None,
    }
    assert model == {"model": "model", **told.facts, "aliases": ["best"]}


def test_what_a_resumed_run_does_again_is_dropped(told):
    path = told.model / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"step": 4, "tra', "utf-8")

    tracker = JsonlTracker()
    tracker.start(told.goes_on(2))
    tracker.log({"train/loss": 1.0}, 3)

    assert lines_of(path) == [{"step": 1}, {"step": 2}, {"step": 3, "train/loss": 1.0}]


def test_a_new_run_starts_on_an_empty_page(told):
    (told.model / "metrics.jsonl").write_text('{"step": 1}\n', "utf-8")
    JsonlTracker().start(told.run)
    assert lines_of(told.model / "metrics.jsonl") == []
