"""The whole stage through its one function, from table to folder."""

import io
import json

import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from loupe.build import Dataset, build_dataset
from loupe.errors import BuildError, OptionError
from loupe.options import BuildOptions

from .conftest import draw, encode, write_catalogue

SPLITS = ("train", "validation", "test")


def build(source, output, **options):
    return build_dataset(BuildOptions(source=str(source), output=str(output), **options))


def all_rows(folder):
    dataset = Dataset.open(folder)
    found = {}
    for split in SPLITS:
        rows = dataset.rows(split)
        for row in map(rows.row, range(len(rows))):
            found[row["row_id"]] = {**row, "split": split}
    return found


def rejected(folder):
    return {
        row["row_number"]: row for row in pq.read_table(folder / "rejected.parquet").to_pylist()
    }


def test_every_row_is_kept_or_has_a_reason(tmp_path):
    prices = [100 + row for row in range(20)]
    prices[3], prices[4] = "N.A.", "1.290,00 €"
    titles = [f"Bag {row}" for row in range(20)]
    titles[5] = ""
    pictures = [f"pictures/{row}.jpg" for row in range(20)]
    pictures[6], pictures[7], pictures[8] = "pictures/none.jpg", "/etc/hostname", "N.A."
    pictures[9] = "file:///etc/hostname"
    source = write_catalogue(tmp_path, 20, title=titles, full_price=prices, image=pictures)
    (tmp_path / "pictures" / "10.jpg").write_bytes(b"<html>not found</html>")
    (tmp_path / "pictures" / "11.jpg").write_bytes(encode(draw(11))[:-200])
    source.write_text(source.read_text() + "one cell\n")

    counts = build(source, tmp_path / "data").counts

    assert counts["read"] == 21
    assert sum(counts[split] for split in SPLITS) + sum(counts["rejected"].values()) == 21
    found = rejected(tmp_path / "data")
    assert {number: row["reason"] for number, row in found.items()} == {
        4: "missing_value",
        5: "other_currency",
        6: "missing_value",
        7: "missing_picture",
        8: "outside_folder",
        9: "no_picture",
        10: "refused_address",
        11: "html_page",
        12: "truncated",
        21: "malformed_row",
    }
    assert found[5]["detail"] == "full_price: 1290.00 is in €, not in USD as the task's prices are"
    assert (found[5]["row_id"], found[5]["title"]) == ("1040", "Bag 4")


def test_datasets_and_pandas_open_the_folder(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    counts = build(write_catalogue(tmp_path, 40), tmp_path / "data").counts
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    opened = datasets.load_dataset(str(tmp_path / "data"), cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows) for split, rows in opened.items()} == {
        split: counts[split] for split in SPLITS
    }
    row = opened["train"][0]
    assert isinstance(row["image"], Image.Image)
    assert row["image"].size == (row["image_width"], row["image_height"]) == (40, 32)
    frame = pandas.read_parquet(tmp_path / "data" / "data" / "test-00000-of-00001.parquet")
    assert list(frame["full_price"]) == Dataset.open(tmp_path / "data").rows("test").column(
        "full_price"
    )


def test_stored_pictures_are_upright_rgb_for_datasets(tmp_path):
    source = write_catalogue(tmp_path, 12)
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "pictures" / "0.jpg").write_bytes(encode(draw(0), "JPEG", exif=exif))
    (tmp_path / "pictures" / "1.jpg").write_bytes(encode(draw(1, mode="RGBA"), "PNG"))
    build(source, tmp_path / "data")
    sizes = {row["title"]: (row["image_width"], row["image_height"])
             for row in all_rows(tmp_path / "data").values()}  # fmt: skip
    assert sizes["Bag 0"] == (32, 40)
    assert sizes["Bag 1"] == (40, 32)


def test_same_input_gives_the_same_fingerprint(tmp_path):
    source = write_catalogue(tmp_path, 40)
    one = build(source, tmp_path / "a")
    again = build(source, tmp_path / "b", workers=1)
    other = build(source, tmp_path / "c", seed=1)
    assert one.fingerprint == again.fingerprint != other.fingerprint


def test_processes_give_what_one_gives(tmp_path, monkeypatch):
    source = write_catalogue(tmp_path, 40)
    one = build(source, tmp_path / "a", workers=1)
    monkeypatch.setattr("loupe.build.fetching.gather._MANY_PICTURES", 10)
    assert build(source, tmp_path / "b", workers=2).fingerprint == one.fingerprint


