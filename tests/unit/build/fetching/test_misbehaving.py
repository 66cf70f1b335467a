"""The whole stage against a server that misbehaves in every way that was seen to break a tool."""

import gzip
import time
from collections import Counter

import pyarrow.parquet as pq
import pytest
from PIL import Image

from loupe.build import build_dataset
from loupe.build.fetching.addresses import is_public
from loupe.options import BuildOptions

from ..conftest import draw, encode, write_catalogue

HTML = b"<!doctype html><html><body>Not here</body></html>"
PICTURE = encode(draw(999))
BOMB = gzip.compress(bytes(30_000_000))
FIFTY_MEGAPIXELS = encode(Image.new("1", (7100, 7100)), "PNG")
KINDS = {
    "endless": "too_large",
    "hang": "timed_out",
    "hang_after_head": "timed_out",
    "drip": "timed_out",
    "reset": "unreachable",
    "bomb": "too_large",
    "announced": "too_large",
    "gone": "http_error",
    "broken": "http_error",
    "busy": "http_error",
    "busy_for_an_hour": "http_error",
    "loop": "http_error",
    "nowhere": "http_error",
    "to_file": "refused_address",
    "to_metadata": "refused_address",
    "to_private_name": "refused_address",
    "to_other_scheme": "refused_address",
    "longer_than_it_is": "truncated",
    "shorter_than_it_is": "truncated or http_error",
    "not_gzip": "truncated",
    "empty": "empty_file",
    "html": "html_page",
    "fifty_megapixels": "too_many_pixels",
    "one_pixel": "too_small",
    "late": None,
    "busy_at_first": None,
    "broken_at_first": None,
    "called_html": None,
    "gzipped": None,
    "moved": None,
}
"""What a server does, and the reason that the row must get; None where the picture is had."""


def misbehave(site, kind, path):
    say = {
        "bomb": {"body": BOMB, "Content_Encoding": "gzip"},
        "announced": {"Content_Length": 10**12},
        "gone": {"status": 404},
        "broken": {"status": 500},
        "busy": {"status": 429, "Retry_After": "0"},
        "busy_for_an_hour": {"status": 503, "Retry_After": "3600"},
        "loop": {"status": 302, "Location": path},
        "nowhere": {"status": 301},
        "to_file": {"status": 302, "Location": "file:///etc/passwd"},
        "to_metadata": {"status": 302, "Location": "http://169.254.169.254/latest/meta-data/"},
        "to_private_name": {"status": 307, "Location": "http://localhost:1/"},
        "to_other_scheme": {"status": 308, "Location": "ftp://shop.example/a.jpg"},
        "longer_than_it_is": {"body": PICTURE, "Content_Length": len(PICTURE) + 999},
        "shorter_than_it_is": {"body": PICTURE, "Content_Length": len(PICTURE) // 2},
        "not_gzip": {"body": PICTURE, "Content_Encoding": "gzip"},
        "empty": {},
        "html": {"body": HTML, "Content_Type": "image/jpeg"},
        "fifty_megapixels": {"body": FIFTY_MEGAPIXELS},
        "one_pixel": {"body": encode(Image.new("RGB", (1, 1)), "GIF")},
        "called_html": {"body": draw_for(path), "Content_Type": "text/html"},
        "gzipped": {"body": gzip.compress(draw_for(path)), "Content_Encoding": "gzip"},
        "moved": {"status": 301, "Location": f"{path}-new"},
    }
    if kind in say:
        site.say(path, **say[kind])
    elif kind == "endless":
        site.flood(path)
    elif kind == "late":
        site.trickle(path, draw_for(path), parts=5, pause_seconds=0.1)
    elif kind.endswith("_at_first"):
        status = 503 if kind.startswith("busy") else 500
        site.fail_first(path, draw_for(path), status=status, Retry_After="0")
    else:
        getattr(site, kind)(path)
    site.say(f"{path}-new", draw_for(path))


def draw_for(path):
    return encode(draw(int(path.strip("/").partition(".")[0])))


@pytest.fixture
def loopback_is_public(monkeypatch):
    """The local server stands for one of the public internet; all else is as ever."""
    for module in ("fetch", "addresses"):
        monkeypatch.setattr(
            f"loupe.build.fetching.{module}.is_public",
            lambda address: address == "127.0.0.1" or is_public(address),
        )
    monkeypatch.setattr("socket.getaddrinfo", refuse_names)


def refuse_names(host, port, *_, **__):
    import socket

    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", port))]


QUICKLY = {"read_timeout_seconds": 3.0, "max_bytes": 200_000, "retries": 1}


@pytest.mark.parametrize(
    ("times", "one_in", "options"),
    [
        pytest.param(2, 3, QUICKLY, id="quickly"),
        pytest.param(5, 10 / 3, {}, id="500-rows-by-default", marks=pytest.mark.slow),
    ],
)
def test_every_row_of_a_bad_server_gets_its_reason_and_good_ones_are_kept(
    tmp_path, site, loopback_is_public, times, one_in, options
):
    kinds = list(KINDS) * times
    rows = round(one_in * len(kinds))
    told = {round(place * one_in): kind for place, kind in enumerate(kinds)}
    for row in range(rows):
        if row in told:
            misbehave(site, told[row], f"/{row}.jpg")
        else:
            site.say(f"/{row}.jpg", encode(draw(row)))
    source = write_catalogue(
        tmp_path, rows, imageurl=[f"{site.url}/{row}.jpg" for row in range(rows)]
    )
    started = time.monotonic()
    build_dataset(
        BuildOptions(
            source=str(source), output=str(tmp_path / "data"), image_column="imageurl", **options
        )
    )
    assert time.monotonic() - started < 60
    ledger = pq.read_table(tmp_path / "data" / "ledger.parquet").to_pylist()
    found = {row["row_number"] - 1: row["reason"] for row in ledger}
    for row in [row for row in told if told[row] == "shorter_than_it_is"]:
        # What comes after the announced end reaches the client in time to spoil the answer, or not.
        assert found.pop(row) in {"truncated", "http_error"}
        del told[row]
    assert found == {row: KINDS[told[row]] if row in told else None for row in found}
    visits = Counter(site.visits)
    once = {"gone", "busy_for_an_hour", "to_file", "to_metadata", "endless", "hang", "drip"}
    for row, kind in told.items():
        asked = 6 if kind == "loop" else 1 if KINDS[kind] and kind in once else None
        assert asked in (None, visits[f"/{row}.jpg"]), kind
    for row in set(found) - set(told):
        assert visits[f"/{row}.jpg"] == 1
