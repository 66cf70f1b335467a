"""What W&B's own files hold, as `wandb sync` will read them, and when it is asked at all."""

import hashlib
import json
import pickle
import signal
import socket
import struct
import subprocess
import sys
import threading
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image

from loupe.tracking.wandb import WandbTracker, choose_mode

pytest.importorskip("wandb", reason="the extra `track` is not installed")

# wandb's own import and service raise warnings of other packages' making.
pytestmark = pytest.mark.filterwarnings("ignore")

BLOCK = 32768  # the .wandb file is LevelDB's log format behind a header of 7 bytes
HEAD = 7
WHOLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def records_of(path):
    """Read the records that `wandb sync` sends from a .wandb file."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, place, part = path.read_bytes(), HEAD, b""
    while place + HEAD <= len(content):
        left = BLOCK - place % BLOCK
        if left < HEAD:
            place += left
            continue
        _, length, kind = struct.unpack_from("<IHB", content, place)
        part += content[place + HEAD : place + HEAD + length]
        place += HEAD + length
        if kind in {WHOLE, LAST}:
            yield Record.FromString(part)
            part = b""


def read_all(folder):
    """Give all records of a run folder, its parts in the order in which they are sent."""
    parts = sorted(folder.glob("wandb/*run-*/run-*.wandb"))
    return [record for path in parts for record in records_of(path)]


def artifacts_of(records):
    return [record.artifact for record in records if record.HasField("artifact")]


def history_of(records):
    """Give what was logged, row by row; what is nested has its keys joined by dots."""
    return [
        {
            item.key or ".".join(item.nested_key): json.loads(item.value_json)
            for item in record.history.item
        }
        for record in records
        if record.HasField("history")
    ]


@pytest.fixture
def offline(tmp_path, monkeypatch):
    import wandb

    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("WANDB_DATA_DIR", "WANDB_API_KEY", "WANDB_BASE_URL", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    wandb.teardown()  # W&B reads its settings once
    yield
    wandb.teardown()


def tell(told, run, steps):
    import wandb

    tracker = WandbTracker()
    tracker.start(run)
    for step in steps:
        tracker.log({"train/loss": 1 / step}, step)
    tracker.predictions("train/predictions", told.rows, steps[-1])
    tracker.settle(steps[-1])
    tracker.model(told.model, told.facts, ["best", "latest"])
    tracker.finish(has_failed=False)
    wandb.teardown()  # W&B's process has written all


def test_an_offline_run_holds_all_that_a_later_sync_sends(told, offline, tmp_path):
    tell(told, told.run, [1, 2])
    records = read_all(told.model)

    config = {
        item.key: json.loads(item.value_json)
        for record in records
        if record.HasField("run")
        for item in record.run.config.update
    }
    assert config["batch_size"] == 16
    assert config["dataset_info"]["fingerprint"] == "ab"
    history = history_of(records)
    losses = [(event["_step"], event["train/loss"]) for event in history if "train/loss" in event]
    assert losses == [(1, 1.0), (2, 0.5)]
    artifacts = artifacts_of(records)
    assert {artifact.type for artifact in artifacts} >= {"dataset", "model", "run_table"}
    for artifact in artifacts:
        for entry in artifact.manifest.contents:
            if not entry.ref:
                content = Path(entry.local_path).read_bytes()
                digest = hashlib.md5(content, usedforsecurity=False).digest()
                assert b64encode(digest).decode() == entry.digest, entry.path
    assert not list((tmp_path / "home").rglob("staging/*"))


def test_the_table_of_an_offline_run_shows_the_pictures_themselves(told, offline):
    tell(told, told.run, [3])
    records = read_all(told.model)

    table = next(artifact for artifact in artifacts_of(records) if artifact.type == "run_table")
    files = {entry.path: Path(entry.local_path) for entry in table.manifest.contents}
    held = json.loads(next(files[name] for name in files if name.endswith(".json")).read_text())
    rows = [dict(zip(held["columns"], row, strict=True)) for row in held["data"]]
    assert held["columns"][:5] == ["step", "row_id", "picture", "truth", "prediction"]
    assert [row["truth"] for row in rows] == ["red", "green", "blue"]
    assert [row["step"] for row in rows] == [3, 3, 3]
    assert [(row["colour_right"], row["price_ape"]) for row in rows][:2] == [(1, 0.25), (0, None)]
    seen = {Image.open(files[row["picture"]["path"]]).getpixel((0, 0)) for row in rows}
    assert seen == told.colours
    (logged,) = [row for row in history_of(records) if "train/predictions._type" in row]
    assert logged["train/predictions._type"] == "table-file"
    assert table.client_id in logged["train/predictions.artifact_path"]


def test_the_pictures_also_stand_among_the_runs_media(told, offline):
    tell(told, told.run, [3])
    media = list(told.model.glob("wandb/offline-run-*/files/media/images/train/*.png"))
    assert {Image.open(path).getpixel((0, 0)) for path in media} == told.colours


def test_a_run_uses_its_dataset_and_gives_a_model(told, offline):
    tell(told, told.run, [1])
    logged = artifacts_of(read_all(told.model))
    dataset = next(artifact for artifact in logged if artifact.type == "dataset")
    model = next(artifact for artifact in logged if artifact.type == "model")
    assert dataset.name == "dataset-my-data"
    assert dataset.use_after_commit
    assert list(dataset.aliases) == ["latest"]
    assert json.loads(dataset.metadata)["fingerprint"] == "ab"
    entries = {entry.path: entry for entry in dataset.manifest.contents}
    assert set(entries) == {
        "dataset.json",
        "task.yaml",
        "data/train-00000-of-00001.parquet",
    }
    rows = entries["data/train-00000-of-00001.parquet"]
    assert rows.ref == (told.run.dataset_folder / rows.path).as_uri()  # referred to, not sent
    assert model.name == f"model-{(told.model / 'run_id').read_text()}"
    assert not model.use_after_commit
    assert sorted(model.aliases) == ["best", "latest"]
    assert json.loads(model.metadata) == told.facts
    weights = {entry.path: entry.local_path for entry in model.manifest.contents}
    assert weights["model.safetensors"] == str(told.model / "model.safetensors")  # no copy


KILLED = """
import os, pickle, signal, sys, time
from loupe.tracking.wandb import WandbTracker

