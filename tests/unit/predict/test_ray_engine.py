"""The same answers on a Ray cluster, also where a worker dies half-way."""

import json
import os
import signal
from pathlib import Path

import pytest

from loupe.errors import CheckpointError, MissingExtraError
from loupe.options import PredictOptions
from loupe.predict import predict_pictures
from loupe.predict.folder import AnswerFolder

from .conftest import write_pictures

PICTURES = 40


def predict(pictures, model, output, **changes):
    return predict_pictures(
        PredictOptions(
            pictures=[str(pictures)], model=str(model), output=str(output), batch_size=1,
            max_new_tokens=3, device="cpu", threads=1, workers=1, **changes,
        )
    )  # fmt: skip


def answers_in(folder):
    lines = map(json.loads, (folder / "answers.jsonl").read_text("utf-8").splitlines())
    return sorted(lines, key=lambda line: line["picture"])


def workers_of_ray():
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            title = entry.read_bytes()
        except OSError:
            continue
        if title.startswith(b"ray::_Worker"):
            found.append(int(entry.parent.name))
    return found


@pytest.mark.timeout(500)
@pytest.mark.filterwarnings("ignore")  # of Ray itself
def test_cluster_gives_the_same_answers_although_a_worker_is_killed(
    tmp_path, tiny_checkpoint, monkeypatch
):
    ray = pytest.importorskip("ray")
    pictures = write_pictures(tmp_path / "pictures", PICTURES, broken={5})
    local = predict(pictures, tiny_checkpoint, tmp_path / "local")
    killed = []
    add = AnswerFolder.add

    def kill_one(self, *arguments):
        if not killed:
            killed.extend(workers_of_ray()[:1])
            for process in killed:
                os.kill(process, signal.SIGKILL)
        add(self, *arguments)

    monkeypatch.setattr(AnswerFolder, "add", kill_one)
    try:
        spread = predict(pictures, tiny_checkpoint, tmp_path / "spread", engine="ray", replicas=2)
    finally:
        ray.shutdown()
    assert len(killed) == 1
    assert spread.counts == local.counts
    assert spread.counts.answered == PICTURES - 1
    assert answers_in(tmp_path / "spread") == answers_in(tmp_path / "local")


def test_missing_ray_is_told_with_what_to_install(tmp_path, tiny_checkpoint, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    pictures = write_pictures(tmp_path / "pictures", 1)
    with pytest.raises(MissingExtraError, match=r"engine ray\) needs ray: .*loupe-vlm\[ray\]"):
        predict(pictures, tiny_checkpoint, tmp_path / "out", engine="ray")
    assert not (tmp_path / "out").exists()


def test_missing_model_is_told_before_a_cluster_starts(tmp_path, monkeypatch):
    ray = pytest.importorskip("ray")
    monkeypatch.setattr(ray, "init", lambda **_: pytest.fail("started"))
    pictures = write_pictures(tmp_path / "pictures", 1)
    with pytest.raises(CheckpointError, match="no model folder"):
        predict(pictures, "gone/", tmp_path / "out", engine="ray")
