"""The task to ask by, beside the one of the training."""

import logging

import pytest

from loupe.errors import PredictError
from loupe.predict.tasks import choose_task
from loupe.task import Task


@pytest.fixture
def folder(tmp_path):
    Task.load().save(tmp_path / "task.yaml")
    return tmp_path


def write_task(folder, **settings):
    declared = Task.load().to_dict()
    declared["fields"]["full_price"] |= settings
    path = folder / "other.yaml"
    Task.from_dict(declared).save(path)
    return str(path)


def test_without_a_file_the_models_own_is_used(folder):
    assert choose_task(str(folder), None) is None


def test_what_differs_is_said(folder, caplog):
    with caplog.at_level(logging.WARNING):
        task = choose_task(str(folder), write_task(folder, decimals=2))
    assert task.fields["full_price"].decimals == 2
    assert "full_price was with 1 decimals in training and is with 2 decimals now" in caplog.text
    assert "leave --task out" in caplog.text


def test_the_same_task_is_taken_in_silence(folder, caplog):
    choose_task(str(folder), str(folder / "task.yaml"))
    assert not caplog.text


def test_another_currency_is_refused(folder):
    with pytest.raises(PredictError, match="full_price was in USD in training and is in EUR now"):
        choose_task(str(folder), write_task(folder, currency="EUR"))


def test_a_model_without_a_task_is_asked_whatever_is_wanted(tmp_path, caplog):
    assert choose_task(str(tmp_path), write_task(tmp_path, currency="EUR")) is not None
    assert not caplog.text
