import json
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from loupe.errors import MissingExtraError, OptionError
from loupe.tracking import (
    JsonlTracker,
    PredictedRow,
    RunDescription,
    WandbTracker,
    choose_wandb_mode,
    open_trackers,
)


def describe(folder: Path) -> RunDescription:
    return RunDescription(
        job_type="train",
        project="loupe",
        name="first",
        folder=folder,
        options={"batch_size": 16},
        dataset={"fingerprint": "ab"},
    )


def rows() -> list[PredictedRow]:
    colours = ["red", "green", "blue"]
    return [
        PredictedRow(f"row {k}", Image.new("RGB", (16, 16), colour), colour, "red")
        for k, colour in enumerate(colours)
    ]


def lines_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_jsonl_tracker_appends_whole_lines(tmp_path):
    tracker = JsonlTracker()
    tracker.start(describe(tmp_path))
    tracker.log({"train/loss": 0.5}, 3)
    tracker.predictions("train/predictions", rows(), 3)

    scalars, predictions = lines_of(tmp_path / "metrics.jsonl")

    assert scalars == {"step": 3, "train/loss": 0.5}
    assert predictions["train/predictions"][1] == {
        "row_id": "row 1",
        "truth": "green",
        "prediction": "red",
    }


def test_jsonl_tracker_drops_what_a_resumed_run_does_again(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"step": 4, "tra', "utf-8")

    tracker = JsonlTracker()
    tracker.start(replace(describe(tmp_path), resumed_step=2))
    tracker.log({"train/loss": 1.0}, 3)

    assert lines_of(path) == [{"step": 1}, {"step": 2}, {"step": 3, "train/loss": 1.0}]


def test_jsonl_tracker_starts_a_new_run_on_an_empty_page(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n', "utf-8")
    JsonlTracker().start(describe(tmp_path))
    assert lines_of(tmp_path / "metrics.jsonl") == []


def test_an_unknown_tracker_is_refused_with_the_known_ones():
    with pytest.raises(OptionError, match=r"tracker 'wand' is not known; choose from wandb"):
        open_trackers(["wand"])


@pytest.mark.parametrize(
    ("environment", "login", "expected"),
    [
        pytest.param({}, "", "offline", id="no login"),
        pytest.param({"WANDB_MODE": "disabled"}, "", "disabled", id="the user's own mode"),
        pytest.param({}, "machine localhost login user password key", "online", id="login file"),
        pytest.param({"WANDB_API_KEY": "key"}, "", "online", id="key in the environment"),
    ],
)
def test_wandb_is_online_only_with_a_login(tmp_path, environment, login, expected):
    login_file = tmp_path / "netrc"
    login_file.write_text(login, "utf-8")
    with socket.create_server(("localhost", 0)) as server:
        environment = {
            **environment,
            "WANDB_BASE_URL": f"http://localhost:{server.getsockname()[1]}",
        }
        assert choose_wandb_mode(environment, login_file) == expected


def test_wandb_is_offline_where_nothing_answers(tmp_path):
    with socket.create_server(("localhost", 0)) as server:
        port = server.getsockname()[1]
    environment = {"WANDB_API_KEY": "key", "WANDB_BASE_URL": f"http://localhost:{port}"}
    assert choose_wandb_mode(environment, tmp_path / "none") == "offline"


def test_missing_wandb_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    with pytest.raises(MissingExtraError, match=r"needs wandb: pip install 'loupe-vlm\[track\]'"):
        open_trackers(["wandb"])


# wandb's own import and service raise warnings of other packages' making.
@pytest.mark.filterwarnings("ignore")
def test_wandb_offline_run_holds_the_pictures_themselves(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    tracker = WandbTracker()
    tracker.start(describe(tmp_path))
    tracker.log({"train/loss": 0.5}, 1)
    tracker.predictions("train/predictions", rows(), 1)
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    tracker.artifact(tmp_path, ["best"])
    tracker.finish(has_failed=False)

    media = sorted(tmp_path.glob("wandb/offline-run-*/files/media/images/train/*.png"))
    assert len(media) == 3
    assert {Image.open(path).convert("RGB").getpixel((0, 0)) for path in media} == {
        (255, 0, 0),
        (0, 128, 0),
        (0, 0, 255),
    }
    staged = [path.read_bytes() for path in tmp_path.glob("wandb/staged/artifacts/staging/*")]
    assert sum(content.startswith(b"\x89PNG") for content in staged) == 3  # the table's pictures
    assert b"weights" in staged
    assert not list((tmp_path / "home").rglob("staging/*"))
