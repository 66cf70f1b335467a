"""Products of one and of two pictures through the real commands, on a tiny random model."""

import csv
import json
import shutil

import pyarrow.parquet as pq
import pytest

from commands import loupe

ROWS = 60
WITHOUT_BACK = 3  # each so-manieth row has no second picture


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    folder = tmp_path_factory.mktemp("several") / "sample"
    words = ["--rows", ROWS, "--views", 2, "--image-size-px", 48, "--workers", 1]
    done = loupe("sample", "--output", folder, *words)
    assert f"Wrote {2 * ROWS} pictures" in done.stdout
    assert "--image-column image image_2" in done.stdout
    return folder


@pytest.fixture(scope="module")
def data(sample):
    """A dataset from a table in which some rows lack their second picture, and one's is bad."""
    rows = pq.read_table(sample / "products.parquet").to_pylist()
    (sample / rows[1]["image_2"]).write_text("<html>not a picture</html>")
    names = ["product_code", "title", "category3_code", "full_price", "image", "image_2"]
    table = sample / "mixed.csv"
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        for place, row in enumerate(rows):
            back = "" if place % WITHOUT_BACK == 0 else row["image_2"]
            writer.writerow([*(row[name] for name in names[:-1]), back])
    folder = sample.parent / "data"
    loupe("build", "--source", table, "--output", folder, "--image-column", "image", "image_2")
    return folder


@pytest.fixture(scope="module")
def model(data, tiny_checkpoint):
    folder = data.parent / "model"
    words = ["--optimizer", "muon", "--max-steps", 4, "--batch-size", 8, "--evaluations", 1]
    words += ["--augment", "--batch-tokens", 900, "--num-crops", 2]
    done = loupe("train", "--dataset", data, "--model", tiny_checkpoint, "--output", folder, *words)
    assert "a row's pictures, up to 2, are" in done.stderr
    return folder


def test_every_further_picture_is_kept_or_explained(data):
    record = json.loads((data / "dataset.json").read_text())
    more, counts = record["more_images"], record["counts"]
    assert counts["rejected"] == {}
    assert more["left_out"] == {"no_picture": ROWS // WITHOUT_BACK, "html_page": 1}
    assert more["kept"] == ROWS - ROWS // WITHOUT_BACK - 1


def test_rows_of_one_and_of_two_pictures_are_evaluated_together(data, model, tmp_path):
    words = ["--bootstrap", 20, "--max-new-tokens", 8, "--price", "median"]
    loupe("evaluate", "--model", model, "--dataset", data, "--output", tmp_path / "e", *words)
    scores = json.loads((tmp_path / "e/scores.json").read_text())
    assert set(scores["twins"]) == {"blind", "shuffled"}
    assert "<img" in (tmp_path / "e/report.html").read_text()
    evaluated = pq.read_table(tmp_path / "e/predictions.parquet").to_pylist()

    predicted = loupe("predict", data, "--model", model, "--max-new-tokens", 8)

    rows = [json.loads(line) for line in predicted.stdout.splitlines()]
    assert {len(row.get("more_pictures", ())) for row in rows} == {0, 1}
    answers = {row["row_id"]: row["answer"] for row in evaluated}
    assert {row["id"]: row["answer"] for row in rows} == answers


def test_a_model_trained_on_fewer_pictures_is_evaluated_on_as_many(data, tiny_checkpoint, tmp_path):
    words = ["--max-steps", 1, "--batch-size", 4, "--evaluations", 0, "--pictures", 1]
    folder = tmp_path / "model"
    loupe("train", "--dataset", data, "--model", tiny_checkpoint, "--output", folder, *words)

    from loupe.evaluate.material import find_most_pictures
    from loupe.options import EvaluateOptions

    asked = EvaluateOptions(model=str(folder), dataset=str(data), output="e")
    assert find_most_pictures(asked) == 1


def test_a_run_keeps_features_of_all_pictures_and_needs_none_of_them_again(
    data, tiny_checkpoint, tmp_path
):
    words = ["--method", "lora", "--epochs", 2, "--batch-size", 16, "--evaluations", 0]
    words += ["--feature-folder", tmp_path / "features"]
    loupe(
        "train", "--dataset", data, "--model", tiny_checkpoint, "--output", tmp_path / "m", *words
    )
    from loupe.build import Dataset

    rows = Dataset.open(data).rows("train")
    names = {key for place in range(len(rows)) for key in rows.picture_hashes(place)}
    kept = {path.stem for path in (tmp_path / "features").rglob("*.safetensors")}
    assert kept == names


def test_the_named_files_are_one_product_and_so_are_those_of_each_folder(sample, model, tmp_path):
    pictures = sorted((sample / "images").glob("*.jpg"))[4:8]
    for place, picture in enumerate(pictures):
        folder = tmp_path / "shop" / f"product{place // 2}"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(picture, folder / picture.name)
    (tmp_path / "shop/product1/bad.jpg").write_text("<html>not a picture</html>")
    words = ["--model", model, "--max-new-tokens", 8, "--together"]

    done = loupe("predict", pictures[0], pictures[1], tmp_path / "shop", *words)

    named, first, second = (json.loads(line) for line in done.stdout.splitlines())
    assert (named["picture"], named["more_pictures"]) == (str(pictures[0]), [str(pictures[1])])
    assert named["answer"] == first["answer"]
    assert len(second["more_pictures"]) == 2
    assert "bad.jpg" in second["left_out"][0]
    assert second["answer"]
