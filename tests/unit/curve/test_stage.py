"""A curve from options to files, by tiny runs."""

import csv
import json
from dataclasses import replace

import pytest
import yaml
from PIL import Image

from loupe.build import build_dataset
from loupe.curve import draw_curve
from loupe.errors import DatasetError, OptionError
from loupe.options import BuildOptions, CurveOptions


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Folder of a dataset of flat squares, two to a group."""
    source = tmp_path_factory.mktemp("source")
    with (source / "table.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["id", "image", "title", "category3_code", "full_price"])
        for number in range(32):
            name = f"{number}.png"
            Image.new("RGB", (32, 32), (8 * number, 99, 255 - 8 * number)).save(source / name)
            table.writerow([number, name, f"Thing {number // 2}", "AB"[number % 2], 10 + number])
    options = BuildOptions(source=str(source / "table.csv"), output=str(source / "data"))
    build_dataset(
        replace(
            options, group_by=["title"], test_share=0.2, validation_share=0.1, workers=1,
            min_contrast=0,
        )
    )  # fmt: skip
    return source / "data"


@pytest.fixture
def options(dataset, tiny_checkpoint, tmp_path):
    (tmp_path / "train.yaml").write_text(
        yaml.safe_dump({"max_steps": 2, "batch_size": 4, "evaluations": 1}), "utf-8"
    )
    (tmp_path / "evaluate.yaml").write_text(
        yaml.safe_dump({"max_new_tokens": 2, "bootstrap": 20, "twins": False}), "utf-8"
    )
    return CurveOptions(
        dataset=str(dataset),
        output=str(tmp_path / "curve"),
        model=str(tiny_checkpoint),
        shares=[1.0, 0.5],
        train=str(tmp_path / "train.yaml"),
        evaluate=str(tmp_path / "evaluate.yaml"),
    )


def test_shares_are_trained_evaluated_and_compared_once(options, tmp_path, caplog):
    result = draw_curve(options)
    record = json.loads((tmp_path / "curve" / "learning_curve.json").read_text("utf-8"))
    assert [point["share"] for point in record["shares"]] == [0.5, 1.0]
    fewer, more = (point["runs"][0] for point in record["shares"])
    assert fewer["train_rows"] < more["train_rows"]
    assert fewer["steps"] == more["steps"] == 2
    assert "evaluate/title_token_f1" in more["scores"]
    assert (record["steps"][0]["from"], record["steps"][0]["to"]) == (0.5, 1.0)
    assert (tmp_path / "curve" / "learning_curve.svg").read_text("utf-8").startswith("<svg")
    assert "From share 0.5 to 1:" in result.summary()

    made = {
        path: path.stat().st_mtime_ns for path in tmp_path.glob("curve/*/*/*") if path.is_file()
    }
    again = draw_curve(replace(options, shares=[0.5, 1.0], seeds=[0, 0]))
    assert again.record == result.record
    assert {path: path.stat().st_mtime_ns for path in made} == made

    (tmp_path / "train.yaml").write_text("max_steps: 3\nbatch_size: 4\nevaluations: 1\n", "utf-8")
    with pytest.raises(OptionError, match="holds a run with other values of max_steps"):
        draw_curve(options)


def test_a_missing_dataset_is_told(options):
    with pytest.raises(DatasetError, match="nowhere"):
        draw_curve(replace(options, dataset="nowhere"))


@pytest.mark.parametrize(
    "change", [{"shares": []}, {"shares": [0.0]}, {"shares": [2]}, {"seeds": []}, {"seeds": [-1]}]
)
def test_shares_that_cannot_be_meant_are_refused(options, change):
    with pytest.raises(OptionError, match="expected shares above 0"):
        replace(options, **change)
