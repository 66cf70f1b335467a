"""Rows with several pictures: from columns or lists into `more_images`, every loss explained."""

import json
import tarfile

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loupe.build import Dataset, build_dataset
from loupe.build.splits import SPLITS
from loupe.errors import BuildError, OptionError
from loupe.options import BuildOptions

from .conftest import draw, encode, write_catalogue

ROWS = 12


@pytest.fixture
def table(tmp_path):
    """Rows with a back each but for: 3 has none named, 5's is gone, 7's is no picture."""
    backs = [f"pictures/back{row}.png" for row in range(ROWS)]
    backs[3], backs[5] = "", "pictures/gone.png"
    path = write_catalogue(tmp_path / "source", ROWS, back=backs)
    for row in range(ROWS):
        content = encode(draw(100 + row, size=(30, 44)), "PNG")
        (path.parent / f"pictures/back{row}.png").write_bytes(content)
    (path.parent / "pictures/back7.png").write_bytes(b"<html>gone</html>")
    return path


def build(source, output, **settings):
    return build_dataset(
        BuildOptions(source=str(source), output=str(output), workers=1, **settings)
    )


def read_rows(output):
    """Each row by its id: the split that it is in, and its pictures."""
    dataset = Dataset.open(output)
    found = {}
    for split in SPLITS:
        rows = dataset.rows(split)
        for place in range(len(rows)):
            found[rows.row(place)["row_id"]] = (rows, place)
    return found


