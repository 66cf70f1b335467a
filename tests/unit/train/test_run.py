import json
import math
import os
import resource
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate.data_loader import prepare_data_loader
from transformers.integrations.neftune import activate_neftune, deactivate_neftune

from loupe import vlm
from loupe.errors import StoppedError, TrainError
from loupe.options import TrainOptions
from loupe.tracking import JsonlTracker, RunDescription, Trackers
from loupe.train import checkpoints
from loupe.train.adapters import choose_trained
from loupe.train.batches import Collator
from loupe.train.examples import Sample
from loupe.train.run import choose_precision, train_on
from loupe.train.trainer import AnswerTrainer

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


def options_for(folder, **settings):
    defaults = {
        "optimizer": "muon",
        "batch_size": 4,
        "evaluations": 2,
        "warmup_share": 0.1,
        "learning_rate": 0.01,
    }
    return TrainOptions(dataset="none", output=str(folder), **{**defaults, **settings})


def describe(folder):
    step = checkpoints.find_resumed_step(folder)
    return RunDescription("train", "p", None, folder, {}, {}, resumed_step=step)


def run(predictor, make, options, steps, *, tracker=None, rows=8):
    folder = Path(options.output)
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    tracker = tracker or JsonlTracker()
    tracker.start(describe(folder))
    train, _ = make.rows(predictor, rows, seed=options.seed if options.augment else None)
    validation = make.validation(predictor, 8) if options.evaluations else None
    return train_on(predictor, train, validation, options, Trackers([tracker]), steps)


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


def weights_of(outcome):
    from safetensors.torch import load_file

    return load_file(next(outcome.checkpoint.glob("*.safetensors")))


LAYER = "model.layers.0.self_attn.qkv_proj.weight"


def weights_now(predictor):
    return {name: value.clone() for name, value in predictor.model.state_dict().items()}


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


@pytest.mark.parametrize(
    "parts",
    [
        {"batch_size": 2, "gradient_accumulation": 2},
        {"batch_tokens": 120, "gradient_accumulation": 2},
        {"batch_tokens": 400},
    ],
    ids=["2 and 2", "by tokens, 3 and 1", "by tokens, 4"],
)
def test_a_step_is_that_of_its_rows_however_they_are_batched(
    make, tiny_checkpoint, tmp_path, parts
):
    plain = {"evaluations": 0, "optimizer": "adamw", "warmup_share": 0.0}
    large = options_for(tmp_path / "large", batch_size=4, **plain)
    small = options_for(tmp_path / "small", **parts, **plain)
    one = weights_of(run(make.predictor(tiny_checkpoint), make, large, 1, rows=4))
    other = weights_of(run(make.predictor(tiny_checkpoint), make, small, 1, rows=4))
    before = make.predictor(tiny_checkpoint).model.state_dict()
    name = "model.layers.0.self_attn.qkv_proj.weight"
    # Adam's first step is the gradient's sign times the rate: equal where gradients are clear.
    is_equal = torch.isclose(one[name], other[name], atol=1e-4)
    assert is_equal.float().mean() > 0.98
    assert (one[name] - before[name]).abs().max() > 5e-3


def test_a_batch_in_pieces_makes_the_steps_of_the_whole_batch(
    make, tiny_checkpoint, tmp_path, monkeypatch
):
    plain = {"evaluations": 0, "optimizer": "adamw", "warmup_share": 0.0}

    def train(name):
        predictor, seen = make.predictor(tiny_checkpoint), []
        predictor.model.register_forward_pre_hook(
            lambda _, __, inputs: seen.append(len(inputs["input_ids"])), with_kwargs=True
        )
        before = weights_now(predictor)
        outcome = run(predictor, make, options_for(tmp_path / name, **plain), 2, rows=6)
        moved = weights_now(predictor)[LAYER] - before[LAYER]
        told = (tmp_path / name / "metrics.jsonl").read_text("utf-8").splitlines()
        norm = json.loads(told[0])["train/gradient_norm"]
        return (outcome.steps, seen), moved, norm

    taken, moved, norm = train("whole")
    assert taken == (2, [4, 2])
    monkeypatch.setattr("loupe.train.batches.TOKENS_AT_ONCE", 1)
    taken, moved_in_pieces, norm_in_pieces = train("pieces")
    assert taken == (2, [1] * 6)
    assert norm_in_pieces == pytest.approx(norm, rel=0.01)  # Adam itself would hide a wrong scale
    # Adam's first steps are the signs of gradients: equal where these are clear.
    assert torch.isclose(moved, moved_in_pieces, atol=1e-3).float().mean() > 0.97
    assert moved.abs().max() > 1e-2


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"method": "lora"},
        {"method": "lora", "use_dora": True, "use_rslora": True},
        {"method": "lora", "parts": {"tower": "adapted", "projection": "full"}},
        {"optimizer": "adafactor", "label_smoothing": 0.1, "neftune_noise_alpha": 5.0},
    ],
    ids=["full", "lora", "dora and rslora", "parts", "smoothed and noisy"],
)
def test_a_loss_without_a_value_stops_and_names_the_rows(predictor, make, tmp_path, more):
    options = options_for(tmp_path / "model", **more)
    predictor.model, _ = choose_trained(predictor.model, options, "tiny")
    with torch.no_grad():
        vlm.underlying_model(predictor.model).lm_head.weight[0, 0] = math.nan
    with pytest.raises(
        TrainError, match=r"loss became nan in step 1, in the batch of rows row \d, r"
    ):
        run(predictor, make, options, 10)


