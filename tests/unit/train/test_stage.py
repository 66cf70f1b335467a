import json
import logging
import re
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from PIL import Image

from loupe import vlm
from loupe.errors import DatasetError, MissingExtraError, OptionError, TrainError
from loupe.evaluate import evaluate_model
from loupe.options import EvaluateOptions, TrainOptions
from loupe.predict import Predictor
from loupe.train import train_model
from loupe.train.stage import tell_time


@pytest.mark.parametrize(
    ("seconds", "told"), [(59.4, "59 s"), (59.6, "1 min 0 s"), (359.7, "6 min 0 s")]
)
def test_durations_are_told_in_whole_seconds(seconds, told):
    assert tell_time(seconds) == told


@pytest.fixture
def options(colour_dataset, tiny_checkpoint, tmp_path):
    return TrainOptions(
        dataset=str(colour_dataset),
        output=str(tmp_path / "model"),
        model=str(tiny_checkpoint),
        optimizer="muon",
        max_steps=4,
        batch_size=8,
        evaluations=1,
    )


def files_of(folder):
    return {path.name for path in folder.iterdir()}


def test_a_run_writes_a_model_that_predicts(options, tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="loupe")
    result = train_model(options)

    folder = tmp_path / "model"
    record = json.loads((folder / "training.json").read_text("utf-8"))
    assert {"model.safetensors", "config.json", "task.yaml", "options.yaml"} <= files_of(folder)
    assert {"metrics.jsonl", "plan.json", "tokenizer.json"} <= files_of(folder)
    assert record["steps"] == 4
    assert record["best_metric"] == "loss"
    assert 0 < record["data_wait_seconds"] < record["step_seconds"] < record["seconds"]
    logged = [
        json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()
    ]
    steps = [line["train/step_seconds"] for line in logged if "train/loss" in line]
    assert steps == [pytest.approx(record["step_seconds"], abs=1e-4)]
    assert re.search(r"A step took .* s, of which \d+\.\d% waited for data\.", result.summary())
    assert result.to_dict() == {"output": str(folder), "was_finished": False, **record}
    assert result.summary().splitlines()[-1].startswith(f"Wrote the model in {folder}. Next: `loup")
    assert "Training 0.09 M of 0.09 M parameters: tower" in caplog.text
    assert "a picture is 9 tokens" in caplog.text
    predictor = Predictor.load(str(folder))
    assert predictor.task.fields["category3_code"].choices
    assert len(predictor.predict([Image.new("RGB", (40, 40))], max_new_tokens=2)) == 1
    end = vlm.make_dialogue(predictor.processor, "?").end_id
    assert end in predictor.model.generation_config.eos_token_id


def test_a_finished_run_is_left_alone(options, tmp_path):
    train_model(options)
    weights = (tmp_path / "model" / "model.safetensors").stat().st_mtime_ns

    again = train_model(replace(options, seed=5))

    assert again.was_finished
    assert again.differing == ("seed",)
    assert "holds a finished run; nothing was done" in again.summary()
    assert "other values of seed" in again.summary()
    assert (tmp_path / "model" / "model.safetensors").stat().st_mtime_ns == weights
    assert not train_model(replace(options, overwrite=True)).was_finished


def test_an_unfinished_run_is_resumed_by_the_same_options_only(options, tmp_path):
    train_model(options)
    (tmp_path / "model" / "training.json").unlink()
    with pytest.raises(TrainError, match="unfinished run with other values of learning_rate"):
        train_model(replace(options, learning_rate=0.5))
    assert train_model(options).record["steps"] == 4


def test_an_unfinished_run_on_another_dataset_is_told(options, tmp_path):
    train_model(options)
    (tmp_path / "model" / "training.json").unlink()
    plan = tmp_path / "model" / "plan.json"
    plan.write_text(plan.read_text("utf-8").replace('"dataset_fingerprint": "', '"x": "'), "utf-8")
    with pytest.raises(TrainError, match="on another state of dataset"):
        train_model(options)