def test_record_and_options_stand_beside_the_data(tmp_path):
    source = write_catalogue(tmp_path, 40)
    result = build(source, tmp_path / "data", seed=3)
    record = json.loads((tmp_path / "data" / "dataset.json").read_text())
    assert record["format"] == 1
    assert record["counts"] == result.counts
    assert record["options"]["seed"] == record["split"]["seed"] == 3
    assert record["fingerprint"] == result.fingerprint
    assert record["task"]["fields"]["category3_code"]["choices"] == ["BELTS", "TOTES"]
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == [
        "README.md", "data", "dataset.json", "ledger.parquet", "options.yaml", "profile.html",
        "rejected.parquet", "task.yaml",
    ]  # fmt: skip
    assert result.summary().splitlines()[-1].startswith("Wrote ")
    assert f"Next: `loupe train --dataset {tmp_path / 'data'}" in result.summary()


def test_column_of_a_taken_name_is_kept_under_another(tmp_path):
    source = write_catalogue(tmp_path, 12, row_id=list(range(12)), name=list("abcdefghijkl"))
    build(source, tmp_path / "data", columns={"title": "name"})
    row = all_rows(tmp_path / "data")["1000"]
    assert (row["title"], row["name"], row["original_title"]) == ("a", "a", "Bag 0")
    assert (row["original_row_id"], row["original_image"]) == (0, "pictures/0.jpg")


@pytest.mark.parametrize("as_struct", [False, True])
def test_pictures_in_the_table_are_read(tmp_path, as_struct):
    contents = [encode(draw(row)) for row in range(12)]
    contents[3] = b""
    cells = [{"bytes": cell, "path": None} for cell in contents] if as_struct else contents
    columns = {
        "title": [f"Bag {row}" for row in range(12)],
        "category3_code": ["A"] * 12,
        "full_price": [1.0] * 12,
        "image": cells,
    }
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    counts = build(tmp_path / "t.parquet", tmp_path / "data").counts
    assert counts["rejected"] == {"empty_file": 1}
    rows = Dataset.open(tmp_path / "data").rows("train")
    stored = [contents[int(row.split()[1])] for row in rows.column("title")]
    picture = Image.open(io.BytesIO(stored[0])).convert("RGB")
    assert rows.picture(0).tobytes() == picture.tobytes()
    assert rejected(tmp_path / "data")[4]["row_id"] == "row-4"


def test_folder_of_categories_is_built_with_a_task_of_its_own(tmp_path):
    for row in range(30):
        path = tmp_path / "source" / ("cups", "bowls")[row % 2] / f"item {row}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(draw(row), "PNG"))
    (tmp_path / "task.yaml").write_text(
        "question: What is it?\nanswer: 'Kind: {category}'\nfields: {category: {type: choice}}\n"
    )
    counts = build(tmp_path / "source", tmp_path / "data", task=str(tmp_path / "task.yaml")).counts
    assert counts["read"] == 30
    assert Dataset.open(tmp_path / "data").task.fields["category"].choices == ("bowls", "cups")


def test_share_of_zero_writes_an_empty_split_that_datasets_leaves_out(tmp_path):
    datasets = pytest.importorskip("datasets")
    build(write_catalogue(tmp_path, 20), tmp_path / "data", validation_share=0.0)
    assert len(Dataset.open(tmp_path / "data").rows("validation")) == 0
    opened = datasets.load_dataset(str(tmp_path / "data"), cache_dir=str(tmp_path / "cache"))
    assert set(opened) == {"train", "test"}


def test_urls_are_fetched_once_each_and_their_failures_told_apart(tmp_path, site):
    urls = [f"{site.url}/{row}.jpg" for row in range(16)]
    for row in range(16):
        site.say(f"/{row}.jpg", encode(draw(row)))
    site.answers.pop("/2.jpg")
    site.fail_first("/3.jpg", encode(draw(3)))
    site.flood("/4.jpg")
    site.say("/5.jpg", b"<!doctype html><p>Sorry", Content_Type="image/jpeg")
    site.say("/6.jpg", status=302, Location="file:///etc/passwd")
    urls[8] = urls[7]
    source = write_catalogue(tmp_path, 16, imageurl=urls)
    counts = build(
        source,
        tmp_path / "data",
        image_column="imageurl",
        allow_private=True,
        timeout_seconds=60.0,
        max_bytes=200_000,
    ).counts
    reasons = {number: row["reason"] for number, row in rejected(tmp_path / "data").items()}
    assert reasons == {
        3: "http_error",
        5: "too_large",
        6: "html_page",
        7: "refused_address",
    }
    assert counts["read"] == 16
    assert site.visits.count("/7.jpg") == 1
    assert site.visits.count("/3.jpg") == 2


