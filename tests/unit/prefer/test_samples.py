import json
from dataclasses import replace

import pytest
from PIL import Image

from loupe.errors import PreferError
from loupe.predict import Predictor
from loupe.prefer import samples as module
from loupe.prefer.samples import Sampling, describe_model, read_samples, sample_answers

SAMPLING = Sampling("a model", "a dataset", 3, 1.0, 6, 0)


@pytest.fixture
def drawn(monkeypatch):
    """The pictures of each batch for which answers were asked, with answers that tell them."""
    batches = []

    def draw(_, pictures, sampling, start):
        batches.append((start, [picture.width for picture in pictures]))
        return [[f"é\u2028{picture.width}", None] for picture in pictures]

    monkeypatch.setattr(module, "_draw", draw)
    return batches


def rows(count):
    return {f"row {k}": lambda k=k: Image.new("RGB", (10 + k, 10)) for k in range(count)}


def test_a_killed_run_draws_only_what_is_missing(drawn, tmp_path):
    path = tmp_path / "samples.jsonl"
    whole = sample_answers(None, rows(5), SAMPLING, path, 2)
    text = path.read_text("utf-8")
    drawn.clear()

    line = text.index("é", text.index("row 3"))
    path.write_bytes(text[: line + 1].encode()[:-1])  # killed amid a character of row 3's line
    assert sample_answers(None, rows(5), SAMPLING, path, 2) == whole
    assert drawn == [(2, [13]), (4, [14])]
    assert path.read_text("utf-8") == text
    assert sample_answers(None, rows(3), SAMPLING, path, 2) == {
        name: whole[name] for name in rows(3)
    }


@pytest.mark.parametrize("name", ["model", "dataset_fingerprint", "samples", "temperature"])
def test_answers_that_were_drawn_otherwise_are_refused(name, drawn, tmp_path):
    path = tmp_path / "samples.jsonl"
    sample_answers(None, rows(1), SAMPLING, path, 2)
    with pytest.raises(PreferError, match=f"were drawn with another {name}. Give the same"):
        read_samples(path, replace(SAMPLING, **{name: 9}))


def test_a_file_begun_and_killed_at_once_is_begun_again(drawn, tmp_path):
    path = tmp_path / "samples.jsonl"
    path.write_text('{"model": "a mo', "utf-8")
    assert sample_answers(None, rows(1), SAMPLING, path, 2) == {"row 0": ["é\u202810", None]}
    assert json.loads(path.read_text("utf-8").splitlines()[0])["model"] == "a model"


def test_draws_depend_on_seed_and_place_alone_and_differ(tiny_checkpoint, tmp_path):
    predictor = Predictor.load(str(tiny_checkpoint))
    sampling = replace(SAMPLING, max_new_tokens=150)
    first = sample_answers(predictor, rows(2), sampling, tmp_path / "1", 2)
    again = sample_answers(predictor, rows(2), sampling, tmp_path / "2", 2)
    other = sample_answers(predictor, rows(2), replace(sampling, seed=1), tmp_path / "3", 2)
    assert first == again != other
    assert [len(answers) for answers in first.values()] == [3, 3]
    short = sample_answers(
        predictor, rows(1), replace(sampling, max_new_tokens=1), tmp_path / "4", 2
    )
    assert short == {"row 0": [None] * 3}  # a random model ends no answer at once


def test_a_model_is_told_by_its_weights(tmp_path):
    names = []
    for content in (b"1", b"2"):
        (tmp_path / "model.safetensors").write_bytes(content)
        names.append(describe_model(str(tmp_path)))
    assert names[0] != names[1]
    assert describe_model("microsoft/Phi-3.5-vision-instruct").startswith("microsoft/")
