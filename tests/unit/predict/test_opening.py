import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image

from loupe.options import PredictOptions
from loupe.predict.answering import answer_each
from loupe.predict.opening import cut_batches, open_ahead
from loupe.predict.sources import ask_each, find_sources

from .conftest import TASK, draw, encode, write_pictures


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def shop(tmp_path):
    """A table whose pictures are on a server of this machine; one is gone, one is a page."""
    served = tmp_path / "served"
    write_pictures(served, 3)
    (served / "page.html").write_text("<html><body>not here</body></html>")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(served)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    links = ["0000.png", "0001.png", "gone.png", "page.html", "0002.png"]
    url = f"http://127.0.0.1:{server.server_port}"
    rows = "".join(f"{row},{url}/{link}\n" for row, link in enumerate(links))
    (tmp_path / "shop.csv").write_text(f"id,imageurl\n{rows}")
    yield tmp_path / "shop.csv"
    server.shutdown()
    server.server_close()


def options(pictures, **changes):
    settings = {"model": "m", "batch_size": 2, "workers": 2} | changes
    return PredictOptions(pictures=[str(pictures)], **settings)


def open_all(chosen, scratch=None):
    asked = ask_each(find_sources(chosen, None), TASK)
    windows = open_ahead(asked, None, chosen, scratch)
    return [each for window in windows for each in window]


def fates(opened):
    return [
        str(each.lost.reason)
        if each.lost
        else each.sizes[0]
        if len(each.sizes) == 1
        else each.sizes
        for each in opened
    ]


def test_links_are_fetched_and_nothing_is_left_behind(shop, tmp_path):
    (tmp_path / "scratch").mkdir()
    opened = open_all(options(shop, allow_private=True), tmp_path / "scratch")
    assert fates(opened) == [(40, 32), (40, 32), "http_error", "html_page", (40, 32)]
    assert opened[1].pictures[0].getpixel((0, 0)) == draw(1).getpixel((0, 0))
    assert list((tmp_path / "scratch").iterdir()) == []


def test_private_addresses_are_refused_unless_allowed(shop):
    assert set(fates(open_all(options(shop)))) == {"refused_address"}


def test_paths_of_a_table_do_not_leave_its_folder(tmp_path):
    (tmp_path / "inside").mkdir()
    (tmp_path / "secret.png").write_bytes(encode(draw(1)))
    (tmp_path / "inside" / "shop.jsonl").write_text('{"image": "../secret.png"}\n')
    table = tmp_path / "inside" / "shop.jsonl"
    assert fates(open_all(options(table))) == ["outside_folder"]
    assert fates(open_all(options(table, picture_root=str(tmp_path / "inside")))) == [
        "outside_folder"
    ]


def test_name_that_no_file_can_have_is_a_missing_picture(tmp_path):
    (tmp_path / "shop.csv").write_text(f"id,image\n1,{'x' * 300}.png\n")
    (opened,) = open_all(options(tmp_path / "shop.csv"))
    assert str(opened.lost.reason) == "missing_picture"
    assert opened.lost.detail.endswith("File name too long")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "missing_picture"),
        (b"words", "not_a_picture"),
        (encode(draw(1, (400, 300)).effect_spread(99), "JPEG")[:2000], "truncated"),
    ],
)
def test_bad_file_has_its_reason(tmp_path, content, reason):
    if content is not None:
        (tmp_path / "bad.jpg").write_bytes(content)
    assert fates(open_all(options(tmp_path / "bad.jpg"))) == [reason]


def test_no_more_is_opened_than_some_batches_ahead(tmp_path, monkeypatch):
    write_pictures(tmp_path, 60)
    opened = []
    monkeypatch.setattr(
        "loupe.predict.opening.open_picture",
        lambda path: opened.append(path) or Image.new("RGB", (4, 4)),
    )
    chosen = options(tmp_path)
    windows = open_ahead(
        ask_each(find_sources(chosen, None), TASK), None, chosen, None
    )  # of 4 batches of 2
    next(windows)
    time.sleep(0.3)
    assert len(opened) == 16
    next(windows)
    time.sleep(0.3)
    assert len(opened) == 24
    windows.close()


def test_batches_are_of_like_length_and_within_the_budget():
    lengths = [100, 10, 90, 11, 12, 500, 10]
    batches = list(cut_batches(lengths, 3, 200))
    assert batches == [[1, 6, 3], [4, 2], [0], [5]]
    assert list(cut_batches([5] * 5, 2, None)) == [[0, 1], [2, 3], [4]]
    assert list(cut_batches([], 2, 10)) == []


def test_large_pictures_come_in_smaller_batches(tmp_path, colours, monkeypatch):
    monkeypatch.setattr("loupe.predict.opening.fit_picture", lambda _, picture: picture)
    for place, side in enumerate([100, 20, 100, 20, 20, 100, 20, 20]):
        (tmp_path / f"{place}.png").write_bytes(encode(draw(place, (side, side))))
    chosen = options(tmp_path, batch_size=4, batch_tokens=250, max_new_tokens=10)
    asked = ask_each(find_sources(chosen, None), TASK)
    answered = [each for some in answer_each(colours, asked, chosen) for each in some]
    assert [[side for side, _ in batch] for batch in colours.batches] == [
        [20, 20, 20, 20], [20, 100], [100, 100]  # 100 + 14 tokens for the large ones
    ]  # fmt: skip
    assert sorted(int(answer.text.split()[1]) for _, answer in answered) == list(range(8))
    assert all(
        asked.columns["picture"].endswith(f"{answer.text.split()[1]}.png")
        for asked, answer in answered
    )
