import pytest
from PIL import Image

from loupe.errors import OptionError, PredictError
from loupe.options import PredictOptions
from loupe.predict import Predictor, predict_pictures
from loupe.predict.together import find_products
from loupe.task import Task


def test_the_files_named_are_one_product_and_those_of_each_folder_another(tmp_path):
    for name in ("shop/a/2.png", "shop/a/1.png", "shop/b/deep/3.png", "shop/b/4.png", "x.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    named = [tmp_path / "x.png", tmp_path / "gone.png"]

    found = find_products([str(named[0]), str(tmp_path / "shop"), str(named[1])])

    shop = tmp_path / "shop"
    assert found == [
        named,
        [shop / "a/1.png", shop / "a/2.png"],
        [shop / "b/4.png"],
        [shop / "b/deep/3.png"],
    ]


def test_a_picture_that_cannot_be_read_is_left_out_of_its_product(tiny_checkpoint, tmp_path):
    Image.new("RGB", (40, 40), "red").save(tmp_path / "red.png")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    Image.new("RGB", (3000, 1)).save(tmp_path / "thread.png")
    (tmp_path / "lost").mkdir()
    (tmp_path / "lost/broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    settings = {"model": str(tiny_checkpoint), "max_new_tokens": 2, "together": True}

    read, lost = predict_pictures(PredictOptions(pictures=[str(tmp_path)], **settings)).pictures

    if "lost" in read["picture"]:
        read, lost = lost, read
    assert read["more_pictures"] == [str(tmp_path / "red.png"), str(tmp_path / "thread.png")]
    assert isinstance(read["answer"], str)
    assert "broken.jpg" in read["left_out"][0]
    assert "too narrow" in read["left_out"][1]
    assert lost["answer"] is None
    assert "cannot be read as a picture" in lost["problem"]
    with pytest.raises(PredictError, match="None of the 1 products can be read"):
        predict_pictures(PredictOptions(pictures=[str(tmp_path / "lost")], **settings))


def test_a_product_that_the_model_cannot_take_does_not_end_the_others(
    tiny_checkpoint, tmp_path, monkeypatch
):
    for name in ("a/1.png", "a/2.png", "b/1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (40, 40), "red").save(tmp_path / name)
    answer = Predictor.predict

    def run_out(self, pictures, **settings):
        if max(map(len, pictures)) > 1:
            raise RuntimeError("out of memory\nand more")
        return answer(self, pictures, **settings)

    monkeypatch.setattr(Predictor, "predict", run_out)
    options = {"model": str(tiny_checkpoint), "max_new_tokens": 2, "together": True}
    lost, read = predict_pictures(PredictOptions(pictures=[str(tmp_path)], **options)).pictures

    assert lost["answer"] is None
    assert lost["problem"] == "2 pictures cannot be answered together: out of memory"
    assert isinstance(read["answer"], str)


def test_tables_and_datasets_are_not_taken_for_pictures(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/dataset.json").write_text("{}", "utf-8")
    with pytest.raises(PredictError, match=r"'products.csv' is a table; together reads files"):
        find_products(["products.csv"])
    with pytest.raises(PredictError, match="data' is a dataset; together reads files"):
        find_products([str(tmp_path / "data")])


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

    (read,) = predict_pictures(
        PredictOptions(
            pictures=[str(tmp_path / "red.png")],
            model=str(tiny_checkpoint),
            task=str(tmp_path / "task.yaml"),
            together=True,
        )
    ).pictures

    assert list(read) == ["picture", "row_field", "left_out_field", "answer", "problem"]


@pytest.mark.parametrize("settings", [{"output": "answers"}, {"engine": "ray"}])
def test_products_are_not_read_into_folders_or_elsewhere(settings):
    with pytest.raises(OptionError, match="together reads files and folders in this process"):
        PredictOptions(pictures=["shop"], model="model", together=True, **settings)
