import errno
import sys
from pathlib import Path

import pytest

from loupe.errors import MissingExtraError, OptionError, TrainError
from loupe.tracking import JsonlTracker, Trackers, open_trackers

DEEDS = ["start", "log", "predictions", "settle", "model", "finish"]


class FailingTracker:
    """Fails in one of its methods, and counts how often each was called."""

    name = "failing"

    def __init__(self, deed):
        self._deed = deed
        self.calls = []

    def __getattr__(self, deed):
        def act(*_, **__):
            self.calls.append(deed)
            if deed == self._deed:
                raise ConnectionError("the service\nis away")

        return act


def tell_all(trackers, told):
    trackers.start(told.run)
    for step in (1, 2):
        trackers.log({"train/loss": 0.5}, step)
    trackers.predictions("train/predictions", told.rows, 2)
    trackers.settle(2)
    trackers.model(told.model, told.facts, ["best"])
    trackers.finish(has_failed=False)


@pytest.mark.parametrize("deed", DEEDS)
def test_a_trackers_failure_is_told_once_and_ends_nothing(told, caplog, deed):
    failing = FailingTracker(deed)
    tell_all(Trackers([failing, JsonlTracker()]), told)

    assert len((told.model / "metrics.jsonl").read_text("utf-8").splitlines()) == 4
    assert len(caplog.messages) == 1
    assert "The tracker failing could not" in caplog.text
    assert "(ConnectionError: the service is away); the run goes on." in caplog.text
    assert failing.calls == (["start"] if deed == "start" else ["start", "log", *DEEDS[1:]])


def test_an_interrupt_is_no_failure_of_a_tracker(told):
    class Interrupted(JsonlTracker):
        def log(self, metrics, step):
            raise KeyboardInterrupt

    trackers = Trackers([Interrupted()])
    trackers.start(told.run)
    with pytest.raises(KeyboardInterrupt):
        trackers.log({}, 1)


def test_a_record_that_cannot_be_written_ends_the_run(told, monkeypatch):
    trackers = Trackers([JsonlTracker()])
    trackers.start(told.run)
    trackers.log({"train/loss": 0.5}, 1)

    def full_disk(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", full_disk)
        with pytest.raises(TrainError, match=r"metrics.jsonl' cannot be written \(No space left"):
            trackers.log({"train/loss": 0.4}, 2)
        with pytest.raises(TrainError, match="the same command goes on"):
            trackers.start(told.run)
    assert len((told.model / "metrics.jsonl").read_text("utf-8").splitlines()) == 1


def test_an_unknown_tracker_is_refused_with_the_known_ones():
    with pytest.raises(
        OptionError, match=r"'wand' is not known; choose from wandb, tensorboard, trackio\. metr"
    ):
        open_trackers(["wand"])


@pytest.mark.parametrize(
    ("name", "extra"),
    [("wandb", "track"), ("tensorboard", "tensorboard"), ("trackio", "trackio")],
)
def test_a_tracker_that_is_not_installed_is_refused_with_the_pip_line(monkeypatch, name, extra):
    monkeypatch.setitem(sys.modules, name, None)
    line = rf"The tracker {name} needs {name}: pip install 'loupe-vlm\[{extra}\]'"
    with pytest.raises(MissingExtraError, match=line):
        open_trackers([name])
