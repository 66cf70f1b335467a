import pytest

from loupe.build.output import unfinished_folder
from loupe.errors import BuildError

RECORD = '{"fingerprint": "abc"}'


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def write(output, text="new", *, overwrite=False):
    with unfinished_folder(output, overwrite=overwrite) as folder:
        (folder / "README.md").write_text(text)
        (folder / "dataset.json").write_text(RECORD)


def test_folder_appears_when_it_is_finished(tmp_path):
    output = tmp_path / "deep" / "data"
    with unfinished_folder(output, overwrite=False) as folder:
        (folder / "dataset.json").write_text(RECORD)
        assert not output.exists()
    assert names(output) == ["dataset.json"]
    assert names(output.parent) == ["data"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_nothing_is_left_of_a_build_that_breaks_off(tmp_path, error):
    def break_off():
        with unfinished_folder(tmp_path / "data", overwrite=False) as folder:
            (folder / "x").write_text("half")
            raise error

    with pytest.raises(error):
        break_off()
    assert names(tmp_path) == []


def test_what_a_killed_build_left_is_replaced(tmp_path):
    left = tmp_path / ".data.loupe-build"
    left.mkdir()
    (left / "unfinished").touch()
    (left / "half").touch()
    write(tmp_path / "data")
    assert names(tmp_path / "data") == ["README.md", "dataset.json"]
    assert names(tmp_path) == ["data"]


def test_folder_of_someone_else_in_that_place_is_not_deleted(tmp_path):
    left = tmp_path / ".data.loupe-build"
    left.mkdir()
    (left / "mine").touch()
    with pytest.raises(BuildError, match="stands where an unfinished build would"):
        write(tmp_path / "data")
    assert names(left) == ["mine"]


def test_empty_folder_is_filled(tmp_path):
    (tmp_path / "data").mkdir()
    write(tmp_path / "data")
    assert (tmp_path / "data" / "dataset.json").exists()


def test_dataset_is_replaced_only_when_told(tmp_path):
    write(tmp_path / "data", "old")
    with pytest.raises(BuildError, match=r"holds a dataset already. Add --overwrite"):
        write(tmp_path / "data")
    write(tmp_path / "data", overwrite=True)
    assert (tmp_path / "data" / "README.md").read_text() == "new"
    assert names(tmp_path) == ["data"]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"thesis.doc": "x"}, "such as 'thesis.doc'"),
        ({"thesis.doc": "x", "dataset.json": RECORD}, "such as 'thesis.doc'"),
        ({"README.md": "x"}, "no dataset.json of Loupe"),
        ({"dataset.json": "[]"}, "no dataset.json of Loupe"),
    ],
    ids=["other files", "beside a dataset", "readme", "other record"],
)
def test_files_of_someone_else_are_never_replaced(tmp_path, files, words, overwrite):
    output = tmp_path / "data"
    output.mkdir()
    for name, text in files.items():
        (output / name).write_text(text)
    with pytest.raises(BuildError, match=f"did not write.*{words}"):
        write(output, overwrite=overwrite)
    assert names(output) == sorted(files)


def test_file_in_the_place_of_the_output_is_refused(tmp_path):
    (tmp_path / "data").write_text("x")
    with pytest.raises(BuildError, match="is a file; expected a folder"):
        write(tmp_path / "data", overwrite=True)
