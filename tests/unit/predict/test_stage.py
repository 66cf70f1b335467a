import json

import pytest
from PIL import Image

from loupe.errors import PredictError
from loupe.options import PredictOptions
from loupe.predict import predict_pictures
from loupe.predict.stage import PredictResult


@pytest.fixture
def folder(tmp_path):
    Image.new("RGB", (40, 40), "red").save(tmp_path / "red.png")
    Image.new("RGBA", (40, 60), (0, 0, 255, 128)).save(tmp_path / "blue.png")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    return tmp_path


def test_a_bad_picture_does_not_stop_the_rest(tiny_checkpoint, folder):
    result = predict_pictures(
        PredictOptions(pictures=[str(folder)], model=str(tiny_checkpoint), max_new_tokens=2)
    )
    lines = [json.loads(line) for line in result.summary().splitlines()]
    assert [line["picture"].rpartition("/")[2] for line in lines] == [
        "blue.png",
        "broken.jpg",
        "red.png",
    ]
    assert lines[1]["answer"] is None
    assert "cannot be read as a picture" in lines[1]["problem"]
    assert isinstance(lines[0]["answer"], str)
    assert result.to_dict() == {"pictures": lines}


def test_only_bad_pictures_are_an_error(tiny_checkpoint, folder):
    with pytest.raises(
        PredictError, match=r"None of the 2 products can be read\. There is no pict"
    ):
        predict_pictures(
            PredictOptions(
                pictures=[str(folder / "gone.png"), str(folder / "broken.jpg")],
                model=str(tiny_checkpoint),
            )
        )


def test_an_empty_folder_is_an_error(tiny_checkpoint, tmp_path):
    with pytest.raises(PredictError, match="There is no picture in"):
        predict_pictures(PredictOptions(pictures=[str(tmp_path)], model=str(tiny_checkpoint)))


def test_the_table_has_a_column_for_each_field():
    described = [
        {"picture": "a.png", "title": "Cup", "price": 3.5, "answer": "…", "problem": None},
        {"picture": "b.png", "answer": None, "problem": "no picture"},
    ]
    lines = PredictResult(described, "table").summary().splitlines()
    assert lines[0].split() == ["picture", "title", "price", "problem"]
    assert lines[2].split() == ["a.png", "Cup", "3.5"]
    assert lines[3].split() == ["b.png", "no", "picture"]


def test_a_field_does_not_hide_the_answer_itself(tiny_checkpoint, folder, tmp_path):
    (tmp_path / "task.yaml").write_text(
        "question: What?\nanswer: '{answer}'\nfields: {answer: {type: text}}\n", "utf-8"
    )
    result = predict_pictures(
        PredictOptions(
            pictures=[str(folder / "red.png")],
            model=str(tiny_checkpoint),
            task=str(tmp_path / "task.yaml"),
            max_new_tokens=3,
        )
    )
    assert result.pictures[0]["answer_field"] == result.pictures[0]["answer"]
