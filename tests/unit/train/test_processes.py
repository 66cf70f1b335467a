"""Two processes on this machine's CPU, started as a user starts them."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

ROOT_LINE = re.compile(r"^loupe train: .*$", re.MULTILINE)
SETTINGS = ["--max-steps", "6", "--evaluations", "2", "--learning-rate", "0.003"]


def command(dataset, model, output, *more, batch_size=4):
    flags = {"dataset": dataset, "model": model, "output": output, "batch-size": batch_size}
    words = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
    return ["loupe", "train", *words, *SETTINGS, *more]


def start(words, processes=2, launcher=("torch.distributed.run", "--standalone")):
    """Start a command, in several processes by torchrun, or in this many by another launcher."""
    place = ["-m", *launcher, "--nproc-per-node", str(processes)] if processes > 1 else []
    return subprocess.Popen(
        [sys.executable, *place, "-m", *words],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process, timeout=300):
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out, err


def run(words, processes=2):
    code, out, err = finish(start(words, processes))
    assert code == 0, err
    return out


def curve(folder):
    """Give what was logged, by step and name, without what is said in words."""
    told = {}
    for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines():
        event = json.loads(line)
        step = event.pop("step", None)
        told |= {(step, name): value for name, value in event.items() if name.startswith("train/")}
    return {key: value for key, value in told.items() if key[1] != "train/predictions"}


@pytest.fixture(scope="module")
def alone(colour_dataset, tiny_checkpoint, tmp_path_factory):
    """Folder of the run that one process makes of the same batches: 17 rows, so the last has one."""
    folder = tmp_path_factory.mktemp("alone") / "model"
    run(command(colour_dataset, tiny_checkpoint, folder, batch_size=8), 1)
    return folder


def assert_same_run(folder, alone):
    found, expected = curve(folder), curve(alone)
    assert found.keys() == expected.keys()
    # float32 sums in another order
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_two_processes_lose_and_learn_as_one(alone, colour_dataset, tiny_checkpoint, tmp_path):
    words = command(colour_dataset, tiny_checkpoint, tmp_path / "model", "--json")
    record = json.loads(run(words))  # one of them speaks
    assert record["steps"] == 6
    assert_same_run(tmp_path / "model", alone)
