import errno
import json
import os

import pytest

from loupe.errors import TrainError
from loupe.train.checkpoints import (
    copy_model_files,
    differing_options,
    drop_all_but,
    find_last_checkpoint,
    place_checkpoint,
    prepare_output,
    read_record,
    write_record,
)


def make_run(folder):
    prepare_output(folder, overwrite=False)
    (folder / "options.yaml").write_text("batch_size: 16\noverwrite: false\n", "utf-8")
    return folder


def make_checkpoint(folder, step, *, is_whole=True):
    checkpoint = folder / "checkpoints" / f"checkpoint-{step}"
    checkpoint.mkdir(parents=True)
    (checkpoint / "model.safetensors").write_bytes(b"weights")
    (checkpoint / "optimizer.pt").write_bytes(b"moments")
    state = json.dumps({"global_step": step})
    (checkpoint / "trainer_state.json").write_text(state if is_whole else state[:-3], "utf-8")
    return checkpoint


def test_a_new_folder_is_made(tmp_path):
    prepare_output(tmp_path / "deep" / "model", overwrite=False)
    assert (tmp_path / "deep" / "model" / "checkpoints").is_dir()


def test_a_folder_of_something_else_is_refused_even_to_overwrite(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work", "utf-8")
    (tmp_path / "options.yaml").write_text("rows: 5", "utf-8")  # another stage's folder
    for overwrite in (False, True):
        with pytest.raises(TrainError, match="holds files that are not of a training run"):
            prepare_output(tmp_path, overwrite=overwrite)
    assert (tmp_path / "thesis.txt").exists()


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "model").touch()
    with pytest.raises(TrainError, match="is a file; name a folder"):
        prepare_output(tmp_path / "model", overwrite=True)


def test_overwriting_empties_an_earlier_run(tmp_path):
    folder = make_run(tmp_path / "model")
    make_checkpoint(folder, 5)
    prepare_output(folder, overwrite=True)
    assert [path.name for path in folder.iterdir()] == ["checkpoints"]
    assert find_last_checkpoint(folder) is None


def test_options_of_another_run_are_named(tmp_path):
    folder = make_run(tmp_path / "model")
    assert differing_options(folder, {"batch_size": 16, "overwrite": True}) == []
    assert differing_options(folder, {"batch_size": 8, "seed": 1}) == ["batch_size", "seed"]
    assert differing_options(tmp_path / "none", {"batch_size": 8}) == []


def test_the_last_whole_checkpoint_is_found_and_what_a_kill_left_is_removed(tmp_path):
    folder = make_run(tmp_path / "model")
    make_checkpoint(folder, 9)
    make_checkpoint(folder, 10)
    make_checkpoint(folder, 100, is_whole=False)
    (folder / "checkpoints" / ".unfinished" / "checkpoint-101").mkdir(parents=True)
    assert find_last_checkpoint(folder).name == "checkpoint-10"
    prepare_output(folder, overwrite=False)
    left = {path.name for path in (folder / "checkpoints").iterdir()}
    assert left == {"checkpoint-9", "checkpoint-10"}


def test_the_last_checkpoints_and_the_best_are_kept(tmp_path):
    for step in (2, 5, 9, 10, 100):
        make_checkpoint(tmp_path, step)
    drop_all_but(tmp_path / "checkpoints", 2, best_step=5)
    kept = {path.name for path in (tmp_path / "checkpoints").glob("checkpoint-*")}
    assert kept == {"checkpoint-5", "checkpoint-10", "checkpoint-100"}


def test_a_checkpoint_takes_its_place_when_all_of_it_is_on_the_disk(tmp_path, monkeypatch):
    folder = tmp_path / "checkpoints"
    written = make_checkpoint(tmp_path / "aside", 7)
    folder.mkdir()

    def full_disk(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full_disk)
        with pytest.raises(OSError, match="No space left"):
            place_checkpoint(written, folder)
    assert not list(folder.iterdir())
    place_checkpoint(written, folder)
    assert find_last_checkpoint(tmp_path).name == "checkpoint-7"
    assert not written.exists()


def test_only_the_model_is_copied_out_of_a_checkpoint(tmp_path):
    (tmp_path / "model").mkdir()
    copy_model_files(make_checkpoint(tmp_path, 3), tmp_path / "model")
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["model.safetensors"]


def test_records_are_read_back_and_broken_ones_are_none(tmp_path):
    write_record(tmp_path / "training.json", {"steps": 3})
    assert read_record(tmp_path / "training.json") == {"steps": 3}
    assert [path.name for path in tmp_path.iterdir()] == ["training.json"]
    (tmp_path / "broken.json").write_text('{"steps"', "utf-8")
    assert read_record(tmp_path / "broken.json") is None
    assert read_record(tmp_path / "missing.json") is None
