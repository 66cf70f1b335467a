import asyncio
import time

import fsspec
import pytest

from loupe.build import build_dataset
from loupe.build.fetching.stores import Stores, open_store
from loupe.build.ledger import Reason
from loupe.errors import BuildError, OptionError
from loupe.options import BuildOptions

from ..conftest import draw, encode, write_catalogue


@pytest.fixture
def store():
    """fsspec's store in memory stands for any."""
    memory = fsspec.filesystem("memory")
    yield memory
    memory.store.clear()


def fetch(url, target, max_bytes=1000, timeout_seconds=30.0):
    return asyncio.run(Stores(["memory"], timeout_seconds, max_bytes).fetch(url, target))


def test_object_is_written_to_a_file(store, tmp_path):
    store.pipe_file("/shop/a.jpg", b"picture")
    done = fetch("memory://shop/a.jpg", tmp_path / "a")
    assert (done.rejection, done.attempts, done.received_bytes) == (None, 1, 7)
    assert (tmp_path / "a").read_bytes() == b"picture"


def test_no_more_is_read_than_a_picture_may_have(store, tmp_path, monkeypatch):
    store.pipe_file("/shop/a.jpg", bytes(5000))
    done = fetch("memory://shop/a.jpg", tmp_path / "a")
    assert (done.rejection.reason, done.received_bytes) == (Reason.TOO_LARGE, 1001)
    assert not (tmp_path / "a").exists()


def test_object_that_is_not_there_is_missing(store, tmp_path):
    done = fetch("memory://shop/none.jpg", tmp_path / "a")
    assert done.rejection.reason is Reason.MISSING_PICTURE
    assert "memory://shop/none.jpg" in done.rejection.detail


@pytest.mark.parametrize("url", ["memory://x::file:///etc/hostname", "memory://file:///etc/hosts"])
def test_url_inside_a_url_leads_nowhere(store, tmp_path, url):
    assert fetch(url, tmp_path / "a").rejection.reason is Reason.MISSING_PICTURE


def test_store_that_hangs_is_given_up(store, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "cat_file", lambda *_, **__: time.sleep(1), raising=False)
    done = fetch("memory://shop/a.jpg", tmp_path / "a", timeout_seconds=0.1)
    assert (done.rejection.reason, done.rejection.detail) == (
        Reason.TIMED_OUT,
        "not done after timeout_seconds 0.1",
    )


def test_store_without_credentials_stops_the_build(store, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise RuntimeError("no credentials")

    monkeypatch.setattr(store, "cat_file", refuse, raising=False)
    with pytest.raises(BuildError, match=r"store of .* cannot be used.*no credentials.*Check"):
        fetch("memory://shop/a.jpg", tmp_path / "a")


@pytest.mark.parametrize("scheme", ["file", "local", "http", "https", "no-such-store"])
def test_scheme_that_is_no_store_is_refused(scheme):
    with pytest.raises(OptionError, match=f"stores names '{scheme}', which"):
        open_store(scheme)


def test_build_fetches_from_stores_only_where_allowed(store, tmp_path):
    for row in range(12):
        store.pipe_file(f"/shop/{row}.jpg", encode(draw(row)))
    urls = [f"memory://shop/{row}.jpg" for row in range(12)]
    source = str(write_catalogue(tmp_path, 12, image=urls))
    options = {"source": source, "output": str(tmp_path / "data")}
    with pytest.raises(BuildError, match=r"All 12 rows .*refused_address: 12"):
        build_dataset(BuildOptions(**options))
    counts = build_dataset(BuildOptions(**options, stores=["memory"])).counts
    assert (counts["read"], counts["rejected"]) == (12, {})
