"""What a run does: it learns, ends, is killed and goes on, and keeps its best model."""

import json
import os
import resource
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate.data_loader import prepare_data_loader

from loupe.errors import StoppedError, TrainError
from loupe.tracking import JsonlTracker
from loupe.train import checkpoints
from loupe.train.adapters import choose_trained
from loupe.train.run import train_on
from loupe.train.trainer import AnswerTrainer

from .runs import describe, options_for, run, weights_of

# accelerate warns that no GPU pins memory, and torch of its own LR scheduler under the Trainer.
pytestmark = pytest.mark.filterwarnings("ignore:.*pin_memory.*")


class Killed(BaseException):
    """What a test throws in place of a kill."""


class KillingTracker(JsonlTracker):
    """Ends the process, as far as a test can, when a step is logged."""

    def __init__(self, step):
        super().__init__()
        self._fatal_step = step

    def log(self, metrics, step):
        super().log(metrics, step)
        if step >= self._fatal_step and "train/loss" in metrics:
            raise Killed


def scored_run(predictor, make, options, steps, losses):
    """Run with these losses on validation rows, one at each evaluation."""
    left = iter(losses)
    validation = make.validation(predictor, 2)
    validation.score = lambda _: ({"loss": next(left)}, [])
    folder = Path(options.output)
    folder.mkdir(exist_ok=True)
    tracker = JsonlTracker()
    tracker.start(describe(folder))
    train, _ = make.rows(predictor, 8)
    return train_on(predictor, train, validation, options, tracker, steps)


def assert_equal_weights(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_eight_pictures_are_learnt_by_looking_at_them(predictor, make, tmp_path):
    outcome = run(predictor, make, options_for(tmp_path / "model", evaluations=1), 150)

    pictures = [make.picture(colour, seed=100) for colour in make.colours]
    said = [answer.values and answer.values["colour"] for answer in predictor.predict(pictures)]
    written = (tmp_path / "model" / "metrics.jsonl").read_text("utf-8")
    lines = [json.loads(line) for line in written.splitlines()]
    losses = [line["train/loss"] for line in lines if "train/loss" in line]

    assert said == make.colours  # new noise, and another answer for every picture
    assert losses[-1] < losses[0] / 20
    assert outcome.steps == outcome.best_step == 150
    assert outcome.best_score < 0.1


@pytest.fixture
def told_steps(monkeypatch):
    """What each step of each trainer saw and did: rows, loss and learning rates, by step."""
    told = {}

    class Telling(AnswerTrainer):
        def training_step(self, model, inputs, *more):
            rows = tuple(inputs["row_ids"])
            loss = super().training_step(model, inputs, *more)
            rates = tuple(group["lr"] for group in self.optimizer.param_groups)
            told.setdefault(self.args.output_dir, {})[self.state.global_step] = (
                rows,
                loss.item(),
                rates,
            )
            return loss

    monkeypatch.setattr("loupe.train.run.AnswerTrainer", Telling)
    return lambda options: told[str(Path(options.output) / "checkpoints")]


def events(folder):
    """Give what was logged, but for what a clock tells."""
    lines = map(json.loads, (folder / "metrics.jsonl").read_text("utf-8").splitlines())
    return [{name: line[name] for name in line if not name.endswith("_seconds")} for line in lines]


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("full", {}),
        ("lora", {}),
        ("full", {"batch_tokens": 130}),  # four steps to a pass
        ("full", {"batch_tokens": 120, "gradient_accumulation": 2}),  # five batches, three steps
    ],
    ids=["full", "lora", "by tokens", "by tokens, accumulated"],
)
def test_a_killed_run_goes_on_to_the_same_weights(
    make, tiny_checkpoint, tmp_path, told_steps, method, settings
):
    def prepared(options):
        torch.manual_seed(0)
        predictor = make.predictor(tiny_checkpoint)
        predictor.model, _ = choose_trained(predictor.model, options, str(tiny_checkpoint))
        return predictor

    more = {"method": method, "augment": True, **settings}
    more["lora_dropout"] = 0.1 if method == "lora" else 0.0
    if method == "lora":
        more["use_dora"] = True
        more["parts"] = {"head": "full", "projection": "full", "tower": "adapted"}
        more["learning_rates"] = {"tower": 1e-3}
        more["neftune_noise_alpha"] = 5.0
    whole = options_for(tmp_path / "whole", **more)
    killed = replace(whole, output=str(tmp_path / "killed"))

    expected = run(prepared(whole), make, whole, 20, rows=12)  # three steps to a pass
    with pytest.raises(Killed):
        run(prepared(killed), make, killed, 20, rows=12, tracker=KillingTracker(20))
    assert checkpoints.find_last_checkpoint(tmp_path / "killed").name == "checkpoint-10"
    told_steps(killed).clear()
    resumed = run(prepared(killed), make, killed, 20, rows=12)

    assert resumed.steps == 20
    done_again = told_steps(killed)
    assert list(done_again) == list(range(10, 20))
    assert done_again == {step: told_steps(whole)[step] for step in done_again}
    assert events(tmp_path / "killed") == events(tmp_path / "whole")
    assert resumed.best_score == expected.best_score
    assert_equal_weights(weights_of(expected), weights_of(resumed))


