"""Whole builds of sources as they come: exports, shards, saved datasets, the family DBQ."""

import csv
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from loupe.build import build_dataset
from loupe.build.rows.plan import DBQ_COLUMNS
from loupe.options import BuildOptions

from .conftest import draw, encode, write_catalogue
from .test_stage import all_rows, build, rejected


def test_export_of_a_german_spreadsheet_is_built(tmp_path):
    prices = [f"{1000 + row:,} €".replace(",", ".") for row in range(11)] + ["12,50 €"]
    titles = [f"Täschchen {row}" for row in range(12)]
    source = write_catalogue(tmp_path, 12, full_price=prices, title=titles)
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=";").writerows(csv.reader(source.read_text("utf-8").splitlines()))
    source.write_text(file.getvalue(), "utf-16")

    build(source, tmp_path / "data", currency="EUR")

    rows = all_rows(tmp_path / "data")
    assert sorted(row["full_price"] for row in rows.values()) == [12.5, *range(1000, 1011)]
    assert rows["1030"]["title"] == "Täschchen 3"
    task = (tmp_path / "data" / "task.yaml").read_text()
    assert "currency: EUR" in task


def test_prices_that_may_be_two_are_rejected_with_their_row_numbers(tmp_path):
    prices = ["$1,290" if row in {2, 7} else f"${100 + row}" for row in range(12)]
    build(write_catalogue(tmp_path, 12, full_price=prices), tmp_path / "data")
    found = rejected(tmp_path / "data")
    assert sorted(found) == [3, 8]
    assert "may be 1.29 or 1290" in found[3]["detail"]


def test_decimal_comma_that_is_asked_for_refuses_points(tmp_path):
    source = write_catalogue(tmp_path, 12, full_price=["10.25"] * 6 + ["1.500"] * 6)
    result = build(source, tmp_path / "data", decimal_mark="comma")
    assert result.counts["rejected"] == {"malformed_value": 6}
    assert {row["full_price"] for row in all_rows(tmp_path / "data").values()} == {1500.0}


def test_shards_are_built_as_one_table_with_the_same_rows_as_one_file(tmp_path):
    whole = write_catalogue(tmp_path, 12).read_text().splitlines(keepends=True)
    for shard in range(3):
        part = "".join([whole[0], *whole[1 + 4 * shard : 5 + 4 * shard]])
        (tmp_path / f"part-{shard}.csv").write_text(part)
    one = build(tmp_path / "products.csv", tmp_path / "one")
    several = build(tmp_path / "part-*.csv", tmp_path / "several")
    assert one.fingerprint == several.fingerprint


def test_dataset_of_loupe_is_a_source_again(tmp_path):
    first = build(write_catalogue(tmp_path, 12), tmp_path / "data", task=None)
    second = build(tmp_path / "data", tmp_path / "again")
    assert second.counts["read"] == 12 - sum(first.counts["rejected"].values())
    one, other = all_rows(tmp_path / "data"), all_rows(tmp_path / "again")
    assert {row["image_sha256"] for row in one.values()} == {
        row["image_sha256"] for row in other.values()
    }


@pytest.mark.parametrize("streaming", [False, True])
def test_saved_dataset_and_repository_are_built(tmp_path, streaming):
    rows = {
        "title": [f"Bag {row}" for row in range(12)],
        "category3_code": ["TOTES", "BELTS"] * 6,
        "full_price": [100.0 + row for row in range(12)],
        "image": [{"bytes": encode(draw(row)), "path": None} for row in range(12)],
    }
    folder = tmp_path / "repository" / "data"
    folder.mkdir(parents=True)
    pq.write_table(pa.table(rows), folder / "train-00000-of-00001.parquet")
    result = build(tmp_path / "repository", tmp_path / "data", streaming=streaming)
    assert sum(result.counts[split] for split in ("train", "validation", "test")) == 12


def write_dbq(path, site, rows=16):
    """A table as the family DBQ/*.Product.prices.* has it, in two currencies, with its gaps."""
    links = [f"{site.url}/is/image/{row}?$pdp$&wid=60" for row in range(rows)]
    links[1], links[2] = "N.A.", "none"
    table = {name: ["N.A."] * rows for name in DBQ_COLUMNS} | {
        "product_code": [1000 + 7 * row for row in range(rows)],
        "title": [f"Bag {row}" for row in range(rows)],
        "category3_code": ["N.A." if row == 3 else "TOTES" for row in range(rows)],
        "currency_code": ["GBP" if row % 2 else "USD" for row in range(rows)],
        "full_price": [100.0 + row for row in range(rows)],
        "full_price_eur": [90.0 + row for row in range(rows)],
        "price": [0.0] * rows, "price_eur": [0.0] * rows, "flg_discount": [0] * rows,
        "imageurl": links,
    }  # fmt: skip
    for row, link in enumerate(links):
        site.say(link.removeprefix(site.url), encode(draw(row)))
    pq.write_table(pa.table(table), path)


def test_family_dbq_is_built_by_one_preset(tmp_path, site):
    write_dbq(tmp_path / "t.parquet", site)
    build(tmp_path / "t.parquet", tmp_path / "data", preset="dbq", allow_private=True)
    reasons = {number: row["reason"] for number, row in rejected(tmp_path / "data").items()}
    assert reasons == {2: "no_picture", 3: "no_picture", 4: "missing_value"}
    rows = all_rows(tmp_path / "data")
    assert sorted(row["full_price"] for row in rows.values()) == [90.0, *range(94, 106)]
    assert (
        json.loads((tmp_path / "data" / "dataset.json").read_text())["options"]["preset"] == "dbq"
    )


def test_family_dbq_is_built_in_the_currency_that_is_asked_for(tmp_path, site):
    write_dbq(tmp_path / "t.parquet", site)
    options = {"preset": "dbq", "allow_private": True, "currency": "USD"}
    result = build(tmp_path / "t.parquet", tmp_path / "data", **options)
    assert result.counts["rejected"] == {"other_currency": 8, "no_picture": 1}
    assert all(row["full_price"] % 2 == 0 for row in all_rows(tmp_path / "data").values())


def stored_picture(folder, title):
    files = [pq.read_table(path).to_pylist() for path in (folder / "data").iterdir()]
    return next(row for rows in files for row in rows if row["title"] == title)


def test_pictures_are_shrunk_where_asked_and_else_keep_their_bytes(tmp_path):
    source = write_catalogue(tmp_path, 12)
    large = encode(draw(3, (300, 200)))
    (tmp_path / "pictures" / "3.jpg").write_bytes(large)
    build(source, tmp_path / "whole")
    build(source, tmp_path / "small", max_side_px=100)
    kept, shrunk = (stored_picture(tmp_path / name, "Bag 3") for name in ("whole", "small"))
    assert kept["image"]["bytes"] == large
    assert Image.open(io.BytesIO(shrunk["image"]["bytes"])).size == (100, 67)
    assert (shrunk["image_width"], shrunk["image_height"]) == (100, 67)


def test_options_that_were_saved_build_the_same_again(tmp_path):
    prices = ["1.290,00 €"] * 12
    first = build(
        write_catalogue(tmp_path, 12, full_price=prices), tmp_path / "one", currency="EUR"
    )
    saved = yaml.safe_load((tmp_path / "one" / "options.yaml").read_text())
    again = build_dataset(BuildOptions(**saved | {"output": str(tmp_path / "two")}))
    assert first.fingerprint == again.fingerprint
