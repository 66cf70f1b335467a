"""Which part of a picture decided."""

import numpy as np
import pytest
import torch
from PIL import Image

from loupe.errors import PredictError
from loupe.predict import Predictor, occlusion
from loupe.predict.occlusion import CELLS, occlude, occlusion_maps, randomised_weights
from loupe.task import Task
from loupe.vlm import make_dialogue

VALUES = {"title": "red cup", "category3_code": "CUPS", "full_price": 20.5}


def drawn(width=56, height=40):
    return Image.effect_noise((width, height), 80).convert("RGB")


@pytest.fixture(scope="module")
def predictor(tiny_checkpoint):
    return Predictor.load(str(tiny_checkpoint), task=Task.load(), device="cpu")


@pytest.mark.parametrize(
    "family", ["tiny_checkpoint", "llava_checkpoint", "idefics3_checkpoint", "gemma3_checkpoint"]
)
def test_every_family_gives_a_map_for_each_field(request, family):
    folder = request.getfixturevalue(family)
    predictor = Predictor.load(str(folder), task=Task.load(), device="cpu")
    maps = occlusion_maps(predictor, drawn(), VALUES, batch_size=32)
    assert list(maps) == list(VALUES)
    assert all(held.shape == (CELLS, CELLS) for held in maps.values())
    assert all(np.isfinite(held).all() and np.ptp(held) > 0 for held in maps.values())


def test_fields_are_scored_by_their_own_tokens(predictor):
    """Together they are the answer without its literals, scored token by token."""
    picture, forced = drawn(), occlusion._ForcedAnswer(predictor, VALUES)
    prompt = make_dialogue(predictor.processor, predictor.task.question).prompt
    ids = predictor.processor(text=[prompt], images=[[picture]], return_tensors="pt")
    said = 0.0
    for token, of_field in zip(forced._ids, forced._is_of_field.any(dim=0), strict=True):
        with torch.inference_mode():
            logits = predictor.model(**ids).logits[0, -1]
        said += float(logits.log_softmax(dim=-1)[token]) if of_field else 0.0
        ids["input_ids"] = torch.cat([ids["input_ids"], token[None, None]], dim=1)
        ids["attention_mask"] = torch.ones_like(ids["input_ids"])

    words = [
        predictor.processor.tokenizer.decode(forced._ids[of_field]).strip()
        for of_field in forced._is_of_field
    ]
    assert words == ["red cup", "CUPS", "20.5"]
    # sums of many float32 terms in another order
    assert forced.score([picture]).sum() == pytest.approx(said, abs=1e-3)


def test_batches_change_nothing(predictor):
    picture = drawn()
    one, other = (occlusion_maps(predictor, picture, VALUES, batch_size=size) for size in (7, 40))
    for field in VALUES:
        # other batches add in another order
        np.testing.assert_allclose(one[field], other[field], atol=1e-4)


def test_a_part_that_decides_is_found_where_it_is(predictor, monkeypatch):
    class LooksAtOnePlace:
        fields = ("title",)

        def __init__(self, *_):
            pass

        def score(self, pictures):
            at = (75, 15)  # right of the middle, near the top
            return np.array([[float(main.getpixel(at)[0] == 255)] for main, *_ in pictures])

    monkeypatch.setattr(occlusion, "_ForcedAnswer", LooksAtOnePlace)
    found = occlusion_maps(predictor, Image.new("RGB", (100, 50), "white"), VALUES)["title"]
    assert np.unravel_index(found.argmax(), found.shape) == (3, 7)
    assert found[0, 0] == found[9, 9] == found[7, 3] == 0


def test_a_patch_hides_its_part_and_nothing_else():
    hidden = np.asarray(occlude(Image.new("RGB", (50, 100), "white"), (8, 0)))
    assert (hidden[80:, :10] == 128).all()
    assert (hidden[:80] == 255).all()
    assert (hidden[:, 10:] == 255).all()


def test_weights_are_random_for_a_while_and_then_as_before(predictor):
    picture, before = drawn(), {k: v.clone() for k, v in predictor.model.state_dict().items()}
    learnt = occlusion_maps(predictor, picture, VALUES)["title"]
    with randomised_weights(predictor.model, seed=1):
        random = occlusion_maps(predictor, picture, VALUES)["title"]
        matrices = {k: v for k, v in predictor.model.named_parameters() if v.ndim > 1}
        same = [name for name, value in matrices.items() if torch.equal(value, before[name])]
    after = predictor.model.state_dict()
    assert matrices
    assert not same
    assert not np.allclose(learnt, random)
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_a_slow_tokenizer_is_refused(predictor, monkeypatch):
    monkeypatch.setattr(type(predictor.processor.tokenizer), "is_fast", False)
    with pytest.raises(PredictError, match="Maps need a fast tokenizer"):
        occlusion_maps(predictor, drawn(), VALUES)


def test_of_several_pictures_the_first_is_hidden_in_parts_beside_the_others(predictor, monkeypatch):
    asked = []
    score = occlusion._ForcedAnswer.score
    monkeypatch.setattr(
        occlusion._ForcedAnswer, "score", lambda *words: asked.extend(words[1]) or score(*words)
    )
    main, other = drawn(), drawn(30, 60)

    maps = occlusion_maps(predictor, [main, other], VALUES)

    assert all(np.ptp(held) > 0 for held in maps.values())
    assert {each.tobytes() for _, each in asked} == {other.tobytes()}
    assert len({each.tobytes() for each, _ in asked}) == len(asked)
