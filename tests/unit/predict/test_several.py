"""Products of several pictures: which pictures are one product's, and what becomes of them."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from loupe.build import build_dataset
from loupe.build.ledger import Reason
from loupe.build.rows.locate import Embedded
from loupe.errors import CheckpointError, PredictError
from loupe.options import BuildOptions, PredictOptions
from loupe.predict import predict_pictures
from loupe.predict.sources import ask_each, find_sources
from loupe.task import Task

from .conftest import TASK, draw, encode


def options(*pictures, **changes):
    return PredictOptions(pictures=list(map(str, pictures)), **{"model": "m"} | changes)


def ask(*pictures, **changes):
    return list(ask_each(find_sources(options(*pictures, **changes), None), TASK))


def write(folder, **reds):
    """Write a picture of each name, as red as told; None stands for one that is broken."""
    for name, red in reds.items():
        path = folder / f"{name.replace('__', '/')}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\xff\xd8\xff nothing" if red is None else encode(draw(red)))


@pytest.fixture
def shop(tmp_path):
    """Two products in a folder each, one with a broken picture, and a third of a broken one."""
    write(tmp_path, shop__a__1=1, shop__a__2=2, shop__b__1=None, shop__b__2=5, shop__c__1=None)
    return tmp_path / "shop"


def test_the_files_named_are_one_product_and_those_of_each_folder_another(tmp_path):
    write(tmp_path, shop__a__2=1, shop__a__1=1, shop__b__deep__3=1, shop__b__4=1, x=1)
    (tmp_path / "shop/notes.txt").write_text("no picture")
    shop = tmp_path / "shop"
    named = tmp_path / "x.png", shop, tmp_path / "gone.png"

    asked = ask(*named, together=True)

    assert [each.names for each in asked] == [
        [str(tmp_path / "x.png"), str(tmp_path / "gone.png")],
        [str(shop / "a/1.png"), str(shop / "a/2.png")],
        [str(shop / "b/4.png")],
        [str(shop / "b/deep/3.png")],
    ]
    cut = ask(*named, together=True, max_pictures=1)
    assert [each.names for each in cut] == [each.names[:1] for each in asked]


@pytest.mark.parametrize("kind", ["columns", "csv list", "list"])
def test_the_pictures_of_a_row_are_one_product(tmp_path, kind, colours):
    write(tmp_path, front=1, back=2, other=7)
    rows = {"columns": "front.png,back.png\nother.png,\n"}
    rows["csv list"] = '"[""front.png"", ""back.png""]",\nother.png,\n'
    table = tmp_path / "shop.csv"
    table.write_text(f"image,more\n{rows.get(kind)}")
    if kind == "list":
        table = tmp_path / "shop.parquet"
        pq.write_table(pa.table({"image": [["front.png", "back.png"], ["other.png"]]}), table)
    named = {"columns": ["image", "more"]}.get(kind, "image")

    both, one = predict_pictures(options(table, image_column=named)).pictures

    assert (both["picture"], both["more_pictures"]) == ("front.png", ["back.png"])
    assert both["answer"] == "red 3"
    assert (one["picture"], one["answer"]) == ("other.png", "red 7")
    assert "more_pictures" not in one
    both, one = predict_pictures(options(table, image_column=named, max_pictures=1)).pictures
    assert both["answer"] == "red 1"


def test_rows_are_read_as_the_model_was_trained(tmp_path):
    write(tmp_path, front=1, back=2)
    (tmp_path / "shop.csv").write_text("image,more\nfront.png,back.png\n")
    (tmp_path / "training.json").write_text(json.dumps({"pictures": 1}))
    settings = {"image_column": ["image", "more"], "model": str(tmp_path)}

    (asked,) = ask(tmp_path / "shop.csv", **settings)
    assert asked.names == ["front.png"]
    (asked,) = ask(tmp_path / "shop.csv", **settings, max_pictures=2)
    assert asked.names == ["front.png", "back.png"]


def test_rows_of_a_dataset_show_their_further_pictures(tmp_path):
    rows = []
    for row in range(30):
        for side in "ab":
            picture = Image.effect_noise((40, 40), 10 + row).convert("RGB")
            picture.save(tmp_path / f"{row}{side}.png")
        back = "" if row % 2 else f"{row}b.png"
        rows.append(f"{row},{row}a.png,{back},Bag {row},BAG,{10 + row}\n")
    head = "product_code,image,back,title,category3_code,full_price\n"
    (tmp_path / "t.csv").write_text(head + "".join(rows))
    data = tmp_path / "data"
    columns = ["image", "back"]
    build_dataset(
        BuildOptions(source=str(tmp_path / "t.csv"), output=str(data), image_column=columns)
    )

    asked = ask(data, split="train")

    assert all(isinstance(place, Embedded) for each in asked for place in each.places)
    assert {(int(each.columns["id"]) % 2, len(each.places)) for each in asked} == {(0, 2), (1, 1)}
    assert {len(each.places) for each in ask(data, split="train", max_pictures=1)} == {1}


def test_a_picture_that_cannot_be_read_is_left_out_of_its_product(shop, colours):
    both, rest, lost = predict_pictures(options(shop, together=True)).pictures

    assert both["answer"] == "red 3"
    assert rest["answer"] == "red 5"
    assert "b/1.png" in rest["left_out"][0]
    assert rest["more_pictures"] == [str(shop / "b/2.png")]
    assert lost["answer"] is None
    assert "cannot be read as a picture" in lost["problem"]
    with pytest.raises(PredictError, match="None of the 1 products can be read"):
        predict_pictures(options(shop / "c", together=True))


@pytest.mark.parametrize("kind", ["json", "parquet"])
def test_products_are_answered_into_a_folder_and_not_again(shop, tmp_path, colours, kind):
    settings = {"output": str(tmp_path / "out"), "format": kind, "together": True}
    assert predict_pictures(options(shop, **settings)).counts.answered == 2
    again = predict_pictures(options(shop, **settings))
    assert (again.answered_now, again.counts.answered) == (0, 2)
    if kind == "parquet":
        rows = pq.read_table(tmp_path / "out/answers-00000.parquet").to_pylist()
    else:
        rows = map(json.loads, (tmp_path / "out/answers.jsonl").read_text().splitlines())
    _, rest = sorted(rows, key=lambda row: row["price"])
    assert rest["more_pictures"] == [str(shop / "b/2.png")]
    assert "b/1.png" in rest["left_out"][0]
    (lost,) = (tmp_path / "out/rejected.jsonl").read_text().splitlines()
    assert json.loads(lost)["reason"] == Reason.NOT_A_PICTURE
    with pytest.raises(PredictError, match="max_pictures"):
        predict_pictures(options(shop, **settings, max_pictures=1))


def test_a_product_that_the_model_cannot_take_does_not_end_the_others(shop, colours):
    colours.fails_at = {3}
    lost, *_ = predict_pictures(options(shop, together=True)).pictures
    assert lost["problem"] == "40×32 and 40×32 px cannot be answered: CUDA out of memory"


def test_a_model_that_takes_one_picture_is_refused_several(shop, colours):
    colours.takes = 1
    with pytest.raises(CheckpointError, match="takes no 2 pictures at a time"):
        predict_pictures(options(shop, together=True))
    assert predict_pictures(options(shop, together=True, max_pictures=1)).pictures[0]["answer"]


def test_fields_with_the_name_of_a_column_get_another(tiny_checkpoint, tmp_path):
    Image.new("RGB", (40, 40), "red").save(tmp_path / "red.png")
    task = Task.from_dict(
        {
            "question": "?",
            "answer": "{row} {left_out}",
            "fields": {name: {"type": "number"} for name in ("row", "left_out")},
        }
    )
    task.save(tmp_path / "task.yaml")
    settings = {"model": str(tiny_checkpoint), "task": str(tmp_path / "task.yaml")}

    (read,) = predict_pictures(options(tmp_path / "red.png", **settings, together=True)).pictures

    assert list(read) == ["picture", "row_field", "left_out_field", "answer", "problem"]
