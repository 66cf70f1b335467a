import pytest
import torch

from loupe.doctor.pictures import draw_grey, draw_pictures
from loupe.doctor.sight import Sight, examine_sight

PROJECTION = "model.vision_embed_tokens.img_projection"


def sight_of(**values):
    usual = {"logits_to_grey": 1.0, "logits_to_shuffled": 1.0, "is_finite": True}
    usual |= {"pictures": 6, "answers_unlike_grey": 6, "answers_unlike_shuffled": 6}
    return Sight(**{**usual, **values})


def blind(tensors):
    """Whatever comes in, the projection gives its last bias."""
    tensors[f"{PROJECTION}.2.weight"] = torch.zeros_like(tensors[f"{PROJECTION}.2.weight"])


def test_a_model_that_looks_is_well(patient):
    result = patient.examine(sight=True)
    assert result.exit_code == 0
    assert result.sight.logits_to_grey > 0.1
    assert result.sight.answers_unlike_shuffled == 6
    assert result.findings[-1].what.startswith("The model looks: next-token logits move by ")


def test_a_blind_model_is_named_as_blind(patient):
    patient.change_weights(blind)
    result = patient.examine(sight=True)
    assert result.exit_code == 1
    assert result.sight == Sight(6, 0.0, 0.0, 0, 0, is_finite=True)
    assert result.findings[-1].what.startswith("The model is blind: 6 unlike pictures and a grey")
    assert "all zero" in result.findings[0].what


def test_numbers_that_are_none_are_told(patient):
    def spoil(tensors):
        tensors["lm_head.weight"][0, 0] = float("nan")

    patient.change_weights(spoil)
    told = patient.examine(sight=True).findings[-1]
    assert told.verdict == "wrong"
    assert "logits hold NaN" in told.what


def test_a_model_that_sees_and_says_the_same_is_noted():
    told = examine_sight(sight_of(answers_unlike_shuffled=0))
    assert told.verdict == "note"
    assert "does not change what it says" in told.what


@pytest.mark.parametrize("name", ["logits_to_grey", "logits_to_shuffled"])
def test_one_difference_is_enough_not_to_be_blind(name):
    assert examine_sight(sight_of(**{name: 0.0})).verdict == "well"


def test_a_model_that_cannot_be_loaded_is_not_asked(patient):
    patient.change_weights(lambda tensors: tensors.pop("lm_head.weight"))
    told = patient.examine(sight=True).findings[-1]
    assert told.verdict == "note"
    assert "was not asked about pictures: " in told.what
    assert "lacks 1 weights, lm_head.weight" in told.what


def test_pictures_are_unlike_each_other_and_grey():
    pictures = [*draw_pictures(48), draw_grey(48)]
    assert {picture.size for picture in pictures} == {(48, 48)}
    assert len({picture.tobytes() for picture in pictures}) == 7