run, rows = pickle.load(sys.stdin.buffer)
tracker = WandbTracker()
tracker.start(run)
tracker.log({"train/loss": 1.0}, 1)
tracker.predictions("train/predictions", rows, 1)
tracker.log({"train/validation_loss": 2.0}, 1)
tracker.settle(1)
tracker.log({"train/loss": 0.7}, 2)
time.sleep(4)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_run_goes_on_as_the_same_run_with_nothing_lost(told, offline):
    message = pickle.dumps((told.run, told.rows))
    killed = subprocess.run([sys.executable, "-c", KILLED], input=message, check=False)
    assert killed.returncode == -signal.SIGKILL
    before = history_of(read_all(told.model))
    assert [event["_step"] for event in before] == [1]
    assert {"train/loss", "train/validation_loss", "train/predictions.path"} <= set(before[0])

    tell(told, told.goes_on(1), [2, 3])

    records = read_all(told.model)
    ids = {record.run.run_id for record in records if record.HasField("run")}
    steps = [event["_step"] for event in history_of(records) if "train/loss" in event]
    assert ids == {(told.model / "run_id").read_text()}
    assert steps == [1, 2, 3]
    found = subprocess.run(
        [sys.executable, "-m", "wandb", "sync", "--dry-run", str(told.model / "wandb")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Would sync 2 run(s)" in found.stderr


class Refusal(BaseHTTPRequestHandler):
    """A W&B server that lets nobody in."""

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(401)
        self.end_headers()

    def log_message(self, *_):
        pass


def test_a_login_that_is_refused_leaves_an_offline_run(told, offline, monkeypatch, caplog):
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    with ThreadingHTTPServer(("localhost", 0), Refusal) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("WANDB_BASE_URL", f"http://localhost:{server.server_port}")
        tell(told, told.run, [1])
        server.shutdown()
    assert "W&B took no run online" in caplog.text
    assert [event["_step"] for event in history_of(read_all(told.model))][:1] == [1]


@pytest.mark.parametrize(
    ("mode", "has_key", "login", "expected"),
    [
        pytest.param("online", False, "", "offline", id="no login"),
        pytest.param("disabled", True, "", "disabled", id="the user's own mode"),
        pytest.param("online", False, "machine localhost password key", "online", id="login file"),
        pytest.param("online", True, "", "online", id="key in the environment"),
    ],
)
def test_wandb_is_online_only_with_a_login(tmp_path, mode, has_key, login, expected):
    login_file = tmp_path / "netrc"
    login_file.write_text(login, "utf-8")
    with socket.create_server(("localhost", 0)) as server:
        address = f"http://localhost:{server.getsockname()[1]}"
        assert choose_mode(mode, address, login_file, has_key=has_key) == expected


def test_wandb_is_offline_where_nothing_answers(tmp_path):
    with socket.create_server(("localhost", 0)) as server:
        address = f"http://localhost:{server.getsockname()[1]}"
    assert choose_mode("online", address, tmp_path / "none", has_key=True) == "offline"