def test_picture_that_never_comes_costs_its_own_row_alone(tmp_path, site):
    site.hang("/0.jpg")
    source = write_catalogue(tmp_path, 12)
    source.write_text(source.read_text().replace("pictures/0.jpg", f"{site.url}/0.jpg"))
    counts = build(source, tmp_path / "data", allow_private=True, timeout_seconds=0.5).counts
    assert counts["rejected"] == {"timed_out": 1}


def test_private_addresses_are_refused_unless_allowed(tmp_path, site):
    source = write_catalogue(tmp_path, 4, imageurl=[f"{site.url}/{row}.jpg" for row in range(4)])
    with pytest.raises(BuildError, match=r"All 4 rows .*refused_address: 4.*private address"):
        build(source, tmp_path / "data", image_column="imageurl")
    assert site.visits == []


def test_build_runs_where_an_event_loop_runs_already(tmp_path):
    import asyncio

    source = write_catalogue(tmp_path, 12)

    async def notebook():
        return build(source, tmp_path / "data")

    assert asyncio.run(notebook()).counts["read"] == 12


def test_picture_root_lets_a_table_stand_elsewhere(tmp_path):
    source = write_catalogue(tmp_path / "shop", 12)
    (tmp_path / "tables").mkdir()
    moved = source.rename(tmp_path / "tables" / "products.csv")
    with pytest.raises(BuildError, match="missing_picture: 12"):
        build(moved, tmp_path / "data")
    assert build(moved, tmp_path / "data", picture_root=str(tmp_path / "shop")).counts["read"] == 12


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"image": [f"none/{row}.jpg" for row in range(12)]}, "All 12 rows .*missing_picture: 12"),
        ({"title": ["Bag"] * 12}, r"All 12 rows fall into 1 group\(s\)"),
    ],
    ids=["all rejected", "one group"],
)
def test_table_that_gives_no_dataset_is_refused(tmp_path, changes, words):
    source = write_catalogue(tmp_path, 12, **changes)
    with pytest.raises(BuildError, match=words):
        build(source, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_full_disk_in_a_download_is_no_fault_of_the_row(tmp_path, site, monkeypatch):
    site.say("/a.jpg", encode(draw()))
    source = write_catalogue(tmp_path, 4, imageurl=[f"{site.url}/a.jpg"] * 4)
    real_open = type(tmp_path).open

    def open_full(path, *arguments, **settings):
        full = type(tmp_path)("/dev/full") if path.suffix == ".fetched" else path
        return real_open(full, *arguments, **settings)

    monkeypatch.setattr(type(tmp_path), "open", open_full)
    with pytest.raises(BuildError, match="disk is full"):
        build(source, tmp_path / "data", image_column="imageurl", allow_private=True)


def test_picture_that_changes_during_the_build_stops_it(tmp_path, monkeypatch):
    from loupe.build import parquet

    source = write_catalogue(tmp_path, 12)
    real = parquet._read_pictures

    def meddle(pictures):
        pictures[0].path.write_bytes(b"changed")
        return real(pictures)

    monkeypatch.setattr(parquet, "_read_pictures", meddle)
    with pytest.raises(BuildError, match="changed while the dataset was built"):
        build(source, tmp_path / "data")


def test_finished_dataset_is_kept_unless_told(tmp_path):
    source = write_catalogue(tmp_path, 12)
    build(source, tmp_path / "data")
    with pytest.raises(BuildError, match="holds a dataset already"):
        build(source, tmp_path / "data")
    build(source, tmp_path / "data", overwrite=True, seed=5)
    assert Dataset.open(tmp_path / "data").info["options"]["seed"] == 5


@pytest.mark.parametrize(
    ("option", "value"),
    [("concurrency", 0), ("workers", -1), ("retries", -1), ("timeout_seconds", 0.0),
     ("timeout_seconds", float("nan")), ("max_side_px", 0)],
)  # fmt: skip
def test_option_that_cannot_be_meant_is_refused_by_name(tmp_path, option, value):
    with pytest.raises(OptionError, match=f"{option} is .*; expected"):
        build(write_catalogue(tmp_path, 12), tmp_path / "data", **{option: value})
