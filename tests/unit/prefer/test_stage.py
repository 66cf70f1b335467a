import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from loupe.cli import main
from loupe.errors import MissingExtraError, OptionError, PreferError, TrainError
from loupe.options import PreferOptions
from loupe.predict import Predictor
from loupe.prefer import prefer_answers, samples, stage


@pytest.fixture
def options(cups, trained, tmp_path):
    return PreferOptions(
        dataset=str(cups),
        model=str(trained),
        output=str(tmp_path / "preferred"),
        max_rows=12,
        samples=6,
        max_new_tokens=48,
        max_steps=6,
        epochs=9,
        learning_rate=3e-3,
        evaluations=1,
        evaluation_rows=6,
    )


def files_of(folder):
    return {path.name for path in Path(folder).iterdir()}


def last_logged(folder, name):
    lines = (Path(folder) / "metrics.jsonl").read_text("utf-8").splitlines()
    return [event[name] for line in lines if name in (event := json.loads(line))][-1]


def test_the_command_tunes_a_model_by_its_own_answers(options, tmp_path, capsys):
    settings = tmp_path / "prefer.yaml"
    names = ("max_rows", "samples", "max_new_tokens", "max_steps", "epochs", "evaluations")
    values = {name: getattr(options, name) for name in names}
    settings.write_text("".join(f"{name}: {value}\n" for name, value in values.items()), "utf-8")
    words = ["prefer", "--config", str(settings), "--learning-rate", "0.003"]
    for name in ("model", "dataset", "output"):
        words += [f"--{name}", getattr(options, name)]

    assert main(words) == 0

    told = capsys.readouterr().out.splitlines()
    assert "rows gave a pair; of" in told[0]
    assert "On validation rows full_price_median_ape was" in told[1]
    assert f"loupe evaluate --model {options.output} --dataset" in told[2]
    expected = {"model.safetensors", "config.json", "tokenizer.json", "task.yaml", "README.md"}
    expected |= {"options.yaml", "metrics.jsonl", "samples.jsonl", "pairs.jsonl", "training.json"}
    assert expected <= files_of(options.output)
    record = json.loads((tmp_path / "preferred" / "training.json").read_text("utf-8"))
    assert record["steps"] == 6
    assert record["step_seconds"] > record["data_wait_seconds"] > 0
    assert record["preferences"]["mean_chosen_score"] > record["preferences"]["mean_score"]
    assert record["before"].keys() >= {"loss", "full_price_median_ape"}
    card = (tmp_path / "preferred" / "README.md").read_text("utf-8")
    assert "by preferring the better of its own answers" in card
    assert "| samples | `6` |" in card
    assert last_logged(options.output, "train/reward_margin") > 0
    predictor = Predictor.load(options.output)
    assert len(predictor.predict([Image.new("RGB", (40, 40))], max_new_tokens=48)) == 1


def test_a_killed_run_goes_on_with_the_answers_it_has(options, monkeypatch):
    options = replace(options, evaluations=3, keep_checkpoints=9, best_metric="loss")
    first = prefer_answers(options)
    assert prefer_answers(replace(options, seed=9)).differing == ("seed",)
    folder = Path(options.output)
    last = folder / "checkpoints" / "checkpoint-6" / "model.safetensors"
    weights = last.read_bytes()
    for step in (4, 6):
        shutil.rmtree(folder / "checkpoints" / f"checkpoint-{step}")
    (folder / "training.json").unlink()
    monkeypatch.setattr(samples, "_draw", None)  # drawing again would fail

    again = prefer_answers(options).record

    assert last.read_bytes() == weights  # as if it had never been killed
    assert again["best_score"] == first.record["best_score"]

    other = replace(options, output=options.output + "-beta", beta=0.5, max_rows=None)
    taken = prefer_answers(replace(other, samples_from=options.output, max_steps=1))
    assert taken.record["preferences"] == first.record["preferences"]
    with pytest.raises(PreferError, match="were drawn with another temperature"):
        prefer_answers(
            replace(other, output=options.output + "-t", samples_from=options.output, temperature=2)
        )


