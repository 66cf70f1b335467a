import json
import pickle
import shutil

import pytest

from loupe.build import Dataset, build_dataset
from loupe.errors import DatasetError
from loupe.options import BuildOptions

from .conftest import write_catalogue


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    build_dataset(
        BuildOptions(source=str(write_catalogue(folder, 230)), output=str(folder / "data"))
    )
    return folder / "data"


@pytest.fixture
def copy(made, tmp_path):
    return shutil.copytree(made, tmp_path / "copy")


def test_rows_and_pictures_are_those_that_went_in(made):
    rows = Dataset.open(made).rows("train")
    assert len(rows) > 100  # more than one row group
    for place in (0, len(rows) - 1, 1):
        number = int(rows.row(place)["title"].split()[1])
        assert rows.values(place) == {
            "title": f"Bag {number}",
            "category3_code": "TOTES" if number % 2 else "BELTS",
            "full_price": 100.0 + number,
        }
        picture = rows.picture(place)
        assert (picture.mode, picture.size) == ("RGB", (40, 32))
        red, _, _ = picture.getpixel((35, 28))
        assert abs(red - number * 37 % 256) < 8  # JPEG
        assert rows.row(place)["image_sha256"]


def test_columns_are_read_whole(made):
    rows = Dataset.open(made).rows("test")
    assert rows.column("title") == [rows.row(place)["title"] for place in range(len(rows))]
    assert set(rows.row(0)) == set(rows.columns)
    assert "image" not in rows.columns


def test_choices_are_those_of_the_training_rows(made):
    task = Dataset.open(made).task
    assert task.fields["category3_code"].choices == ("BELTS", "TOTES")


def test_memory_holds_the_row_groups_read_last(made, monkeypatch):
    monkeypatch.setattr("loupe.build.dataset._CACHE_BYTES", 1)
    rows = Dataset.open(made).rows("train")
    for place in range(0, len(rows), 10):
        rows.picture(place)
    assert len(rows._pictures._cached) == 1


def test_split_can_be_sent_to_another_process(made):
    rows = Dataset.open(made).rows("train")
    rows.picture(0)
    assert pickle.loads(pickle.dumps(rows)).values(3) == rows.values(3)


def test_row_beyond_the_end_is_an_index_error(made):
    rows = Dataset.open(made).rows("validation")
    with pytest.raises(IndexError, match=rf"row {len(rows)} of a split with {len(rows)} rows"):
        rows.picture(len(rows))


def test_unknown_split_and_column_are_named_with_those_there_are(made):
    with pytest.raises(DatasetError, match="no split 'dev'; it has train, validation, test"):
        Dataset.open(made).rows("dev")
    with pytest.raises(DatasetError, match="no column 'colour'; it has row_id,"):
        Dataset.open(made).rows("test").column("colour")


def test_missing_and_unfinished_folders_are_refused(copy, tmp_path):
    with pytest.raises(DatasetError, match=r"no dataset folder '.*none'. Make one: `loupe build"):
        Dataset.open(tmp_path / "none")
    (copy / "dataset.json").unlink()
    with pytest.raises(DatasetError, match=r"no finished dataset: it has no dataset.json"):
        Dataset.open(copy)


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ("not json", "not the record of a dataset"),
        ("[]", "not the record of a dataset"),
        ('{"format": 99}', "has format 99; this Loupe reads format 1"),
        ('{"format": 1, "task": {}}', "no task that can be read"),
    ],
    ids=["text", "list", "format", "task"],
)
def test_record_of_another_kind_is_refused(copy, record, words):
    (copy / "dataset.json").write_text(record)
    with pytest.raises(DatasetError, match=words):
        Dataset.open(copy)


def test_split_file_unlike_its_record_is_refused(copy):
    path = copy / "data" / "test-00000-of-00001.parquet"
    record = json.loads((copy / "dataset.json").read_text())
    record["counts"]["validation"] += 1
    (copy / "dataset.json").write_text(json.dumps(record))
    with pytest.raises(DatasetError, match=r"has \d+ rows, its record says"):
        Dataset.open(copy).rows("validation")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DatasetError, match="cannot be read"):
        Dataset.open(copy).rows("test")