@pytest.mark.parametrize("settings", [{}, {"batch_tokens": 130}], ids=["by number", "by tokens"])
def test_one_of_several_processes_resumes_in_the_order_of_its_pass(
    make, tiny_checkpoint, tmp_path, monkeypatch, settings
):
    def prepare_as_first_of_two(loader, *arguments, **named):
        alone = {**named, "num_processes": 2, "process_index": 0}
        return prepare_data_loader(loader, *arguments, **alone)

    monkeypatch.setattr("accelerate.accelerator.prepare_data_loader", prepare_as_first_of_two)
    whole = options_for(tmp_path / "whole", **settings)
    killed = replace(whole, output=str(tmp_path / "killed"))
    expected = run(make.predictor(tiny_checkpoint), make, whole, 20, rows=20)
    tracker = KillingTracker(20)
    with pytest.raises(Killed):
        run(make.predictor(tiny_checkpoint), make, killed, 20, rows=20, tracker=tracker)
    resumed = run(make.predictor(tiny_checkpoint), make, killed, 20, rows=20)
    assert_equal_weights(weights_of(expected), weights_of(resumed))


def test_a_stopped_run_goes_on_as_if_it_had_never_been_stopped(make, tiny_checkpoint, tmp_path):
    class Stopping(JsonlTracker):
        def log(self, metrics, step):
            super().log(metrics, step)
            if step == 10 and "train/loss" in metrics:  # the next step is amid a mean of losses
                os.kill(os.getpid(), signal.SIGTERM)

    whole = options_for(tmp_path / "whole", evaluations=1)
    stopped = replace(whole, output=str(tmp_path / "stopped"))
    expected = run(make.predictor(tiny_checkpoint), make, whole, 24)
    with pytest.raises(
        StoppedError, match=r"stopped by SIGTERM after step 11, with a chec.*goes on"
    ):
        run(make.predictor(tiny_checkpoint), make, stopped, 24, tracker=Stopping())
    resumed = run(make.predictor(tiny_checkpoint), make, stopped, 24)
    assert_equal_weights(weights_of(expected), weights_of(resumed))
    assert events(tmp_path / "stopped") == events(tmp_path / "whole")


def test_a_run_without_a_better_score_ends_early(predictor, make, tmp_path):
    options = options_for(tmp_path / "model", evaluations=8, patience=2)
    outcome = scored_run(predictor, make, options, 16, [3.0, 1.0, 2.0, 4.0, 0.5])
    assert (outcome.best_step, outcome.steps) == (4, 8)
    again = scored_run(predictor, make, options, 16, [])
    assert again.steps == 8  # it is at its end


def test_a_run_ends_when_its_time_is_up(predictor, make, tmp_path):
    options = options_for(tmp_path / "model", max_minutes=0.03, evaluations=1)
    assert 0 < run(predictor, make, options, 10**6).steps < 10**6


def test_the_best_model_is_kept_where_the_last_is_worse(predictor, make, tmp_path):
    options = options_for(tmp_path / "model", evaluations=4, keep_checkpoints=1)
    outcome = scored_run(predictor, make, options, 8, [3.0, 1.0, 2.0, 4.0])

    assert (outcome.best_step, outcome.best_score, outcome.steps) == (4, 1.0, 8)
    assert outcome.checkpoint.name == "checkpoint-4"
    kept = sorted(path.name for path in (tmp_path / "model/checkpoints").glob("check*"))
    assert kept == ["checkpoint-4", "checkpoint-8"]


def test_a_full_disk_stops_the_run_with_its_last_checkpoint_whole(
    predictor, make, tmp_path, monkeypatch
):
    options = options_for(tmp_path / "model", evaluations=2)
    save = torch.save

    def save_until_full(content, path, *arguments, **settings):
        if "checkpoint-8" in str(path):
            raise RuntimeError("unexpected pos 191168 vs 191056")  # torch's words for a full disk
        save(content, path, *arguments, **settings)

    monkeypatch.setattr(torch, "save", save_until_full)
    with pytest.raises(TrainError, match=r"step 8 cannot be written to .* MiB are free .* goes on"):
        run(predictor, make, options, 8)
    kept = [path.name for path in (tmp_path / "model" / "checkpoints").rglob("check*")]
    assert kept == ["checkpoint-4"]


def test_a_disk_that_is_full_half_way_leaves_the_last_checkpoint(make, tiny_checkpoint, tmp_path):
    """The size of files is limited for a while, so that the optimizer's is really cut off."""
    options = options_for(tmp_path / "model", evaluations=2)
    size = 0

    class Limiting(JsonlTracker):
        def settle(self, step):
            nonlocal size
            size = (tmp_path / "model/checkpoints/checkpoint-4/optimizer.pt").stat().st_size
            resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, before[1]))

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(TrainError, match=r"step 8 cannot be written to .* goes on"):
            run(make.predictor(tiny_checkpoint), make, options, 8, tracker=Limiting())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    kept = [path.name for path in (tmp_path / "model" / "checkpoints").rglob("check*")]
    assert kept == ["checkpoint-4"]
    assert run(make.predictor(tiny_checkpoint), make, options, 8).steps == 8


def test_nothing_that_is_shipped_is_pickled(predictor, make, tmp_path):
    outcome = run(predictor, make, options_for(tmp_path / "model", evaluations=0), 1, rows=4)
    checkpoints.copy_model_files(outcome.checkpoint, tmp_path)
    suffixes = {path.suffix for path in tmp_path.iterdir() if path.is_file()}
    assert suffixes == {".json", ".safetensors", ".yaml"}
    assert not list(outcome.checkpoint.glob("training_args*"))


def test_an_ended_run_is_not_trained_further(predictor, make, tmp_path):
    options = options_for(tmp_path / "model", max_minutes=0.02, evaluations=0)
    first = run(predictor, make, options, 10**6)
    again = run(predictor, make, options, 10**6)
    assert again.steps == first.steps
