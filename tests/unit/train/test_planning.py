import json
from dataclasses import replace
from pathlib import Path

import pytest

from loupe import cli
from loupe.errors import TrainError
from loupe.options import TrainOptions
from loupe.train import planning, train_or_plan
from loupe.train.load import Load
from loupe.train.memory import WORKSPACE, Memory
from loupe.train.outlook import suggest_changes


@pytest.fixture
def options(colour_dataset, tiny_checkpoint, tmp_path):
    return TrainOptions(
        dataset=str(colour_dataset),
        output=str(tmp_path / "model"),
        model=str(tiny_checkpoint),
        batch_size=4,
        plan=True,
    )


def test_a_plan_tells_and_writes_nothing(options, tmp_path):
    outlook = train_or_plan(options)

    assert not (tmp_path / "model").exists()
    assert outlook.trial.step_seconds > 0
    assert outlook.trial.evaluation_seconds > 0
    assert outlook.trial.peak_bytes > outlook.plan.memory.pictures
    told = outlook.summary()
    assert "num_crops   tokens of a picture (fewest, middle, most)" in told
    assert "at the peak" in told
    assert "It fits. Nothing was written. Next: the same command without --plan." in told
    plain = json.loads(json.dumps(outlook.to_dict()))
    assert sum(counts[1] for counts in plain["parts"].values()) > 0
    assert plain["changes"] == []


def test_picture_tokens_are_those_of_the_datasets_sizes(options):
    tokens = train_or_plan(options).tokens_by_crops
    assert sorted(tokens) == list(range(1, 17))
    # 60 x 60 px, one token a crop: n x n crops and the whole, a separator after each row
    assert [tokens[crops] for crops in (1, 4, 9, 16)] == [
        (5, 5, 5),
        (9, 9, 9),
        (15, 15, 15),
        (23, 23, 23),
    ]


def test_what_does_not_fit_is_not_tried_and_changes_are_told(options, monkeypatch):
    monkeypatch.setattr(planning, "available_memory", lambda device: 1_000_000)
    monkeypatch.setattr(planning, "try_run", None)  # calling it would fail
    outlook = train_or_plan(options)

    assert outlook.trial is None
    changed = [tuple(change.options) for change in outlook.changes]
    assert changed[0] == ("batch_size", "gradient_accumulation")
    assert changed[-1][-1] == "method" or outlook.changes[-1].fits
    assert "It does not fit, and nothing was tried. What to change:" in outlook.summary()
    assert "--batch-size 2 --gradient-accumulation 2" in outlook.summary()


def test_changes_end_with_the_first_that_fits(options):
    def estimate(changed, load):
        return Memory(100 * load.samples, 0, 0, 0, 0, 0, backward=load.tokens)

    tokens = {crops: (crops, crops, 10 * crops) for crops in range(1, 17)}
    load = Load(samples=4, tokens=200, answer_tokens=5, crops=17)
    found = list(suggest_changes(options, load, tokens, 16, 150 + WORKSPACE, estimate))

    # half the batch, one row, recomputation (of no use here), 4 crops, 1 crop
    assert [change.peak_bytes for change in found] == [
        WORKSPACE + each for each in (400, 300, 300, 180, 150)
    ]
    assert [change.fits for change in found] == [False, False, False, False, True]
    assert found[-1].options == {
        "batch_size": 1,
        "gradient_accumulation": 4,
        "gradient_checkpointing": True,
        "num_crops": 1,
    }


def test_a_run_that_could_not_start_is_refused(options):
    with pytest.raises(TrainError, match="lora_targets names 'nothing', but no module's name"):
        train_or_plan(replace(options, method="lora", lora_targets=["nothing"]))
    with pytest.raises(TrainError, match="method qlora needs a CUDA GPU"):
        train_or_plan(replace(options, method="qlora"))


def test_the_flag_stands_alone(options, capsys):
    words = ["train", "--dataset", options.dataset, "--output", options.output]
    words += ["--model", options.model, "--batch-size", "4", "--plan", "--json"]
    assert cli.main(words) == 0
    assert json.loads(capsys.readouterr().out)["trial"]["step_seconds"] > 0


def test_a_run_tells_the_memory_that_its_plan_told(options):
    planned = train_or_plan(options).plan.to_dict()["memory"]
    train_or_plan(replace(options, plan=False, max_steps=1, evaluations=0))
    told = json.loads((Path(options.output) / "plan.json").read_text("utf-8"))["memory"]

    assert told["process"] > 0
    assert told["pictures"] > 0
    standing = {"process", "peak"}  # of another moment, or with it
    assert {name: told[name] for name in told.keys() - standing} == {
        name: planned[name] for name in planned.keys() - standing
    }
