import os

import pytest
import torch
from safetensors.torch import load_file

from loupe.doctor.pickled import find_pickles

TRACE = "opened"


class Harmful:
    """Unpickling it would leave a file behind."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder / TRACE),)


def test_a_folder_as_the_tutorial_leaves_it_is_told(patient):
    """Pickled weights, no processor."""
    folder = patient.folder
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    for path in folder.iterdir():
        if path.name not in {"config.json", "pytorch_model.bin"}:
            path.unlink()
    pickled, processor = patient.wrong()
    assert pickled.startswith("weights: pytorch_model.bin is pickled and was not opened")
    assert "lists 114 tensors of 5.5 MiB in all and names 114 of the 114 that the" in pickled
    assert "save_pretrained(FOLDER, safe_serialization=True)" in pickled
    assert processor.startswith("processor: ")
    assert "has no processor" in processor


def test_what_a_pickle_would_call_is_told_and_not_called(tmp_path):
    torch.save({"weight": torch.ones(2), "x": Harmful(tmp_path)}, tmp_path / "model.pt")
    (found,) = find_pickles(tmp_path, {"weight"}, has_weights=False)
    assert "Beware: it calls posix mkdir, which no weights need" in found.what
    assert not (tmp_path / TRACE).exists()


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"no zip", "It is no zip as torch writes them"), (b"", "It is no zip")],
    ids=["old", "empty"],
)
def test_a_file_that_is_no_zip_is_told(tmp_path, content, told):
    (tmp_path / "model.pth").write_bytes(content)
    (found,) = find_pickles(tmp_path, {"weight"}, has_weights=False)
    assert found.verdict == "wrong"
    assert told in found.what


def test_a_pickle_beside_safetensors_is_a_note(patient):
    torch.save({}, patient.folder / "pytorch_model.bin")
    torch.save({}, patient.folder / "training_args.bin")  # no weights
    result = patient.examine()
    assert result.exit_code == 0
    assert [f.what[:17] for f in result.findings if "pickled" in f.what] == ["pytorch_model.bin"]
