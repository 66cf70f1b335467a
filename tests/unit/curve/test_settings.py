"""Options of the runs, read from files."""

import pytest

from loupe.curve.settings import read_settings
from loupe.errors import OptionError
from loupe.options import TrainOptions

OWN = {"dataset": "data", "output": "out"}


def read(tmp_path, text):
    path = tmp_path / "train.yaml"
    path.write_text(text, "utf-8")
    return read_settings(TrainOptions, "train", str(path), OWN)


def test_a_file_is_read_and_its_numbers_understood(tmp_path):
    options = read(tmp_path, "learning_rate: 1e-3\nepochs: 2\ndataset: other\n")
    assert (options.learning_rate, options.epochs, options.dataset) == (0.001, 2.0, "data")


def test_without_a_file_the_defaults_hold():
    assert read_settings(TrainOptions, "train", None, OWN) == TrainOptions(**OWN)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lerning_rate: 1", "lerning_rate"),
        ("epochs: many", "epochs"),
        ("[1, 2]", "holds no options"),
        ("a: [", "cannot be read as options"),
    ],
)
def test_a_file_that_holds_no_options_is_refused(tmp_path, text, message):
    with pytest.raises(OptionError, match=message):
        read(tmp_path, text)


def test_a_missing_file_is_refused():
    with pytest.raises(OptionError, match=r"train 'gone.yaml' cannot be read"):
        read_settings(TrainOptions, "train", "gone.yaml", OWN)