def test_an_unfinished_run_of_more_processes_is_told(options, tmp_path):
    train_model(options)
    (tmp_path / "model" / "training.json").unlink()
    plan = tmp_path / "model" / "plan.json"
    plan.write_text(plan.read_text("utf-8").replace('"processes": 1', '"processes": 2'), "utf-8")
    with pytest.raises(TrainError, match="run of 2 processes, and there are 1 now"):
        train_model(options)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"patience": 5, "evaluations": 5}, "patience 5 with 5 evaluations can never end"),
        ({"evaluation_minutes": 0.0}, "evaluation_minutes is 0.0 .* more than 0 minutes"),
        ({"keep_checkpoints": 0}, "keep_checkpoints 0; .* at least 1 checkpoint"),
    ],
    ids=["patience", "minutes", "checkpoints"],
)
def test_a_course_that_cannot_be_meant_is_refused(options, change, words):
    with pytest.raises(OptionError, match=words):
        replace(options, **change)


def test_a_checkpoint_is_a_model_folder_of_its_own(options, tmp_path):
    result = train_model(options)
    evaluated = evaluate_model(
        EvaluateOptions(
            model=str(tmp_path / "model" / "checkpoints" / f"checkpoint-{result.record['steps']}"),
            dataset=options.dataset,
            output=str(tmp_path / "evaluation"),
            max_rows=2,
        )
    )
    assert (tmp_path / "evaluation" / "report.html").is_file()
    assert evaluated.to_dict()


def test_a_misspelt_best_metric_is_refused_before_a_model_is_loaded(options, monkeypatch, tmp_path):
    monkeypatch.setattr(vlm, "load_model_and_processor", None)
    with pytest.raises(TrainError, match="best_metric 'full_price_median_aqe' is no score of this"):
        train_model(replace(options, best_metric="full_price_median_aqe"))
    assert not (tmp_path / "model").exists()


def test_an_adapter_folder_predicts_with_its_base(options, tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="loupe")
    result = train_model(
        replace(
            options,
            method="lora",
            parts={"embeddings": "full", "head": "full"},
            optimizer="adamw",
        )
    )
    folder = tmp_path / "model"
    settings = json.loads((folder / "adapter_config.json").read_text("utf-8"))
    assert settings["base_model_name_or_path"] == options.model
    assert "adapter_model.safetensors" in files_of(folder)
    assert "model.safetensors" not in files_of(folder)
    assert "A LoRA adapter for" in (folder / "README.md").read_text("utf-8")  # not peft's form
    assert result.record["method"] == "lora"
    assert "Adapters: decoder (o_proj 2, qkv_proj 2, gate_up_proj 2, down_proj 2)" in caplog.text
    assert "tower 0.04 M frozen" in caplog.text
    predictor = Predictor.load(str(folder))
    assert len(predictor.predict([Image.new("RGB", (40, 40))], max_new_tokens=2)) == 1


def test_parts_in_full_beside_an_adapter_are_in_its_folder(options, tmp_path):
    parts = {"projection": "full", "tower": "adapted"}
    trained = train_model(
        replace(options, method="lora", parts=parts, learning_rate=0.01, precision="bf16")
    )
    base, _ = vlm.load_model_and_processor(options.model)
    model = Predictor.load(trained.output).model
    before = base.model.vision_embed_tokens
    after = vlm.underlying_model(model).model.vision_embed_tokens
    assert not torch.equal(before.sub_GN, after.sub_GN)
    assert not torch.equal(before.img_projection[0].weight, after.img_projection[0].weight)
    assert trained.record["parts"]["projection"][0] == trained.record["parts"]["projection"][1]
    adapted = dict(model.named_parameters())
    assert any("img_processor" in name and "lora_B" in name for name in adapted)
    assert all(
        value.abs().max() > 0  # they start at zero
        for name, value in adapted.items()
        if "lora_B" in name and "encoder.layers.1" not in name  # the tower's last never runs
    )


def test_a_4_bit_base_is_refused_before_anything_is_loaded(options, monkeypatch, tmp_path):
    monkeypatch.setattr(vlm, "load_model_and_processor", None)
    monkeypatch.setattr(vlm, "choose_device", lambda _: "cpu")
    with pytest.raises(TrainError, match="method qlora needs a CUDA GPU"):
        train_model(replace(options, method="qlora"))
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("method", ["full", "lora"])
def test_another_family_trains_and_predicts(options, llava_checkpoint, tmp_path, method):
    train_model(replace(options, model=str(llava_checkpoint), method=method))
    predictor = Predictor.load(str(tmp_path / "model"))
    inner = vlm.underlying_model(predictor.model)
    assert type(inner).__name__ == "LlavaForConditionalGeneration"
    assert len(predictor.predict([Image.new("RGB", (40, 40))], max_new_tokens=2)) == 1


