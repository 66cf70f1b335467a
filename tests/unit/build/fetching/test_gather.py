import subprocess
import sys
import threading
import time
from itertools import count

import pytest

from loupe.build.fetching.fetch import FetchRules
from loupe.build.fetching.gather import Gathering, Waiting, gather_pictures
from loupe.build.ledger import Reason, Rejection
from loupe.build.pictures.check import CheckedPicture, PictureRules
from loupe.build.rows.locate import Embedded, LocalFile, Url
from loupe.errors import BuildError

from ..conftest import draw, encode
from .test_fetch import RULES


@pytest.fixture
def how(tmp_path):
    (tmp_path / "spool").mkdir()
    return Gathering(
        spool=tmp_path / "spool",
        fetching=FetchRules(**RULES | {"max_bytes": 10**6, "retries": 1}),
        checking=PictureRules(
            min_side_px=28, max_pixels=10**6, max_side_px=None, max_bytes=10**6, min_contrast=0
        ),
        concurrency=8,
        per_host=4,
        workers=1,
    )


def gather(places, how):
    found = {}

    def record(key, entry):
        assert key not in found
        found[key] = entry

    gather_pictures(enumerate(places, start=1), len(places), how, record)
    return [found[key] for key in sorted(found)]


def files(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_pictures_are_brought_from_wherever_they_are(site, how, tmp_path):
    site.say("/a.jpg", encode(draw()))
    (tmp_path / "b.jpg").write_bytes(encode(draw(1)))
    places = [
        Url(f"{site.url}/a.jpg"),
        LocalFile(tmp_path / "b.jpg"),
        Embedded(encode(draw(2))),
        Url(f"{site.url}/none.jpg"),
        Embedded(b"no picture"),
    ]
    fetched, local, embedded, missing, bad = gather(places, how)
    for entry in (fetched, local, embedded):
        assert isinstance(entry.outcome, CheckedPicture)
    assert local.outcome.path == tmp_path / "b.jpg"
    assert files(how.spool) == sorted([fetched.outcome.path.name, embedded.outcome.path.name])
    assert [entry.attempts for entry in (fetched, local, embedded, missing)] == [1, 0, 0, 1]
    assert fetched.received_bytes == len(encode(draw()))
    assert isinstance(missing.outcome, Rejection)
    assert missing.outcome.reason is Reason.HTTP_ERROR
    assert isinstance(bad.outcome, Rejection)


def test_only_the_rewritten_picture_stays(how, tmp_path):
    mine = tmp_path / "mine.png"
    mine.write_bytes(encode(draw(mode="RGBA"), "PNG"))
    entries = gather([Embedded(mine.read_bytes()), LocalFile(mine)], how)
    assert [entry.outcome.path.suffix for entry in entries] == [".rewritten"] * 2
    assert len(files(how.spool)) == 2
    assert mine.exists()


def test_no_more_pictures_are_on_their_way_than_allowed_from_one_host(site, how):
    at_a_time, most = [], []

    def answer(handler):
        at_a_time.append(1)
        most.append(len(at_a_time))
        time.sleep(0.02)
        at_a_time.pop()
        handler.send_error(404)

    site.answers = {f"/{number}": answer for number in range(40)}
    gather([Url(f"{site.url}/{number}") for number in range(40)], how)
    assert 1 < max(most) <= how.per_host


def test_slow_host_does_not_hold_up_others(site, how):
    """All the slow host's rows stand first; they are let go only when the others are done."""
    left, none_left = count(20, -1), threading.Event()
    slow = site.url.replace("127.0.0.1", "localhost")
    body = encode(draw())

    def wait_for_others(handler):
        assert none_left.wait(50)
        handler.send_error(404)

    def answer(handler):
        if next(left) == 1:
            none_left.set()
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(body)

    site.answers = {f"/slow{n}": wait_for_others for n in range(30)}
    site.answers |= {f"/fast{n}": answer for n in range(20)}
    places = [Url(f"{slow}/slow{n}") for n in range(30)]
    places += [Url(f"{site.url}/fast{n}") for n in range(20)]
    entries = gather(places, how)
    assert [isinstance(entry.outcome, Rejection) for entry in entries] == [True] * 30 + [False] * 20


def drain(waiting):
    return [job[0] for job in iter(waiting.take, None)]


def jobs(*hosts):
    return [(key, Url(f"http://{host}/{key}")) for key, host in enumerate(hosts, start=1)]


def test_hosts_take_turns_and_wait_for_a_free_place():
    listed = jobs("a", "a", "a", "b", "a", "c")
    waiting = Waiting(listed, per_host=2)
    assert drain(waiting) == [1, 2, 4, 6]
    assert not waiting.is_exhausted
    waiting.release(listed[0])
    assert drain(waiting) == [3]
    waiting.release(listed[3])
    assert drain(waiting) == []
    waiting.release(listed[1])
    assert drain(waiting) == [5]
    assert waiting.is_exhausted


def test_files_wait_for_nobody():
    places = [(key, Embedded(b"x")) for key in range(10)]
    assert drain(Waiting(places, per_host=1)) == list(range(10))


def test_look_ahead_is_bounded(monkeypatch):
    monkeypatch.setattr("loupe.build.fetching.gather._LOOK_AHEAD", 50)
    drawn = count()
    waiting = Waiting(((next(drawn), Url("http://a/x")) for _ in range(10**6)), per_host=2)
    assert len(drain(waiting)) == 2
    assert next(drawn) <= 53


def test_worker_that_dies_is_told_in_words(how, tmp_path, monkeypatch):
    from concurrent.futures.process import BrokenProcessPool

    def die(*_):
        raise BrokenProcessPool

    monkeypatch.setattr("loupe.build.fetching.gather.check_picture", die)
    (tmp_path / "a.jpg").write_bytes(encode(draw()))
    with pytest.raises(BuildError, match=r"process that checks pictures .* set workers to 1"):
        gather([LocalFile(tmp_path / "a.jpg")], how)


def test_workers_end_when_their_parent_is_killed():
    """The orphans would hold the pipe open, and `communicate` would not come back."""
    script = (
        "import os, time\n"
        "from loupe.build.fetching.gather import _checkers\n"
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
