"""The folder that `loupe.sample.make_sample` writes."""

import hashlib
import json

import pyarrow.parquet as pq
import pytest
from PIL import Image

from loupe.errors import SampleError
from loupe.options import SampleOptions
from loupe.sample import draw_products, make_sample
from loupe.sample import sample as module
from loupe.sample.table import NOT_AVAILABLE, REAL_COLUMNS, to_table

ROWS = 40


def options(folder, **changes):
    values = {"house": "corvane", "rows": ROWS, "seed": 5, "image_size_px": 48, "workers": 1}
    return SampleOptions(output=str(folder), **(values | changes))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("samples") / "sample"
    make_sample(options(folder))
    return folder


def fingerprint(folder):
    """Every file but the options, which name the folder and the number of workers."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "options.yaml"
    }


def test_same_seed_writes_the_same_bytes_with_one_and_two_workers(folder, tmp_path):
    make_sample(options(tmp_path / "again", workers=2))
    assert fingerprint(tmp_path / "again") == fingerprint(folder)


def test_another_seed_writes_other_pictures(folder, tmp_path):
    make_sample(options(tmp_path / "other", seed=6))
    assert not set(fingerprint(folder).values()) & set(fingerprint(tmp_path / "other").values())


def test_table_has_the_real_columns_first_and_a_picture_per_row(folder):
    table = pq.read_table(folder / "products.parquet")
    assert tuple(table.schema.names[: len(REAL_COLUMNS)]) == REAL_COLUMNS
    assert table.num_rows == ROWS
    assert str(table.schema.field("product_code").type) == "int64"
    for path in table.column("image").to_pylist():
        with Image.open(folder / path) as picture:
            assert picture.size == (48, 48)
            assert picture.mode == "RGB"


def test_missing_values_are_marked_as_in_the_real_sets_and_never_in_targets():
    table = to_table(draw_products("corvane", 300, 0), seed=0).to_pydict()
    assert NOT_AVAILABLE in table["category2_code"]
    assert NOT_AVAILABLE in table["itemurl"]
    assert NOT_AVAILABLE not in {*table["title"], *table["category3_code"]}
    assert None in table["pattern_word"]
    assert None in table["colour_word"]
    assert min(table["full_price"]) > 0


def test_discounts_lower_the_price_and_set_the_flag(folder):
    for row in pq.read_table(folder / "products.parquet").to_pylist():
        assert row["price"] <= row["full_price"]
        assert row["flg_discount"] == int(row["price"] < row["full_price"])


def test_statement_tells_the_law_and_the_best_error(folder):
    statement = json.loads((folder / "sample.json").read_text("utf-8"))
    assert statement["house"] == "corvane"
    assert statement["seed"] == 5
    assert 0.02 < statement["best_possible"]["full_price_median_ape"] < 0.09
    simulated = statement["best_possible"]["simulated"]["full_price_median_ape"]
    assert simulated == pytest.approx(0.0475, abs=0.004)  # 0.674 sigma, and the rounding
    assert statement["counts"]["rows"] == ROWS
    assert statement["law"]["factors"]["metal"]["gold"] > 1
    assert statement["hd_only"]


def test_result_says_what_was_made_and_what_to_run_next(folder, tmp_path):
    result = make_sample(options(tmp_path / "told", rows=3))
    assert result.summary().endswith(
        f"Next: `loupe build --source {tmp_path / 'told'} --output data`"
    )
    assert json.loads(json.dumps(result.to_dict()))["counts"]["rows"] == 3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"house": "acme"}, r"no house named 'acme'; the houses are alder, corvane, mistral"),
        ({"rows": 0}, r"sample\.rows is 0; a sample needs at least 1 row"),
        ({"image_size_px": 8}, r"image_size_px is 8; pictures are drawn from 32 to 2048"),
        ({"workers": -1}, r"neither can be negative"),
    ],
    ids=["house", "rows", "size", "workers"],
)
def test_impossible_options_are_refused_in_words(tmp_path, changes, words):
    with pytest.raises(SampleError, match=words):
        make_sample(options(tmp_path / "none", **changes))
    assert not list(tmp_path.iterdir())


def test_a_full_folder_is_kept_unless_overwrite_is_given(tmp_path):
    make_sample(options(tmp_path / "mine", rows=2))
    with pytest.raises(SampleError, match=r"is not empty.*--overwrite"):
        make_sample(options(tmp_path / "mine", rows=2))
    make_sample(options(tmp_path / "mine", rows=3, overwrite=True))
    assert pq.read_table(tmp_path / "mine" / "products.parquet").num_rows == 3


def test_a_folder_that_is_no_sample_is_never_overwritten(tmp_path):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "mother.txt").write_text("dear")
    with pytest.raises(SampleError, match=r"holds no sample\.json, so it is not a sample"):
        make_sample(options(tmp_path / "letters", overwrite=True))
    assert (tmp_path / "letters" / "mother.txt").read_text() == "dear"


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(SampleError, match=r"is a file; set sample\.output to a folder"):
        make_sample(options(tmp_path / "file"))


def test_an_interrupted_run_leaves_nothing_behind(tmp_path, monkeypatch):
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "draw_contact_sheet", stop)
    with pytest.raises(KeyboardInterrupt):
        make_sample(options(tmp_path / "cut", rows=2))
    assert not list(tmp_path.iterdir())
