"""The whole job through the real commands, each in its own process, on a tiny random model."""

import html
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from commands import loupe

ROWS = 90


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    folder = tmp_path_factory.mktemp("job") / "sample"
    loupe("sample", "--rows", ROWS, "--image-size-px", 64, "--output", folder, "--workers", 1)
    return folder


@pytest.fixture(scope="module")
def data(sample):
    folder = sample.parent / "data"
    loupe("build", "--source", sample, "--output", folder, "--group-by", "kind", "colour")
    return folder


@pytest.fixture(scope="module")
def model(data, tiny_checkpoint):
    folder = data.parent / "model"
    words = ["--optimizer", "muon", "--max-steps", 6, "--batch-size", 8, "--evaluations", 2]
    loupe("train", "--dataset", data, "--model", tiny_checkpoint, "--output", folder, *words)
    return folder


@pytest.fixture(scope="module")
def evaluation(model, data):
    folder = data.parent / "evaluation"
    words = ["--words", "colour_word", "pattern_word", "--bootstrap", 50]
    loupe("evaluate", "--model", model, "--dataset", data, "--output", folder, *words)
    return folder


def test_no_row_is_lost_between_sample_and_dataset(data):
    counts = json.loads((data / "dataset.json").read_text())["counts"]
    kept = counts["train"] + counts["validation"] + counts["test"]
    assert counts["read"] == ROWS == kept + sum(counts["rejected"].values())


def test_training_leaves_a_model_that_says_how_it_was_made(model):
    record = json.loads((model / "training.json").read_text())
    assert record["steps"] == 6
    assert (model / "model.safetensors").exists()
    assert (model / "options.yaml").exists()
    assert not list(model.glob("*.bin"))
    lines = (model / "metrics.jsonl").read_text().splitlines()
    names = {name for line in lines for name in json.loads(line)}
    assert any("loss" in name for name in names)


def test_evaluation_stands_beside_its_baselines_and_twins(evaluation):
    scores = json.loads((evaluation / "scores.json").read_text())
    assert set(scores["twins"]) == {"blind", "shuffled"}
    assert {"constant", "nearest_pixels_16", "median_of_true_category3_code"} <= set(
        scores["baselines"]
    )
    assert scores["best_possible"]["evaluate/full_price_median_ape"]["value"] < 0.2
    report = html.unescape((evaluation / "report.html").read_text())
    assert scores["verdict"] in report
    assert "http://" not in report.replace("http://www.w3.org", "")


def test_prediction_is_one_json_object_per_picture(sample, model):
    pictures = sorted((sample / "images").iterdir())[:2]
    bad = sample.parent / "bad.jpg"
    bad.write_text("<html>not a picture</html>")
    done = loupe("predict", *pictures, bad, "--model", model, "--max-new-tokens", 8)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [Path(answer["picture"]).name for answer in answers] == [
        *(picture.name for picture in pictures),
        "bad.jpg",
    ]
    assert answers[2]["problem"]


def test_finished_stages_are_kept(data, model, tiny_checkpoint):
    before = (model / "training.json").stat().st_mtime_ns
    words = ["--optimizer", "muon", "--max-steps", 6, "--batch-size", 8, "--evaluations", 2]
    done = loupe("train", "--dataset", data, "--model", tiny_checkpoint, "--output", model, *words)
    assert "finished" in done.stdout
    assert (model / "training.json").stat().st_mtime_ns == before
    refused = loupe("build", "--source", data, "--output", data, check=False)
    assert refused.returncode == 1


def test_killed_training_is_not_trusted_and_goes_on(data, tiny_checkpoint, tmp_path):
    folder = tmp_path / "model"
    words = ["train", "--dataset", data, "--model", tiny_checkpoint, "--output", folder]
    words += ["--max-steps", 40, "--batch-size", 4, "--evaluations", 4, "--optimizer", "muon"]
    command = [sys.executable, "-m", "loupe", *map(str, words)]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not list(folder.glob("checkpoints/checkpoint-*/trainer_state.json")):
        assert running.poll() is None, running.stderr.read().decode()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(running.pid, signal.SIGKILL)
    running.communicate()
    if not (folder / "training.json").exists():
        refused = loupe("evaluate", "--model", folder, "--dataset", data, "--output",
                        tmp_path / "e", check=False)  # fmt: skip
        assert refused.returncode == 1
        assert len(refused.stderr.strip().splitlines()) == 1
    loupe(*words)
    assert json.loads((folder / "training.json").read_text())["steps"] == 40


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["build", "--source", "nowhere.csv", "--output", "out"], "nowhere.csv"),
        (["train", "--dataset", "nowhere", "--output", "out"], "nowhere"),
        (["evaluate", "--model", "nowhere", "--dataset", "nowhere", "--output", "out"], "nowhere"),
        (["predict", "nowhere.jpg", "--model", "nowhere"], "nowhere"),
        (["sample", "--house", "nowhere", "--output", "out"], "alder, corvane, mistral"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_wrong_path_is_one_line_and_exit_code_1(words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = loupe(*words, check=False)
    assert done.returncode == 1
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("title,category3_code,full_price,image\n", "no rows|empty"),
        ("name,category3_code,full_price,image\nx,A,1,a.jpg\n", "title"),
        ("title,category3_code,full_price,image\nx,A,1,a.jpg\n", "missing_picture"),
    ],
    ids=["empty table", "missing column", "no picture"],
)
def test_bad_table_is_one_line(table, message, tmp_path):

    (tmp_path / "table.csv").write_text(table)
    source, output = tmp_path / "table.csv", tmp_path / "data"
    done = loupe("build", "--source", source, "--output", output, check=False)
    assert done.returncode == 1
    *told, error = done.stderr.strip().splitlines()
    assert re.search(message, error)
    assert all(line.startswith("Read ") for line in told), told
    assert not (output / "dataset.json").exists()
