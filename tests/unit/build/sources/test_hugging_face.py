import json

import pytest

from loupe.build.sources import Reading, read_table
from loupe.errors import BuildError

from ..conftest import draw, encode


def make_dataset(tmp_path, rows=5, embedded=False):
    import datasets

    pictures = [tmp_path / f"{row}.png" for row in range(rows)]
    for row, path in enumerate(pictures):
        path.write_bytes(encode(draw(row), "PNG"))
    features = datasets.Features({
        "title": datasets.Value("string"),
        "image": datasets.Image(),
        "kind": datasets.ClassLabel(names=["bag", "belt"]),
    })  # fmt: skip
    columns = {
        "title": [f"T{row}" for row in range(rows)],
        "image": [path.read_bytes() if embedded else str(path) for path in pictures],
        "kind": [row % 2 for row in range(rows - 1)] + [-1],
    }
    return datasets.Dataset.from_dict(columns, features)


def check_dataset_rows(table, rows):
    assert [row["kind"] for row in rows] == ["bag", "belt", "bag", "belt", None]
    assert [row["title"] for row in rows] == [f"T{row}" for row in range(5)]
    assert rows == list(table.rows())


def test_saved_dataset_is_read_with_its_labels_and_the_paths_of_its_pictures(tmp_path):
    make_dataset(tmp_path).save_to_disk(tmp_path / "saved")
    table = read_table(tmp_path / "saved")
    rows = list(table.rows())
    check_dataset_rows(table, rows)
    assert rows[0]["image"]["path"].endswith("0.png")


def test_parquet_that_datasets_wrote_is_read_with_its_labels(tmp_path):
    make_dataset(tmp_path, embedded=True).to_parquet(tmp_path / "one.parquet")
    table = read_table(tmp_path / "one.parquet")
    check_dataset_rows(table, list(table.rows()))


def test_saved_splits_are_read_one_after_the_other(tmp_path):
    import datasets

    whole = make_dataset(tmp_path)
    splits = {"train": whole.select(range(3)), "test": whole.select(range(3, 5))}
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "saved")
    table = read_table(tmp_path / "saved")
    check_dataset_rows(table, list(table.rows()))


@pytest.mark.parametrize("streaming", [False, True])
def test_folder_that_datasets_opens_is_read_with_the_bytes_of_its_pictures(tmp_path, streaming):
    (tmp_path / "scratch").mkdir()
    folder = tmp_path / "repository"
    (folder / "data").mkdir(parents=True)
    make_dataset(tmp_path, embedded=True).to_parquet(
        folder / "data" / "train-00000-of-00001.parquet"
    )
    how = Reading(scratch=tmp_path / "scratch", streaming=streaming)
    table = read_table(folder, how)
    rows = list(table.rows())
    check_dataset_rows(table, rows)
    assert rows[3]["image"]["bytes"] == (tmp_path / "3.png").read_bytes()


def test_pictures_with_nested_metadata_are_read_as_an_image_folder(tmp_path):
    for kind in ("train", "test"):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / "a.png").write_bytes(encode(draw(1), "PNG"))
        line = json.dumps({"file_name": "a.png", "title": f"{kind} bag"})
        (tmp_path / kind / "metadata.jsonl").write_text(line + "\n")
    table = read_table(tmp_path)
    rows = list(table.rows())
    assert sorted(row["title"] for row in rows) == ["test bag", "train bag"]
    assert all(row["image"]["path"].endswith("a.png") for row in rows)


def test_dataset_that_cannot_be_opened_is_refused_in_words(tmp_path):
    (tmp_path / "state.json").write_text("{}")
    with pytest.raises(BuildError, match="cannot be opened by `datasets`"):
        read_table(tmp_path)
