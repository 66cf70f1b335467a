"""What a step does: its rows, pieces, noise and precision, and values that are none."""

import json
import math
from dataclasses import replace

import pytest
import torch
from transformers.integrations.neftune import activate_neftune, deactivate_neftune

from loupe import vlm
from loupe.errors import TrainError
from loupe.train import checkpoints
from loupe.train.adapters import choose_trained
from loupe.train.batches import Collator
from loupe.train.examples import Sample
from loupe.train.run import choose_precision
from loupe.train.trainer import AnswerTrainer

from .runs import options_for, run, weights_of

# accelerate warns that no GPU pins memory, and torch of its own LR scheduler under the Trainer.
pytestmark = pytest.mark.filterwarnings("ignore:.*pin_memory.*")

LAYER = "model.layers.0.self_attn.qkv_proj.weight"


def weights_now(predictor):
    return {name: value.clone() for name, value in predictor.model.state_dict().items()}


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
    # So few that each sample is a piece of its own.
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

    # These steps are in float32, which has no scaler; the trainer is given the one of fp16.
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


def batch_with_padding(predictor, make):
    """Give two rows as the model takes them, the second with a longer answer."""
    rows, _ = make.rows(predictor, 2)
    short, long = rows.examples[0], rows.examples[1]
    long = replace(long, answer_ids=long.answer_ids + long.answer_ids)
    samples = [Sample(short, rows.pictures(0)), Sample(long, rows.pictures(1))]
    batch = Collator(predictor.processor)(samples)
    del batch["row_ids"]
    return batch


def test_noise_falls_on_words_alone(predictor, make):
    model, alpha = predictor.model, 5.0
    batch = batch_with_padding(predictor, make)
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
    batch = batch_with_padding(predictor, make)
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


def test_precision_follows_the_machine():
    assert choose_precision("auto", "cpu") == "fp32"
    assert choose_precision("bf16", "cpu") == "bf16"
    assert choose_precision("fp32", "cuda") == "fp32"
