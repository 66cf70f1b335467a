"""Two processes on this machine's CPU, started as a user starts them."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from loupe.options import TrainOptions
from loupe.train import train_model

SETTINGS = {"max_steps": 6, "epochs": 5000, "evaluations": 2, "learning_rate": 0.003}
TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2")
FAILING = """
import os, sys
from loupe.train.trainer import AnswerTrainer
from loupe.cli import main
step = AnswerTrainer.training_step
def fail_in_one(self, *arguments):
    if self.state.global_step == 2 and os.environ["RANK"] == "1":
        {deed}
    return step(self, *arguments)
AnswerTrainer.training_step = fail_in_one
sys.exit(main(sys.argv[1:]))
"""
NAMING_THREADS = """
import sys
from pathlib import Path
from loupe.cli import main
code = main(sys.argv[1:])
for name in Path("/proc/self/task").glob("*/comm"):
    print("thread", name.read_text().strip(), file=sys.stderr)
sys.exit(code)
"""


def start(*words, script=("-m", "loupe"), launcher=TORCHRUN, **options):
    """Start `loupe train` in two processes."""
    named = {**SETTINGS, "batch_size": 4, **options}
    flags = [word for name, value in named.items() for word in (f"--{name}", str(value))]
    return subprocess.Popen(
        [sys.executable, "-m", *launcher, *script, "train", *flags, *words],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    out, err = process.communicate(timeout=500)
    return process.returncode, out, err


def curve(folder):
    """Give what was logged, by step and name, but for what is said in words, or by a clock."""
    told = {}
    for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines():
        event = json.loads(line)
        told |= {(event.get("step"), name): event[name] for name in event if "train/" in name}
    left_out = ("train/predictions", "_seconds")
    return {key: value for key, value in told.items() if not key[1].endswith(left_out)}


def wait_for(path, process, words=""):
    """Wait until a file is there and says something, or its process is not."""
    while not path.exists() or words not in path.read_text("utf-8"):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.1)


@pytest.fixture(scope="module")
def named(colour_dataset, tiny_checkpoint):
    return {"dataset": str(colour_dataset), "model": str(tiny_checkpoint)}


@pytest.fixture(scope="module")
def alone(named, tmp_path_factory):
    """Folder of the run that one process makes of the same batches; the last has one row."""
    folder = tmp_path_factory.mktemp("alone") / "model"
    train_model(TrainOptions(**named, output=str(folder), batch_size=8, **SETTINGS))
    return folder


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "model"


def assert_same_run(folder, alone):
    found, expected = curve(folder), curve(alone)
    assert found.keys() == expected.keys()
    # float32 sums in another order
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_two_processes_lose_and_learn_as_one(alone, named, folder, tmp_path):
    script = tmp_path / "naming.py"
    script.write_text(NAMING_THREADS, "utf-8")
    code, out, err = finish(start("--json", **named, output=folder, script=(str(script),)))
    assert code == 0, err
    assert "thread " in err
    # one that lives on can end the interpreter by an abort
    assert "gloo" not in err
    assert json.loads(out)["steps"] == 6  # one of them speaks
    assert err.count("step 6: loss") == 1
    assert_same_run(folder, alone)


@pytest.mark.slow
@pytest.mark.parametrize("accumulated", [1, 2])
def test_a_divided_model_loses_and_learns_as_a_whole_one(alone, named, folder, accumulated):
    settings = {"batch_size": 4 // accumulated, "gradient_accumulation": accumulated}
    code, _, err = finish(start(**named, output=folder, sharding="fsdp", **settings))
    assert code == 0, err
    if accumulated == 1:
        assert_same_run(folder, alone)
    assert (folder / "checkpoints" / "checkpoint-6" / "optimizer.pt").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("sharding", ["none", "fsdp"])
def test_two_processes_that_are_killed_go_on_to_the_same_end(named, tmp_path, sharding):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    more = {"sharding": sharding, "max_steps": 30, "optimizer": "muon"}
    assert finish(start(**named, output=whole, **more))[0] == 0
    process = start(**named, output=killed, **more)
    wait_for(killed / "checkpoints" / "checkpoint-15" / "trainer_state.json", process)
    subprocess.run(["pkill", "-9", "-P", str(process.pid)], check=True)
    assert finish(process)[0] != 0
    assert finish(start(**named, output=killed, **more))[0] == 0
    assert curve(killed) == curve(whole)
    weights = [each / "checkpoints/checkpoint-30/model.safetensors" for each in (whole, killed)]
    assert weights[0].read_bytes() == weights[1].read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("deed", "line"),
    [
        ("raise OSError(28, 'No space left on device')", "loupe train: the disk is full"),
        ("os.kill(os.getpid(), 9)", "loupe train: Process 0 of 2 lost another one"),
    ],
    ids=["an error", "kill -9"],
)
def test_a_failure_in_one_process_ends_all_with_one_line(named, folder, tmp_path, deed, line):
    script = tmp_path / "failing.py"
    script.write_text(FAILING.format(deed=deed), "utf-8")
    code, out, err = finish(start(**named, output=folder, script=(str(script),)))
    assert code != 0
    assert out == ""
    ours = [each for each in err.splitlines() if each.startswith("loupe train:")]
    assert len(ours) == 1
    assert ours[0].startswith(line)


@pytest.mark.slow
@pytest.mark.parametrize("reach", ["torchrun", "all", "one"])
def test_sigterm_ends_two_processes_with_a_checkpoint(alone, named, folder, reach):
    more = {"max_steps": 5000, "evaluations": 1}
    process = start(**named, output=folder, **more)
    wait_for(folder / "metrics.jsonl", process, "train/loss")
    found = subprocess.run(
        ["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True
    )
    workers = [int(number) for number in found.stdout.split()]
    reached = {"torchrun": [process.pid], "all": [process.pid, *workers], "one": workers[1:]}
    for number in reached[reach]:
        os.kill(number, signal.SIGTERM)
    code, _, err = finish(process)
    assert code != 0
    assert err.count("loupe train: stopped by SIGTERM after step") == 1
    assert list((folder / "checkpoints").glob("checkpoint-*/trainer_state.json"))


@pytest.mark.slow
def test_accelerate_launches_the_same_command(alone, named, folder):
    launcher = ["accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    code, _, err = finish(start(**named, output=folder, launcher=launcher))
    assert code == 0, err
    assert_same_run(folder, alone)
