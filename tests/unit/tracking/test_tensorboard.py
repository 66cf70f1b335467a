import pytest

from loupe.tracking.tensorboard import TensorBoardTracker

pytest.importorskip("tensorboard", reason="the extra `tensorboard` is not installed")


def read(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return events


def text_of(events, tag):
    return [
        event.tensor_proto.string_val[0].decode() for event in events.Tensors(f"{tag}/text_summary")
    ]


def test_curves_options_and_predictions_are_in_the_event_file(told):
    tracker = TensorBoardTracker()
    tracker.start(told.run)
    tracker.log({"train/loss": 0.5, "train/learning_rate": 0.1}, 1)
    tracker.log({"train/loss": 0.25}, 2)
    tracker.predictions("train/predictions", told.rows, 2)
    tracker.model(told.model, told.facts, ["best"])
    tracker.finish(has_failed=False)

    events = read(told.model)
    assert [(e.step, e.value) for e in events.Scalars("train/loss")] == [(1, 0.5), (2, 0.25)]
    assert events.Scalars("train/learning_rate")[0].value == pytest.approx(0.1)
    assert "    batch_size: 16\n" in text_of(events, "options")[0]
    assert "best_score: 0.5" in text_of(events, "model")[0]
    table = text_of(events, "train/predictions")[0].splitlines()
    assert table[0] == "| row | truth | prediction | colour_right | price_ape |"
    assert table[2:4] == [
        "| row 0 | red | red \\| blue | 1 | 0.25 |",
        "| row 1 | green | red \\| blue | 0 |  |",
    ]


def test_what_a_resumed_run_does_again_is_shown_once(told):
    first = TensorBoardTracker()
    first.start(told.run)
    for step in (1, 2, 3):
        first.log({"train/loss": float(step)}, step)
    first.finish(has_failed=True)
    second = TensorBoardTracker()
    second.start(told.goes_on(1))
    for step in (2, 3, 4):
        second.log({"train/loss": 10.0 * step}, step)
    second.finish(has_failed=False)

    shown = [(event.step, event.value) for event in read(told.model).Scalars("train/loss")]
    assert shown == [(1, 1.0), (2, 20.0), (3, 30.0), (4, 40.0)]
