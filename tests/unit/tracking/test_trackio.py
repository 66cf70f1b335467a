"""What a run leaves in trackio's own folder, read in a process of its own.

trackio reads TRACKIO_DIR once, when it is imported, so each test runs a process.
"""

import json
import pickle
import sqlite3
import subprocess
import sys

import pytest
from PIL import Image

pytest.importorskip(
    "trackio", reason="trackio 0.43 needs Pillow below 13, constraints.txt has 13: docs/train.md"
)

TELL = """
import json, pickle, sys
from loupe.tracking.trackio import TrackioTracker

run, rows, model, facts, steps = pickle.load(sys.stdin.buffer)
tracker = TrackioTracker()
tracker.start(run)
for step in steps:
    tracker.log({"train/loss": 1 / step}, step)
tracker.predictions("train/predictions", rows, steps[-1])
tracker.model(model, facts, ["best", "latest"])
tracker.finish(has_failed=False)
"""


@pytest.fixture
def tell(told, tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))

    def tell(run, steps):
        message = pickle.dumps((run, told.rows, told.model, told.facts, steps))
        command = [sys.executable, "-c", TELL]
        return subprocess.run(command, input=message, capture_output=True, check=True)

    return tell


def query(tmp_path, question):
    database = sqlite3.connect(tmp_path / "trackio" / "loupe.db")
    try:
        return database.execute(question).fetchall()
    finally:
        database.close()


def test_a_run_is_whole_in_trackios_folder(told, tell, tmp_path):
    done = tell(told.run, [1, 2])
    assert done.stdout == b""  # stdout is for results

    metrics = [
        (step, json.loads(told))
        for step, told in query(tmp_path, "SELECT step, metrics FROM metrics ORDER BY id")
    ]
    assert [(step, row["train/loss"]) for step, row in metrics[:2]] == [(1, 1.0), (2, 0.5)]
    table = metrics[2][1]["train/predictions"]["_value"]
    assert [row["truth"] for row in table] == ["red", "green", "blue"]
    assert table[0].items() >= {"step": 2, "row_id": "row 0", "colour_right": 1.0}.items()
    pictures = [tmp_path / "trackio" / "media" / row["picture"]["file_path"] for row in table]
    shown = {Image.open(path).convert("RGB").getpixel((0, 0)) for path in pictures}
    assert shown == told.colours
    config = json.loads(query(tmp_path, "SELECT config FROM configs")[0][0])
    assert config["batch_size"] == 16
    assert config["dataset_info"]["fingerprint"] == "ab"


def test_a_run_uses_its_dataset_and_gives_a_model(told, tell, tmp_path):
    tell(told.run, [1])
    lineage = query(
        tmp_path,
        "SELECT a.name, a.type, l.direction, v.manifest FROM run_artifact_links l "
        "JOIN artifact_versions v ON v.id = l.artifact_version_id "
        "JOIN artifacts a ON a.id = v.artifact_id",
    )
    assert {(name, kind, direction) for name, kind, direction, _ in lineage} >= {
        ("dataset-my-data", "dataset", "input"),
        (f"model-{(told.model / 'run_id').read_text()}", "model", "output"),
    }
    assert {alias for (alias,) in query(tmp_path, "SELECT alias FROM artifact_aliases")} == {
        "best",
        "latest",
    }
    rows_lie = next(m for name, _, _, m in lineage if name.startswith("dataset"))
    assert (told.run.dataset_folder / "data").as_uri() in rows_lie


def test_a_killed_run_goes_on_as_the_same_run(told, tell, tmp_path):
    tell(told.run, [1, 2])
    tell(told.goes_on(2), [3, 4])
    runs = query(tmp_path, "SELECT DISTINCT run_name FROM metrics")
    assert runs == [(f"first-{(told.model / 'run_id').read_text()}",)]
    assert query(tmp_path, "SELECT max(step) FROM metrics") == [(4,)]
