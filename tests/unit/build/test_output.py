import pytest

from loupe.build.output import open_workplace
from loupe.errors import BuildError

RECORD = '{"fingerprint": "abc"}'


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def write(output, text="new", *, overwrite=False):
    with open_workplace(output, overwrite=overwrite) as place:
        place.dataset.mkdir()
        (place.dataset / "README.md").write_text(text)
        (place.dataset / "dataset.json").write_text(RECORD)


def break_off(output, error=RuntimeError, *, noted=True):
    """A build that has noted a picture and written half of the dataset."""
    with open_workplace(output, overwrite=False) as place:
        (place.spool / "picture").write_text("x")
        (place.scratch / "table").write_text("x")
        place.dataset.mkdir()
        if noted:
            place.journal.write_text("noted")
        raise error


def test_folder_appears_when_it_is_finished(tmp_path):
    output = tmp_path / "deep" / "data"
    write(output)
    assert names(output) == ["README.md", "dataset.json"]
    assert names(output.parent) == ["data"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_nothing_is_left_of_a_build_that_breaks_off_before_it_noted_anything(tmp_path, error):
    with pytest.raises(error):
        break_off(tmp_path / "data", error, noted=False)
    assert names(tmp_path) == []


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_what_was_noted_is_there_again_and_nothing_else(tmp_path, error):
    with pytest.raises(error):
        break_off(tmp_path / "data", error)
    assert not (tmp_path / "data").exists()
    with open_workplace(tmp_path / "data", overwrite=False) as place:
        assert place.journal.read_text() == "noted"
        assert names(place.spool) == ["picture"]
        assert names(place.scratch) == []
        assert not place.dataset.exists()
        place.dataset.mkdir()
    assert names(tmp_path) == ["data"]


def test_build_killed_before_its_last_step_goes_on(tmp_path):
    with pytest.raises(RuntimeError):
        break_off(tmp_path / "data")
    (tmp_path / ".data.loupe-build" / "done").touch()
    with open_workplace(tmp_path / "data", overwrite=False) as place:
        assert place.journal.exists()
        place.dataset.mkdir()


def test_build_killed_after_its_last_step_leaves_nothing_to_go_on_from(tmp_path):
    with pytest.raises(RuntimeError):
        break_off(tmp_path / "data")
    left = tmp_path / ".data.loupe-build"
    (left / "done").touch()
    (left / "dataset").rmdir()
    with open_workplace(tmp_path / "data", overwrite=False) as place:
        assert not place.journal.exists()
        assert names(place.spool) == []
        place.dataset.mkdir()


def test_two_builds_to_one_output_do_not_meet(tmp_path):
    with open_workplace(tmp_path / "data", overwrite=False) as place:
        place.journal.write_text("noted")
        place.dataset.mkdir()
        (place.scratch / "table").touch()
        with pytest.raises(BuildError, match="Another build works in"):
            write(tmp_path / "data")
        assert names(place.scratch) == ["table"]
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
