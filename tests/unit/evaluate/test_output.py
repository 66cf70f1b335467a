"""The folder that an evaluation leaves."""

import pytest

from loupe.errors import EvaluateError
from loupe.evaluate.output import staged_folder


def write(output, text, *, overwrite=False):
    with staged_folder(output, overwrite=overwrite) as folder:
        for name in ("report.html", "scores.json"):
            (folder / name).write_text(text)


def test_files_appear_when_all_are_there(tmp_path):
    output = tmp_path / "deep" / "out"
    with staged_folder(output, overwrite=False) as folder:
        (folder / "scores.json").write_text("{}")
        assert not output.exists()
    assert [path.name for path in output.iterdir()] == ["scores.json"]
    assert [path.name for path in output.parent.iterdir()] == ["out"]


def test_an_interrupted_run_leaves_nothing(tmp_path):
    def interrupted():
        with staged_folder(tmp_path / "out", overwrite=False) as folder:
            (folder / "scores.json").write_text("{}")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_overwriting_replaces_our_files_and_keeps_others(tmp_path):
    write(tmp_path / "out", "old")
    (tmp_path / "out" / "mine.txt").write_text("kept")
    write(tmp_path / "out", "new", overwrite=True)
    assert (tmp_path / "out" / "report.html").read_text() == "new"
    assert (tmp_path / "out" / "mine.txt").read_text() == "kept"


def test_an_evaluation_is_not_overwritten_unasked(tmp_path):
    write(tmp_path / "out", "old")
    with pytest.raises(EvaluateError, match=r"holds an evaluation.*--overwrite"):
        write(tmp_path / "out", "new")


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_not_ours_is_never_overwritten(tmp_path, overwrite):
    (tmp_path / "thesis.txt").write_text("years")
    with pytest.raises(EvaluateError, match="something else than an evaluation"):
        write(tmp_path, "new", overwrite=overwrite)
    (tmp_path / "file").write_text("")
    with pytest.raises(EvaluateError, match="is a file; name a folder"):
        write(tmp_path / "file", "new", overwrite=overwrite)