def test_fewer_crops_are_trained_and_kept(options, tmp_path):
    train_model(replace(options, num_crops=1))
    processor = vlm.load_processor(str(tmp_path / "model"))
    assert processor.image_processor.num_crops == 1


@pytest.mark.parametrize("method", ["full", "lora"])
def test_gradient_checkpointing_changes_nothing_but_the_memory(options, tmp_path, method):
    plain = train_model(replace(options, method=method))
    other = str(tmp_path / "other")
    recomputed = train_model(
        replace(options, method=method, output=other, gradient_checkpointing=True)
    )
    assert recomputed.record["best_score"] == pytest.approx(plain.record["best_score"], rel=1e-5)


def test_bf16_trains(options):
    assert train_model(replace(options, precision="bf16")).record["steps"] == 4


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"best_metric": "accuracy"}, "best_metric 'accuracy' is no score of this task: loss, "),
        ({"schedule": "brain"}, "schedule .brain.: unknown. Choose one of linear"),
        ({"evaluations": 0, "best_metric": "parse_rate"}, "needs validation rows"),
    ],
    ids=["unknown score", "unknown schedule", "no evaluation"],
)
def test_a_run_that_cannot_start_says_why_and_leaves_nothing_to_resume(options, change, words):
    with pytest.raises(TrainError, match=words):
        train_model(replace(options, **change))
    assert train_model(options).record["steps"] == 4  # other options, and nothing in their way


def test_a_missing_dataset_is_told(options):
    with pytest.raises(DatasetError, match="There is no dataset folder"):
        train_model(replace(options, dataset="nowhere"))


def test_missing_accelerate_names_the_extra(options, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "accelerate", None)
    with pytest.raises(MissingExtraError, match=r"accelerate: pip install 'loupe-vlm\[train\]'"):
        train_model(options)


def card_code(folder):
    text = (folder / "README.md").read_text("utf-8")
    return text.split("```python\n")[1].split("```")[0]


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("tiny_checkpoint", {}),
        ("tiny_checkpoint", {"method": "lora"}),
        ("tiny", {"method": "lora"}),
        ("llava_checkpoint", {}),
    ],
    ids=["full", "adapter", "adapter of tiny", "another family"],
)
def test_the_cards_code_loads_the_model_and_answers(options, request, tmp_path, family, settings):
    base = family if family == "tiny" else str(request.getfixturevalue(family))
    if family == "llava_checkpoint":
        settings = {"optimizer": "adamw"}
    train_model(replace(options, model=base, max_steps=2, **settings))
    folder = tmp_path / "model"
    Image.new("RGB", (60, 60), "red").save(folder / "picture.jpg")

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", card_code(folder)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    predictor = Predictor.load(str(folder))
    (answer,) = predictor.predict([Image.open(folder / "picture.jpg")], decoding="free")
    expected = answer.text
    for token in predictor.processor.tokenizer.added_tokens_decoder.values():
        expected = expected.replace(token.content, "")  # random weights say any of them
    assert done.stdout.strip() == expected.strip()


def test_a_card_holds_the_scores_of_the_step_that_was_kept(options, tmp_path):
    result = train_model(options)
    text = (tmp_path / "model" / "README.md").read_text("utf-8")
    assert f"| loss | {result.record['best_score']:.4g} |" in text
    assert "| title_token_f1 |" in text
    assert result.record["dataset_fingerprint"] in text
    assert '| optimizer | `"muon"` |' in text


def test_a_tracker_is_refused_before_anything_is_written(options, tmp_path):
    for names in (["wandb", "wand"], ["clearml"]):
        with pytest.raises(OptionError, match="is not known; choose from wandb, tensorboard"):
            train_model(replace(options, tracker=names))
    assert not (tmp_path / "model").exists()
