import pytest
import torch
from PIL import Image

from loupe.predict import Predictor
from loupe.task import Task

COLOURS = ["red", "green", "blue", "white", "black"]


def pictures():
    sizes = [(60, 60), (30, 60), (90, 30), (60, 60), (28, 28)]
    return [Image.new("RGB", size, colour) for size, colour in zip(sizes, COLOURS, strict=True)]


@pytest.fixture(scope="module", params=["tiny_checkpoint", "llava_checkpoint"])
def predictor(request):
    return Predictor.load(str(request.getfixturevalue(request.param)), device="cpu")


def texts(answers):
    return [answer.text for answer in answers]


def test_a_batch_answers_what_single_pictures_do(predictor):
    together = predictor.predict(pictures(), batch_size=5, max_new_tokens=12, decoding="free")
    one_by_one = predictor.predict(pictures(), batch_size=1, max_new_tokens=12, decoding="free")
    assert texts(together) == texts(one_by_one)
    assert len(together) == 5


def test_answers_are_parsed_by_the_task(predictor):
    answer = predictor.predict(pictures()[:1], max_new_tokens=4, decoding="free")[0]
    assert answer.values is None  # random weights do not fill the tutorial's template
    assert "expected 'Product: '" in answer.problem


def test_progress_counts_the_pictures(predictor):
    ticks = []
    predictor.predict(pictures(), batch_size=2, max_new_tokens=1, progress=ticks.append)
    assert ticks == [2, 2, 1]


def test_no_pictures_give_no_answers(predictor):
    assert predictor.predict([]) == []
    assert predictor.features([]).shape == (0, 0)


def test_features_are_one_float32_row_per_picture(predictor):
    features = predictor.features(pictures(), batch_size=2)
    assert features.shape == (5, 32)
    assert features.dtype == "float32"


def test_any_mode_of_picture_is_answered(predictor):
    modes = [
        picture.convert(mode)
        for picture, mode in zip(pictures(), ["RGBA", "L", "P", "1", "CMYK"], strict=True)
    ]
    assert len(predictor.predict(modes, max_new_tokens=1)) == 5


def test_a_model_in_training_stays_in_training(predictor):
    predictor.model.train()
    try:
        predictor.predict(pictures()[:1], max_new_tokens=1)
        assert predictor.model.training
    finally:
        predictor.model.eval()


def test_the_answer_ends_before_the_end_token(tiny_checkpoint, monkeypatch):
    predictor = Predictor.load(str(tiny_checkpoint), device="cpu")
    tokenizer = predictor.processor.tokenizer
    said = tokenizer("Product: cup<|end|>red", add_special_tokens=False)["input_ids"]

    def generate(input_ids, **_):
        return torch.cat([input_ids, torch.tensor([said] * len(input_ids))], dim=1)

    monkeypatch.setattr(predictor.model, "generate", generate)
    answers = predictor.predict(pictures()[:2], decoding="free")
    assert texts(answers) == ["Product: cup"] * 2


def test_the_task_beside_the_model_is_taken(tiny_checkpoint, tmp_path):
    import shutil

    shutil.copytree(tiny_checkpoint, tmp_path / "model")
    task = Task.from_dict(
        {"question": "Which colour?", "answer": "{colour}", "fields": {"colour": {"type": "text"}}}
    )
    task.save(tmp_path / "model" / "task.yaml")
    assert Predictor.load(str(tmp_path / "model")).task.question == "Which colour?"
    assert Predictor.load(str(tiny_checkpoint)).task == Task.load(None)
    assert Predictor.load(str(tmp_path / "model"), task=Task.load(None)).task == Task.load(None)
