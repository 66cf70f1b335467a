import json

import pytest
from PIL import Image

from loupe.build import build_dataset
from loupe.build.rows.locate import Embedded, LocalFile
from loupe.errors import BuildError, DatasetError, PredictError
from loupe.options import BuildOptions, PredictOptions
from loupe.predict.sources import ask_each, find_sources

from .conftest import TASK, draw, encode, write_pictures


def ask(*pictures, **changes):
    options = PredictOptions(pictures=list(map(str, pictures)), model="m", **changes)
    return list(ask_each(find_sources(options, None), TASK))


def test_files_and_folders_keep_their_order(tmp_path):
    write_pictures(tmp_path / "b" / "deep", 2)
    write_pictures(tmp_path / "b", 1)
    (tmp_path / "b" / "notes.txt").write_text("no picture")
    asked = ask(tmp_path / "z.png", tmp_path / "b")
    assert [each.columns["picture"].removeprefix(f"{tmp_path}/") for each in asked] == [
        "z.png", "b/0000.png", "b/deep/0000.png", "b/deep/0001.png"
    ]  # fmt: skip
    assert [each.number for each in asked] == [0, 1, 2, 3]
    assert asked[0].places == (LocalFile(tmp_path / "z.png"),)


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_any_table_gives_rows_with_ids_and_kept_columns(tmp_path, kind):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {"id": ["A", "B"], "image": ["a.png", "b.png"], "colour": ["red", "blue"], "row": [7, 8]}
    )
    path = tmp_path / f"shop.{kind}"
    match kind:
        case "csv":
            frame.to_csv(path, index=False)
        case "tsv":
            frame.to_csv(path, index=False, sep="\t")
        case "jsonl":
            path.write_text("\n".join(map(json.dumps, frame.to_dict("records"))))
        case "parquet":
            frame.to_parquet(path)
    asked = ask(path, keep=["colour", "row"])
    assert [each.columns for each in asked] == [
        {"picture": "a.png", "row": 1, "id": "A", "original_colour": "red", "original_row": 7},
        {"picture": "b.png", "row": 2, "id": "B", "original_colour": "blue", "original_row": 8},
    ]
    assert asked[0].places == (LocalFile(tmp_path / "a.png"),)


def test_rows_of_one_picture_are_known_apart_and_again(tmp_path):
    (tmp_path / "shop.csv").write_text("id,image\n1,a.png\n2,a.png\n")
    first = [each.key for each in ask(tmp_path / "shop.csv")]
    assert len(set(first)) == 2
    (tmp_path / "shop.csv").write_text("id,image\n1,a.png\n2,a.png\n3,b.png\n")
    assert [each.key for each in ask(tmp_path / "shop.csv")][:2] == first


def test_split_of_a_dataset_is_a_source(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for row in range(30):
        picture = Image.effect_noise((40, 40), 10 + row).convert("RGB")
        (source / f"{row}.png").write_bytes(encode(picture))
    rows = "".join(f"{row},{row}.png,Bag {row},BAG,{10 + row}\n" for row in range(30))
    (source / "t.csv").write_text(f"product_code,image,title,category3_code,full_price\n{rows}")
    build_dataset(BuildOptions(source=str(source / "t.csv"), output=str(tmp_path / "data")))
    record = json.loads((tmp_path / "data" / "dataset.json").read_text())
    asked = {split: ask(tmp_path / "data", split=split) for split in ("train", "test")}
    for split, found in asked.items():
        assert len(found) == record["counts"][split] > 0
        assert all(isinstance(*each.places, Embedded) for each in found)
    ids = [each.columns["id"] for found in asked.values() for each in found]
    assert len(set(ids)) == len(ids)
    (tmp_path / "data" / "dataset.json").write_text("{}")
    with pytest.raises(DatasetError, match="not the record of a dataset"):
        ask(tmp_path / "data")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keep": ["size"]}, r"keep names the column 'size', which .* it has id, image"),
        ({"keep": ["image"], "image_column": "image"}, None),
    ],
    ids=["missing", "a path"],
)
def test_column_to_keep_must_be_there(tmp_path, changes, message):
    (tmp_path / "shop.csv").write_text("id,image\n1,a.png\n")
    if message is None:
        assert ask(tmp_path / "shop.csv", **changes)[0].columns["image"] == "a.png"
        return
    with pytest.raises(PredictError, match=message):
        ask(tmp_path / "shop.csv", **changes)


def test_column_of_bytes_is_not_kept(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = {"name": ["a"], "image": [encode(draw(1))], "mask": [b"\0"]}
    pq.write_table(pa.table(table), tmp_path / "shop.parquet")
    with pytest.raises(PredictError, match=r"'mask' of .* holds bytes"):
        ask(tmp_path / "shop.parquet", keep=["mask"])
    (asked,) = ask(tmp_path / "shop.parquet")
    assert asked.columns == {"picture": None, "row": 1}
    pq.write_table(pa.table({"image": table["image"]}), tmp_path / "bare.parquet")
    with pytest.raises(BuildError, match=r"columns of bytes alone \(image\)"):
        ask(tmp_path / "bare.parquet")
    assert isinstance(*asked.places, Embedded)
