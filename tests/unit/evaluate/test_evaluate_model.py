"""The real dataset reader and the real predictor behind the evaluation."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from loupe.build import build_dataset
from loupe.errors import CheckpointError
from loupe.evaluate import evaluate_model
from loupe.options import BuildOptions


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Folder of a dataset of flat squares, half of them in the test split."""
    source = tmp_path_factory.mktemp("source")
    columns = ["id", "image", "title", "category3_code", "full_price"]
    with (source / "table.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(columns)
        for number in range(16):
            name = f"{number}.png"
            Image.new("RGB", (32, 40), (16 * number, 99, 255 - 16 * number)).save(source / name)
            table.writerow([number, name, f"Thing {number}", "ABCD"[number % 4], 10 + number])
    output = source / "data"
    options = BuildOptions(source=str(source / "table.csv"), output=str(output), test_share=0.5)
    build_dataset(replace(options, validation_share=0.1, workers=1, min_contrast=0))
    return output


def test_a_random_model_is_evaluated_from_folder_to_report(dataset, tiny_checkpoint, options):
    result = evaluate_model(
        replace(options, model=str(tiny_checkpoint), dataset=str(dataset), max_new_tokens=4)
    )
    scores = json.loads((Path(result.output) / "scores.json").read_text("utf-8"))
    assert scores["scores"]["evaluate/parse_rate"]["value"] == 1.0
    free = scores["variants"]["free"]
    assert free["scores"]["evaluate/parse_rate"]["value"] == 0.0
    assert free["label"] in result.summary()
    assert scores["verdict"].startswith("There is no evidence that the model looks")
    assert scores["dataset"]["fingerprint"]
    assert "nearest_features" in scores["baselines"]
    assert Path(result.report).is_file()


def test_what_decided_is_drawn_over_the_pictures(dataset, tiny_checkpoint, options):
    asked = replace(options, model=str(tiny_checkpoint), dataset=str(dataset), max_new_tokens=4)
    result = evaluate_model(replace(asked, max_rows=3, maps=2))
    assert len(result.scores["maps"]["rows"]) == 2
    text = Path(result.report).read_text("utf-8")
    assert text.count('alt="what decided full_price"') == 2


def test_a_base_that_cannot_be_loaded_costs_no_answers(dataset, tiny_checkpoint, options, tmp_path):
    model, base = tmp_path / "model", tmp_path / "base"
    shutil.copytree(tiny_checkpoint, model)
    base.mkdir()
    (model / "training.json").write_text(json.dumps({"base": str(base)}), "utf-8")
    asked = replace(options, model=str(model), dataset=str(dataset), max_new_tokens=4, max_rows=2)
    result = evaluate_model(replace(asked, untuned=True, baseline_rows=0))
    assert result.scores["counts"]["rows"] == 2
    assert result.scores["baselines"] == {}
    (note,) = (note for note in result.scores["notes"] if "before fine-tuning" in note)
    assert "has no config.json" in note


def test_the_model_before_its_fine_tuning_answers_too(dataset, tiny_checkpoint, options, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(tiny_checkpoint, model)
    record = {"base": str(tiny_checkpoint)}
    (model / "training.json").write_text(json.dumps(record), "utf-8")
    asked = replace(options, model=str(model), dataset=str(dataset), max_new_tokens=4, max_rows=4)
    result = evaluate_model(replace(asked, untuned=True))
    untuned = result.scores["baselines"]["untuned"]
    assert untuned["label"] == f"before fine-tuning: {tiny_checkpoint.name}"
    mine = result.scores["scores"]
    for name, interval in untuned["scores"].items():  # of the same weights
        assert interval == mine[name]
    assert untuned["label"] in result.summary()


def test_a_missing_model_is_one_line_and_leaves_nothing(dataset, options):
    with pytest.raises(CheckpointError, match="nowhere"):
        evaluate_model(replace(options, model="./nowhere", dataset=str(dataset)))
    assert not Path(options.output).exists()
