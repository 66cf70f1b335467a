"""The same build on a Ray cluster: the same dataset, also where a worker dies half-way."""

import os
import signal
from pathlib import Path

import pytest

from loupe.build import build_dataset
from loupe.build.progress import Progress
from loupe.errors import MissingExtraError
from loupe.options import BuildOptions

from ..conftest import write_catalogue

ROWS = 300


def build(source, output, **options):
    return build_dataset(BuildOptions(source=str(source), output=str(output), **options))


def workers_of_ray():
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            title = entry.read_bytes()
        except OSError:
            continue
        if title.startswith(b"ray::") and b"Map" in title:
            found.append(int(entry.parent.name))
    return found


@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore")  # of Ray itself
def test_cluster_gives_the_same_dataset_although_a_worker_is_killed(tmp_path, monkeypatch):
    ray = pytest.importorskip("ray")
    source = write_catalogue(tmp_path / "source", rows=ROWS)
    killed = []
    count = Progress.count

    def kill_one(self, entry):
        if not killed:
            killed.extend(workers_of_ray()[:1])
            for process in killed:
                os.kill(process, signal.SIGKILL)
        count(self, entry)

    local = build(source, tmp_path / "local", max_side_px=32)
    with monkeypatch.context() as patch:
        patch.setattr(Progress, "count", kill_one)
        try:
            spread = build(source, tmp_path / "spread", max_side_px=32, engine="ray")
        finally:
            ray.shutdown()
    assert len(killed) == 1
    assert spread.counts == local.counts
    assert spread.fingerprint == local.fingerprint


def test_missing_ray_is_told_with_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    source = write_catalogue(tmp_path / "source")
    with pytest.raises(MissingExtraError, match=r"loupe-vlm\[ray\]"):
        build(source, tmp_path / "output", engine="ray")