def test_an_adapter_is_begun_and_trained_on(options, trained):
    begun = prefer_answers(replace(options, method="lora", max_steps=1))
    assert "adapter_model.safetensors" in files_of(options.output)
    settings = json.loads((Path(options.output) / "adapter_config.json").read_text("utf-8"))
    assert settings["base_model_name_or_path"] == str(trained)

    further = replace(options, model=options.output, output=options.output + "-on", method="lora")
    prefer_answers(replace(further, max_steps=1))
    settings = json.loads((Path(further.output) / "adapter_config.json").read_text("utf-8"))
    assert settings["base_model_name_or_path"] == str(trained)
    assert f'from_pretrained("{trained}")' in (Path(further.output) / "README.md").read_text(
        "utf-8"
    )
    with pytest.raises(PreferError, match="is an adapter, and method lora trains on what it holds"):
        prefer_answers(replace(further, output=options.output + "-no", parts={"head": "full"}))
    merged = replace(further, output=options.output + "-merged", method="full", max_steps=1)
    prefer_answers(merged)
    assert "model.safetensors" in files_of(merged.output)
    assert begun.record["method"] == "lora"


def test_no_pair_is_an_error_with_the_way_out(options):
    with pytest.raises(PreferError, match="none has two answers whose scores differ by margin"):
        prefer_answers(replace(options, margin=0.9, temperature=0.01))


def test_a_missing_trl_is_told_before_anything_is_written(options, monkeypatch):
    monkeypatch.setattr(stage, "find_spec", lambda _: None)
    with pytest.raises(
        MissingExtraError, match=r"Preference tuning needs TRL: .*loupe-vlm\[prefer"
    ):
        prefer_answers(options)
    assert not Path(options.output).exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"samples": 1}, "a pair needs at least 2 answers, and at least 1 row"),
        ({"max_rows": 0}, "max_rows 0; a pair needs"),
        ({"temperature": 0.0}, "expected values above 0"),
        ({"max_rows": 5, "samples_from": "."}, "max_rows goes without samples_from"),
        ({"margin": 0.0}, "margin is 0.0; expected above 0"),
        ({"field_weights": {"title": -1.0}}, "expected weights of 0 or more"),
        ({"method": "lora", "parts": {"head": "adapted"}}, "TRL reads the head's weight"),
        ({"parts": {"hand": "full"}}, "expected tower, projection"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_options_that_cannot_be_meant_are_refused(options, settings, message):
    with pytest.raises(OptionError, match=message):
        replace(options, **settings)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"titel": 1.0}, "names titel; the task has title, category3_code, full_price"),
        ({"title": 0.0, "category3_code": 0.0, "full_price": 0.0}, "are all 0"),
    ],
    ids=["unknown", "nothing counts"],
)
def test_weights_that_do_not_fit_the_task_are_refused(options, weights, message):
    with pytest.raises(PreferError, match=message):
        prefer_answers(replace(options, field_weights=weights))


def test_a_score_that_there_is_not_is_refused_before_anything_is_written(options):
    with pytest.raises(TrainError, match="best_metric 'prize' is no score of this task"):
        prefer_answers(replace(options, best_metric="prize"))
    assert not Path(options.output).exists()


def test_the_same_rows_are_answered_each_time_however_long_it_takes(options):
    assert options.train_options().evaluation_minutes == math.inf


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_trained_model_is_never_written_over(options, trained, overwrite):
    with pytest.raises(PreferError, match="holds a run of `loupe train`, which would be lost"):
        prefer_answers(replace(options, output=str(trained), overwrite=overwrite))
    assert (trained / "model.safetensors").is_file()


def test_several_processes_are_refused(options, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(PreferError, match="runs in one process"):
        prefer_answers(options)


def test_a_model_of_another_task_is_refused(options, trained, tmp_path):
    copy = shutil.copytree(trained, tmp_path / "copy", ignore=shutil.ignore_patterns("checkpoints"))
    text = (copy / "task.yaml").read_text("utf-8")
    (copy / "task.yaml").write_text(text.replace("Product:", "Thing:"), "utf-8")
    with pytest.raises(PreferError, match="Name the dataset that the model was trained on"):
        prefer_answers(replace(options, model=str(copy)))


@pytest.mark.parametrize(
    ("metric", "before", "after", "told"),
    [
        ("full_price_median_ape", 0.12, 0.10, "was 0.120 before and is 0.100 now: better."),
        ("full_price_median_ape", 0.12, 0.12, "it did not help; keep the model as it was."),
        ("title_token_f1", 0.8, 0.7, "it did not help"),
        ("loss", None, None, "it is not known whether it helped"),
    ],
)
def test_whether_it_helped_is_told(metric, before, after, told):
    assert told in stage.tell_change(metric, {} if before is None else {metric: before}, after)