def test_a_gradient_without_a_value_stops_before_it_does_harm(predictor, make, tmp_path):
    predictor.model.model.norm.weight.register_hook(lambda gradient: gradient * math.inf)
    before = predictor.model.lm_head.weight.clone()
    with pytest.raises(TrainError, match=r"gradient became (inf|nan) in step 1"):
        run(predictor, make, options_for(tmp_path / "model"), 10)
    assert torch.equal(before, predictor.model.lm_head.weight)


@pytest.mark.parametrize(("scale", "stops"), [(1024.0, False), (0.5, True)], ids=str)
def test_fp16_may_skip_steps_while_its_scale_is_sought(
    predictor, make, tmp_path, monkeypatch, scale, stops
):
    def make_trainer(*arguments, **settings):
        trainer = AnswerTrainer(*arguments, **settings)
        trainer.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        return trainer

    monkeypatch.setattr("loupe.train.run.AnswerTrainer", make_trainer)
    predictor.model.model.norm.weight.register_hook(lambda gradient: gradient * math.inf)
    options = options_for(tmp_path / "model", evaluations=0)
    if stops:
        with pytest.raises(TrainError, match="gradient became"):
            run(predictor, make, options, 1)
    else:
        outcome = run(predictor, make, options, 1)
        assert (outcome.checkpoint / "scaler.pt").is_file()
        checkpoints.copy_model_files(outcome.checkpoint, tmp_path)
        assert not list(tmp_path.glob("*.pt"))


def test_noise_falls_on_words_alone(predictor, make):
    model, alpha = predictor.model, 5.0
    rows, _ = make.rows(predictor, 2)
    short, long = rows.examples[0], rows.examples[1]
    long = replace(long, answer_ids=long.answer_ids + long.answer_ids)
    samples = [Sample(short, rows.pictures(0)), Sample(long, rows.pictures(1))]
    batch = Collator(predictor.processor)(samples)
    del batch["row_ids"]
    seen = []
    model.model.layers[0].register_forward_pre_hook(
        lambda _, states, named: seen.append(states[0] if states else named["hidden_states"]),
        with_kwargs=True,
    )
    with torch.no_grad():
        model.train()(**batch)
        handle = activate_neftune(model, alpha)
        model(**batch)
        model.eval()(**batch)
        deactivate_neftune(model, handle)
    plain, noisy, answering = seen
    places = batch["input_ids"] == model.config.image_token_id
    moved = (noisy - plain).abs()
    assert places.any()
    assert moved[places].max() == 0
    assert moved[~places].min(dim=-1).values.max() > 0
    assert moved.max() <= alpha / math.sqrt(plain.shape[1] * plain.shape[2]) + 1e-6
    assert torch.equal(answering, plain)


def test_noise_on_padding_does_not_reach_the_loss(predictor, make):
    model = predictor.model.train()
    rows, _ = make.rows(predictor, 2)
    short, long = rows.examples[0], rows.examples[1]
    long = replace(long, answer_ids=long.answer_ids + long.answer_ids)
    samples = [Sample(short, rows.pictures(0)), Sample(long, rows.pictures(1))]
    batch = Collator(predictor.processor)(samples)
    del batch["row_ids"]
    padding = (batch["attention_mask"] == 0)[..., None]
    assert padding.any()
    with torch.no_grad():
        plain = model(**batch).loss
        model.model.embed_tokens.register_forward_hook(
            lambda _, ids, embeds: embeds + padding * torch.randn_like(embeds)
        )
        assert torch.equal(model(**batch).loss, plain)


def test_noise_and_smoothing_reach_the_run_and_leave_it(predictor, make, tiny_checkpoint, tmp_path):
    losses = {}
    for name, more in {
        "plain": {},
        "noisy": {"neftune_noise_alpha": 5.0},
        "smoothed": {"label_smoothing": 0.2},
    }.items():
        fresh = make.predictor(tiny_checkpoint)
        options = options_for(tmp_path / name, evaluations=0, **more)
        run(fresh, make, options, 2)
        written = (tmp_path / name / "metrics.jsonl").read_text("utf-8")
        losses[name] = json.loads(written.splitlines()[0])["train/loss"]
        assert not fresh.model.model.embed_tokens._forward_hooks
    assert len(set(losses.values())) == 3


@pytest.mark.parametrize("optimizer", ["adamw_torch_fused", "adafactor"])
def test_optimizers_of_the_trainer_learn_at_each_parts_rate(predictor, make, tmp_path, optimizer):
    before = {name: value.clone() for name, value in predictor.model.state_dict().items()}
    options = options_for(
        tmp_path / "model",
        optimizer=optimizer,
        schedule="warmup_stable_decay",
        learning_rates={"head": 1e-12},
    )
    outcome = run(predictor, make, options, 40)
    after = predictor.model.state_dict()
    assert torch.allclose(after["lm_head.weight"], before["lm_head.weight"], atol=1e-9)
    name = "model.layers.0.self_attn.qkv_proj.weight"
    assert (after[name] - before[name]).abs().max() > 1e-3
    assert outcome.best_score < 5.0  # from the logarithm of 361 tokens, 5.9, by a random head


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


def test_precision_follows_the_machine():
    assert choose_precision("auto", "cpu") == "fp32"
    assert choose_precision("bf16", "cpu") == "bf16"
    assert choose_precision("fp32", "cuda") == "fp32"