def content_of(folder):
    """Everything but what tells the time and the options of a build."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    skipped = {"options.yaml", "dataset.json", "ledger.parquet", "more_images.parquet"}
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in files
        if path.name not in skipped
    }


def test_two_columns_give_rows_of_two_pictures_the_first_of_them_the_main_one(table, tmp_path):
    result = build(table, tmp_path / "data", image_column=["image", "back"])

    rows, place = read_rows(tmp_path / "data")["1010"]
    assert [picture.size for picture in rows.pictures(place)] == [(40, 32), (30, 44)]
    assert rows.picture(place).tobytes() == rows.pictures(place)[0].tobytes()
    assert rows.pictures(place)[1].tobytes() == draw(101, size=(30, 44)).tobytes()
    assert rows.picture_sizes()[place] == ((40, 32), (30, 44))
    assert rows.row(place)["more_image_sha256"] == rows.picture_hashes(place)[1:]
    assert rows.picture_hash(place) == rows.picture_hashes(place)[0]
    assert "Kept 9 of 12 further pictures" in result.summary()


def test_a_further_picture_that_is_bad_is_left_out_with_its_reason_and_the_row_stays(
    table, tmp_path
):
    build(table, tmp_path / "data", image_column=["image", "back"])

    record = json.loads((tmp_path / "data/dataset.json").read_text("utf-8"))
    assert record["counts"]["rejected"] == {}
    reasons = {"no_picture": 1, "missing_picture": 1, "html_page": 1}
    assert record["more_images"] == {
        "named": 12, "kept": 9, "of_rejected_rows": 0, "left_out": reasons
    }  # fmt: skip
    told = pq.read_table(tmp_path / "data/more_images.parquet").to_pylist()
    left_out = {each["row_id"]: each["reason"] for each in told if each["fate"] == "left_out"}
    assert left_out == {"1030": "no_picture", "1050": "missing_picture", "1070": "html_page"}
    assert {each["picture"] for each in told} == {2}
    rows, place = read_rows(tmp_path / "data")["1050"]
    assert len(rows.pictures(place)) == 1


def test_a_row_whose_main_picture_is_bad_is_rejected_with_its_further_ones(table, tmp_path):
    (table.parent / "pictures/2.jpg").unlink()

    build(table, tmp_path / "data", image_column=["image", "back"])

    record = json.loads((tmp_path / "data/dataset.json").read_text("utf-8"))
    assert record["counts"]["rejected"] == {"missing_picture": 1}
    more = record["more_images"]
    assert more["of_rejected_rows"] == 1
    assert more["named"] == more["kept"] + more["of_rejected_rows"] + sum(more["left_out"].values())


def test_rows_whose_main_pictures_are_all_bad_make_no_dataset(table, tmp_path):
    for row in range(ROWS):
        (table.parent / f"pictures/{row}.jpg").unlink()

    with pytest.raises(BuildError, match=r"All 12 rows of .* were rejected .*missing_picture: 12"):
        build(table, tmp_path / "data", image_column=["image", "back"])


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_a_column_of_lists_gives_what_columns_give(table, tmp_path, suffix):
    build(table, tmp_path / "columns", image_column=["image", "back"])
    lines = [line.split(",") for line in table.read_text("utf-8").splitlines()[1:]]
    made = [
        {
            "product_code": int(code), "title": title, "category3_code": category,
            "full_price": float(price), "shots": [image, back or None],
        }
        for code, title, category, price, image, back in lines
    ]  # fmt: skip
    listed = table.with_name(f"listed{suffix}")
    if suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(made), listed)
    else:
        listed.write_text("".join(json.dumps(row) + "\n" for row in made), "utf-8")

    build(listed, tmp_path / "lists", image_column="shots")

    ours, theirs = read_rows(tmp_path / "columns"), read_rows(tmp_path / "lists")
    assert ours.keys() == theirs.keys()
    for name, (rows, place) in ours.items():
        others, other = theirs[name]
        assert rows.picture_hashes(place) == others.picture_hashes(other)


def test_pictures_inside_the_table_may_be_lists_too(table, tmp_path):
    build(table, tmp_path / "once", image_column=["image", "back"])

    parts = tmp_path / "once/data/*.parquet"
    build(parts, tmp_path / "again", image_column=["image", "more_images"], id_column="row_id")

    once, again = read_rows(tmp_path / "once"), read_rows(tmp_path / "again")
    assert once.keys() == again.keys()
    for name, (rows, place) in once.items():
        others, other = again[name]
        assert rows.picture_hashes(place) == others.picture_hashes(other)


def test_a_saved_dataset_may_hold_lists_of_pictures(table, tmp_path):
    from datasets import Dataset as HuggingFaceDataset
    from datasets import Features, Image, List, Value

    features = Features(
        {
            "title": Value("string"),
            "category3_code": Value("string"),
            "full_price": Value("float64"),
            "shots": List(Image()),
        }
    )
    rows = {
        "title": [f"Bag {row}" for row in range(ROWS)],
        "category3_code": ["TOTES"] * ROWS,
        "full_price": [10.0 + row for row in range(ROWS)],
        "shots": [[draw(row), draw(100 + row)] for row in range(ROWS)],
    }
    HuggingFaceDataset.from_dict(rows, features).save_to_disk(str(tmp_path / "saved"))

    result = build(tmp_path / "saved", tmp_path / "data", image_column="shots")

    assert result.more_images["kept"] == ROWS
    rows, place = read_rows(tmp_path / "data")["row-1"]
    assert rows.pictures(place)[1].tobytes() == draw(100).tobytes()


def test_pictures_beyond_the_most_are_left_out_with_that_reason(table, tmp_path):
    build(table, tmp_path / "data", image_column=["image", "back"], max_pictures=1)

    record = json.loads((tmp_path / "data/dataset.json").read_text("utf-8"))
    assert record["more_images"]["left_out"] == {"too_many_pictures": 12}
    assert all(
        len(rows.pictures(place)) == 1 for rows, place in read_rows(tmp_path / "data").values()
    )


def test_a_split_gives_no_more_pictures_than_it_is_asked_for(tmp_path):
    backs, sides = (
        [f"pictures/{(row + step) % ROWS}.jpg" for row in range(ROWS)] for step in (1, 2)
    )
    table = write_catalogue(tmp_path / "source", back=backs, side=sides)
    columns = ["image", "back", "side"]
    build(table, tmp_path / "data", image_column=columns, test_share=0, validation_share=0)

    for most, found in ((1, 1), (2, 2), (9, 3), (None, 3)):
        rows = Dataset.open(tmp_path / "data", most_pictures=most).rows("train")
        assert len(rows.pictures(0)) == len(rows.picture_hashes(0)) == found
        assert len(rows.picture_sizes()[0]) == found


def test_a_table_whose_rows_name_one_picture_gives_the_files_it_gave_before(table, tmp_path):
    build(table, tmp_path / "plain")
    build(table, tmp_path / "named", image_column="image")
    build(table, tmp_path / "listed", image_column=["image"])

    plain = content_of(tmp_path / "plain")
    assert plain == content_of(tmp_path / "named") == content_of(tmp_path / "listed")
    schema = pq.read_schema(tmp_path / "plain/data/train-00000-of-00001.parquet")
    assert not [name for name in schema.names if name.startswith("more_")]
    assert schema.metadata[b"huggingface"] == (
        b'{"info": {"features": {"image": {"_type": "Image"}}}}'
    )
    assert not (tmp_path / "plain/more_images.parquet").exists()
    assert "more_images" not in json.loads((tmp_path / "plain/dataset.json").read_text("utf-8"))
    rows = Dataset.open(tmp_path / "plain").rows("train")
    assert [len(rows.pictures(place)) for place in range(len(rows))] == [1] * len(rows)
    assert rows.picture_sizes() == [((40, 32),)] * len(rows)


def test_a_column_of_the_tables_own_may_be_called_more_images(tmp_path):
    table = write_catalogue(tmp_path / "source", more_images=["a, b"] * ROWS)

    build(table, tmp_path / "data")

    rows = Dataset.open(tmp_path / "data").rows("train")
    assert rows.row(0)["more_images"] == "a, b"
    assert len(rows.pictures(0)) == 1


def test_datasets_opens_further_pictures_as_pictures(table, tmp_path):
    build(table, tmp_path / "data", image_column=["image", "back"])

    opened = datasets.load_dataset(str(tmp_path / "data"), cache_dir=str(tmp_path / "cache"))
    row = opened["train"][0]
    assert row["image"].size == (40, 32)
    assert [picture.size for picture in row["more_images"]] in ([(30, 44)], [])


def test_rows_that_share_a_further_picture_are_in_one_group(table, tmp_path):
    shared = encode(draw(300, size=(50, 36)), "PNG")
    for row in (2, 9):
        (table.parent / f"pictures/back{row}.png").write_bytes(shared)
    (table.parent / "pictures/back4.png").write_bytes(
        (table.parent / "pictures/8.jpg").read_bytes()
    )

    build(table, tmp_path / "data", image_column=["image", "back"])

    found = read_rows(tmp_path / "data")
    groups = {name: rows.row(place)["group_id"] for name, (rows, place) in found.items()}
    assert groups["1020"] == groups["1090"]
    assert groups["1040"] == groups["1080"], "one's back is the other's front"
    assert len(set(groups.values())) == ROWS - 2
    audit = json.loads((tmp_path / "data/dataset.json").read_text("utf-8"))["split"]["audit"]
    assert audit["rows_sharing"]["picture"] == 4
    assert audit["stock_pictures"] == audit["test_rows_leaked"] == 0


def test_a_size_chart_that_all_products_show_ties_none(tmp_path):
    table = write_catalogue(tmp_path / "source", ROWS, back=["pictures/chart.png"] * ROWS)
    (table.parent / "pictures/chart.png").write_bytes(encode(draw(300, size=(50, 36)), "PNG"))

    build(table, tmp_path / "data", image_column=["image", "back"])

    audit = json.loads((tmp_path / "data/dataset.json").read_text("utf-8"))["split"]["audit"]
    assert audit["groups"] == ROWS
    assert audit["stock_pictures"] == ROWS


def test_failed_further_downloads_are_tried_again(site, tmp_path):
    for row in range(ROWS):
        site.say(f"/{row}.jpg", encode(draw(row)))
        site.say(f"/back{row}.png", encode(draw(100 + row), "PNG"))
    site.fail_first("/back4.png", encode(draw(104), "PNG"), status=404)
    table = write_catalogue(
        tmp_path / "source",
        image=[f"{site.url}/{row}.jpg" for row in range(ROWS)],
        back=[f"{site.url}/back{row}.png" for row in range(ROWS)],
    )
    settings = {"image_column": ["image", "back"], "allow_private": True}
    first = build(table, tmp_path / "data", **settings)
    assert first.more_images["left_out"] == {"http_error": 1}
    before = len(site.visits)

    second = build(table, tmp_path / "data", **settings, retry="failed")

    assert second.more_images["kept"] == ROWS
    assert site.visits[before:] == ["/back4.png"]
    rows, place = read_rows(tmp_path / "data")["1040"]
    assert rows.pictures(place)[1].tobytes() == draw(104).tobytes()


def test_exports_hold_all_pictures_of_a_row(table, tmp_path):
    formats = ["trl", "llava", "sharegpt", "swift", "openai", "webdataset"]
    build(table, tmp_path / "data", image_column=["image", "back"], export=formats)

    export = tmp_path / "data/export"
    rows = Dataset.open(tmp_path / "data").rows("train")
    counts = [len(sizes) for sizes in rows.picture_sizes()]
    assert {1, 2} == set(counts)
    told = {
        "llava": json.loads((export / "llava_train.json").read_text("utf-8")),
        "sharegpt": json.loads((export / "sharegpt_train.json").read_text("utf-8")),
        "swift": [
            json.loads(line) for line in (export / "swift_train.jsonl").read_text().splitlines()
        ],
        "openai": [
            json.loads(line) for line in (export / "openai_train.jsonl").read_text().splitlines()
        ],
    }
    for place, count in enumerate(counts):
        marks = told["llava"][place]["conversations"][0]["value"].count("<image>")
        assert marks == count
        image = told["llava"][place]["image"]
        assert isinstance(image, str) if count == 1 else len(image) == count
        assert len(told["sharegpt"][place]["images"]) == count
        assert told["swift"][place]["messages"][0]["content"].count("<image>") == count
        assert len(told["openai"][place]["messages"][0]["content"]) == 1 + count
    trl = pq.read_table(export / "trl/train.parquet")["images"].to_pylist()
    assert [len(images) for images in trl] == counts
    with tarfile.open(export / "webdataset/train-000000.tar") as tar:
        names = tar.getnames()
    assert sum(name.endswith(".2.png") for name in names) == counts.count(2)


@pytest.mark.parametrize("settings", [{"image_column": []}, {"max_pictures": 0}])
def test_no_column_and_no_picture_are_refused(settings):
    with pytest.raises(OptionError, match="expected at least one column and at least 1 picture"):
        BuildOptions(source="a.csv", output="data", **settings)


def test_a_further_column_that_is_not_there_is_refused(table, tmp_path):
    with pytest.raises(BuildError, match="no column 'side' for the option image_column"):
        build(table, tmp_path / "data", image_column=["image", "side"])
