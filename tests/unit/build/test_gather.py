import subprocess
import sys
import time

import pytest

from loupe.build.fetch import FetchRules
from loupe.build.gather import Gathering, gather_pictures
from loupe.build.ledger import Reason, Rejection
from loupe.build.locate import LocalFile, Url
from loupe.build.pictures import CheckedPicture, PictureRules
from loupe.errors import BuildError

from .conftest import draw, encode


@pytest.fixture
def how(tmp_path):
    (tmp_path / "spool").mkdir()
    return Gathering(
        spool=tmp_path / "spool",
        fetching=FetchRules(timeout_seconds=60, max_bytes=10**6, retries=1, allow_private=True),
        checking=PictureRules(min_side_px=28, max_pixels=10**6, max_side_px=None, max_bytes=10**6),
        concurrency=4,
        workers=1,
    )


def test_each_place_is_fetched_and_checked_once(site, how, tmp_path):
    site.say("/a.jpg", encode(draw()))
    (tmp_path / "b.jpg").write_bytes(encode(draw(1)))
    places = [Url(f"{site.url}/a.jpg"), LocalFile(tmp_path / "b.jpg"), Url(f"{site.url}/none.jpg")]
    steps = []
    outcomes = gather_pictures([*places, *places], how, lambda: steps.append(1))
    assert len(outcomes) == len(steps) == len(site.visits) + 1 == 3
    assert isinstance(outcomes[places[0]], CheckedPicture)
    assert isinstance(outcomes[places[1]], CheckedPicture)
    rejection = outcomes[places[2]]
    assert isinstance(rejection, Rejection)
    assert rejection.reason is Reason.HTTP_ERROR


def test_no_more_pictures_are_on_their_way_than_allowed(site, how):
    at_a_time, most = [], []

    def answer(handler):
        at_a_time.append(1)
        most.append(len(at_a_time))
        time.sleep(0.02)
        at_a_time.pop()
        handler.send_error(404)

    site.answers = {f"/{number}": answer for number in range(40)}
    gather_pictures([Url(f"{site.url}/{number}") for number in range(40)], how, lambda: None)
    assert 1 < max(most) <= how.concurrency


def test_worker_that_dies_is_told_in_words(how, tmp_path, monkeypatch):
    from concurrent.futures.process import BrokenProcessPool

    def die(*_):
        raise BrokenProcessPool

    monkeypatch.setattr("loupe.build.gather.check_picture", die)
    (tmp_path / "a.jpg").write_bytes(encode(draw()))
    with pytest.raises(BuildError, match=r"process that checks pictures .* set workers to 1"):
        gather_pictures([LocalFile(tmp_path / "a.jpg")], how, lambda: None)


def test_workers_end_when_their_parent_is_killed():
    """The orphans would hold the pipe open, and `communicate` would not come back."""
    script = (
        "import os, time\n"
        "from loupe.build.gather import _checkers\n"
        "if __name__ == '__main__':\n"
        "    with _checkers(2, 10**6) as pool:\n"
        "        pool.submit(os.getpid).result()\n"
        "        print('ready', flush=True)\n"
        "        time.sleep(600)\n"
    )
    started = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert started.stdout.readline() == "ready\n"
    started.kill()
    started.communicate(timeout=300)
