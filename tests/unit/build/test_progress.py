import logging

from loupe.build import progress
from loupe.build.journal import Entry
from loupe.build.ledger import Reason, Rejection


def test_without_a_terminal_lines_tell_rate_time_left_and_failures(monkeypatch, caplog):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    failed = Entry(Rejection(Reason.TIMED_OUT, "20 s"), 1, 0, 20.0)
    with caplog.at_level(logging.INFO), progress.Progress(1200) as shown:
        for place in range(1200):
            now[0] += 0.1
            shown.count(failed if place == 0 else Entry(None, 1, 0, 0.1))
    told = [record.getMessage() for record in caplog.records]
    assert told[0] == " 10 % · 120 pictures, 10 a second · 1:48 left · timed_out 1"
    assert told[-1] == "Gathered 1,200 pictures, 10 a second"
    assert len(told) == 10


def test_short_work_tells_nothing(caplog):
    with caplog.at_level(logging.INFO), progress.Progress(100) as shown:
        for _ in range(100):
            shown.count(Entry(None, 1, 0, 0.0))
    assert not caplog.records


def test_slow_work_is_told_of_every_five_minutes(monkeypatch, caplog):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with caplog.at_level(logging.INFO), progress.Progress(100_000, "Answered") as shown:
        for _ in range(800):
            now[0] += 2
            shown.count_one(None)
    told = [record.getMessage() for record in caplog.records]
    assert told[0] == "  0 % · 150 pictures, 0.5 a second · 55:28:20 left"
    assert told[-1] == "Answered 800 pictures, 0.5 a second"
    assert len(told) == 6
