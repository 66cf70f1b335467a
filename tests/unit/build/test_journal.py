import errno
import json
from contextlib import ExitStack

import numpy as np
import pytest

from loupe.build.journal import Entry, Journal
from loupe.build.ledger import Reason, Rejection
from loupe.build.pictures.check import CheckedPicture
from loupe.build.pictures.perceptual_hash import HASH_BYTES

KEYS = np.array([3, 7, 2**64 - 1], np.uint64)
FAILED = Entry(Rejection(Reason.TIMED_OUT, "späť 7 s"), 3, 20, 7.5)


@pytest.fixture
def opened(tmp_path):
    """Open the journal anew, as a further build would."""
    (tmp_path / "spool").mkdir()

    with ExitStack() as journals:

        def open_again(keys=KEYS, terms="same", spool=tmp_path / "spool"):
            journal = Journal(tmp_path / "journal", spool, keys, {"terms": terms})
            journals.callback(journal.close)
            return journal

        yield open_again


def keep(folder, name="a.fetched", content=b"12345"):
    path = folder / name
    path.write_bytes(content)
    picture = CheckedPicture(
        path, ".jpg", len(content), 40, 30, "ab", "cd", 2 ** (8 * HASH_BYTES) - 2
    )
    return Entry(picture, attempts=1, received_bytes=5, seconds=0.25)


def test_what_was_noted_is_read_back_by_another_build(opened, tmp_path):
    kept, local = keep(tmp_path / "spool"), keep(tmp_path, "local.jpg")
    journal = opened()
    journal.write(7, kept)
    journal.write(3, FAILED)
    journal.write(2**64 - 1, local)
    for each in (journal, opened()):
        assert each.known.all()
        assert [each.read(place) for place in range(3)] == [FAILED, kept, local]
        assert each.kept.tolist() == [False, True, True]
        assert each.pixels[1] == each.pixels[2] != 0
        assert each.perceptual[1].tolist() == [255] * (HASH_BYTES - 1) + [254]


def test_spool_may_have_moved(opened, tmp_path):
    opened().write(7, keep(tmp_path / "spool"))
    moved = tmp_path / "moved"
    (tmp_path / "spool").rename(moved)
    assert opened(spool=moved).read(1).outcome.path == moved / "a.fetched"


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_line_that_was_not_finished_is_dropped(opened, tmp_path, cut):
    journal = opened()
    journal.write(3, FAILED)
    journal.write(7, FAILED)
    journal.close()
    path = tmp_path / "journal"
    path.write_bytes(path.read_bytes()[:-cut])
    again = opened()
    assert again.known.tolist() == [True, False, False]
    again.write(2**64 - 1, FAILED)
    assert opened().known.tolist() == [True, False, True]
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_picture_that_is_not_there_in_its_length_does_not_count(opened, tmp_path):
    journal = opened()
    journal.write(3, keep(tmp_path / "spool", "gone"))
    journal.write(7, keep(tmp_path / "spool", "short"))
    (tmp_path / "spool" / "gone").unlink()
    (tmp_path / "spool" / "short").write_bytes(b"")
    assert not opened().known.any()


def test_other_terms_start_anew_and_say_so(opened, caplog):
    opened().write(3, FAILED)
    other = opened(terms="other")
    assert not other.known.any()
    assert "options of the pictures have changed" in caplog.text
    other.write(7, FAILED)
    assert other.read(1) == FAILED
    assert not opened().known.any()


def test_places_that_the_table_no_longer_has_are_passed_over(opened):
    journal = opened()
    journal.write(3, FAILED)
    journal.write(7, FAILED)
    again = opened(keys=np.array([5, 7], np.uint64))
    assert again.known.tolist() == [False, True]
    assert again.read(1) == FAILED


def test_full_disk_is_an_error_and_loses_nothing(opened, tmp_path, monkeypatch):
    journal = opened()
    journal.write(3, FAILED)

    class Full:
        name = "journal"

        def __init__(self, file):
            self.seek = file.seek
            self.write = lambda content: file.write(content[:10])

    with monkeypatch.context() as patch:
        patch.setattr(journal, "_writer", Full(journal._writer))
        with pytest.raises(OSError, match="No space left") as caught:
            journal.write(7, FAILED)
    assert caught.value.errno == errno.ENOSPC
    assert opened().known.tolist() == [True, False, False]
