"""Maps of what decided, and the check that they tell of what was learnt."""

from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from loupe.errors import PredictError
from loupe.evaluate.maps import FLAT, make_maps, rank_correlation
from loupe.evaluate.rows import read_rows
from loupe.evaluate.run import evaluate
from loupe.predict import occlusion


@pytest.fixture
def weights(monkeypatch):
    """Weights of a model that occlusion reads as they stand; 0 is as learnt."""
    state = SimpleNamespace(seed=0)

    @contextmanager
    def randomised(model, seed):
        state.seed = 1 + seed
        yield
        state.seed = 0

    monkeypatch.setattr(occlusion, "randomised_weights", randomised)
    return state


def map_by(monkeypatch, draw):
    def occlusion_maps(predictor, picture, values, *, batch_size):
        return {field: draw() for field in values}

    monkeypatch.setattr(occlusion, "occlusion_maps", occlusion_maps)


@pytest.fixture
def run(make_dataset, make_predictor, task, options, monkeypatch):
    def run(draw, template=task.answer, **changes):
        map_by(monkeypatch, draw)
        dataset = make_dataset(task)
        predictor = make_predictor(dataset)
        predictor.task = replace(task, answer=template)
        predictor.model = None
        return evaluate(dataset, lambda: predictor, options.__class__(**vars(options) | changes))

    return run


def test_maps_that_do_not_depend_on_the_weights_fail_the_check(run, weights):
    result = run(lambda: np.arange(100.0).reshape(10, 10), maps=3)
    maps = result.scores["maps"]
    assert maps["failing"] == ["title", "category3_code", "full_price"]
    assert maps["rank_correlation"]["title"] == 1.0
    assert any("look the same from random weights" in note for note in result.scores["notes"])
    text = Path(result.report).read_text("utf-8")
    assert "look the same from random weights: they do not" in text


def test_maps_that_depend_on_the_weights_pass_it(run, weights):
    result = run(lambda: np.random.default_rng(weights.seed).random((10, 10)), maps=3)
    maps = result.scores["maps"]
    assert maps["failing"] == []
    assert abs(maps["rank_correlation"]["title"]) < 0.5
    assert len(maps["rows"]) == 3
    text = Path(result.report).read_text("utf-8")
    assert "Random weights give other maps, as they must" in text
    assert text.count('alt="what decided title"') == 3


def test_maps_show_the_answer_as_the_models_own_template_has_it(run, weights):
    template = "{title} / {category3_code} / {full_price}"
    result = run(lambda: np.random.default_rng(0).random((10, 10)), template, maps=1)
    text = Path(result.report).read_text("utf-8")
    assert '<b>category3_code</b> <span dir="auto">SHIRTS</span>' in text


def test_maps_that_cannot_be_made_cost_no_answers(run, weights):
    def refuse():
        raise PredictError("Maps need a fast tokenizer.")

    scores = run(refuse, maps=2).scores
    assert scores["maps"] is None
    assert "There are no maps. Maps need a fast tokenizer." in scores["notes"]


def test_without_being_asked_for_there_are_none(run, weights):
    result = run(lambda: pytest.fail("maps were made"))
    assert result.scores["maps"] is None
    assert "Which part of the picture decided" not in Path(result.report).read_text("utf-8")


def test_a_flat_map_takes_no_part_in_the_check(run, weights):
    maps = run(lambda: np.full((10, 10), FLAT / 2), maps=2).scores["maps"]
    assert maps["rank_correlation"]["title"] is None
    assert maps["failing"] == []


def test_rows_are_evenly_spaced_over_those_that_parse(
    make_dataset, make_predictor, task, weights, monkeypatch
):
    map_by(monkeypatch, lambda: np.zeros((10, 10)))
    dataset = make_dataset(task, test=10)
    rows = read_rows(dataset.rows("test"), max_rows=None, seed=0)
    predictor = make_predictor(dataset)
    predictor.model = None
    answers = predictor.predict([dataset.rows("test").picture(n) for n in range(10)])
    answers[0] = task.parse("nothing")
    maps = make_maps(predictor, rows, answers, count=3, batch_size=8, seed=0)
    assert [each.row for each in maps.rows] == [1, 5, 9]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ([1, 2, 3, 4], [10, 20, 30, 99], 1.0),
        ([1, 2, 3, 4], [4, 3, 2, 1], -1.0),
        ([1, 2, 2, 3], [1, 2, 2, 3], 1.0),
        ([1, 2, 3, 4], [5, 5, 5, 5], 0.0),
        ([1, 2, 3, 4, 5], [2, 1, 4, 3, 5], 0.8),
        ([1, 1, 2], [1, 2, 3], np.sqrt(3) / 2),
    ],
)
def test_rank_correlation(one, other, expected):
    found = rank_correlation(np.array(one, float), np.array(other, float))
    assert found == pytest.approx(expected)
