"""Copies of the shipped base, which is trained and whole, to be broken one way each."""

import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

from loupe.vlm import TINY_FOLDER


class Patient:
    """A checkpoint folder that a test may break."""

    def __init__(self, folder):
        self.folder = folder
        shutil.copytree(TINY_FOLDER, folder)

    def change_weights(self, change, name="model.safetensors"):
        tensors = load_file(self.folder / name)
        change(tensors)
        save_file(tensors, self.folder / name, metadata={"format": "pt"})

    def change_json(self, name, **values):
        path = self.folder / name
        path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | values), "utf-8")

    def examine(self, *, sight=False):
        from loupe.doctor import examine_checkpoint
        from loupe.options import DoctorOptions

        return examine_checkpoint(DoctorOptions(checkpoint=str(self.folder), sight=sight))

    def wrong(self, *, sight=False):
        """What is wrong, as one text of lines `part: what | cure`."""
        found = self.examine(sight=sight).findings
        assert all(each.cure for each in found if each.verdict != "well")
        return [f"{f.part}: {f.what} | {f.cure}" for f in found if f.verdict == "wrong"]


@pytest.fixture
def patient(tmp_path):
    return Patient(tmp_path / "model")
