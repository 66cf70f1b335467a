"""Trackers of a run behind one small protocol: a JSONL file always, others where asked."""

from loupe.tracking.jsonl import JsonlTracker
from loupe.tracking.several import Trackers, open_trackers
from loupe.tracking.tracker import PredictedRow, RunDescription, Tracker

__all__ = [
    "JsonlTracker",
    "PredictedRow",
    "RunDescription",
    "Tracker",
    "Trackers",
    "open_trackers",
]
