import asyncio
import email.utils
import gzip
import time
from datetime import UTC, datetime, timedelta

import pytest

from loupe.build.fetching.addresses import is_public
from loupe.build.fetching.fetch import Fetcher, FetchRules
from loupe.build.ledger import Reason

BODY = b"picture" * 100
RULES = {
    "timeout_seconds": 60.0,
    "connect_timeout_seconds": 60.0,
    "read_timeout_seconds": 60.0,
    "max_bytes": 10_000,
    "retries": 2,
    "allow_private": True,
    "honour_opt_out": False,
    "user_agent": "loupe-test",
}


def fetch_and_count(url, target, **changes):
    async def run():
        async with Fetcher(FetchRules(**(RULES | changes))) as fetcher:
            return await fetcher.fetch(url, target)

    return asyncio.run(run())


def fetch(url, target, **changes):
    return fetch_and_count(url, target, **changes).rejection


@pytest.fixture
def target(tmp_path):
    return tmp_path / "body"


def test_body_is_written_as_it_is(site, target):
    site.say("/a.jpg", BODY)
    assert fetch(f"{site.url}/a.jpg", target) is None
    assert target.read_bytes() == BODY


def test_server_error_that_passes_is_tried_again(site, target):
    site.fail_first("/a.jpg", BODY, times=2)
    assert fetch(f"{site.url}/a.jpg", target) is None
    assert len(site.visits) == 3


def test_server_error_that_stays_is_reported_after_the_retries(site, target):
    site.say("/a.jpg", status=503)
    found = fetch(f"{site.url}/a.jpg", target, retries=1)
    assert (found.reason, len(site.visits)) == (Reason.HTTP_ERROR, 2)
    assert "503" in found.detail


def test_missing_page_is_not_asked_for_again(site, target):
    found = fetch(f"{site.url}/none.jpg", target)
    assert (found.reason, len(site.visits)) == (Reason.HTTP_ERROR, 1)
    assert "status 404 Not Found" in found.detail


@pytest.mark.parametrize("kind", ["hang", "drip", "hang_after_head"])
@pytest.mark.parametrize("limit", ["timeout_seconds", "read_timeout_seconds"])
def test_answer_that_does_not_end_is_given_up_in_time_and_once(site, target, kind, limit):
    getattr(site, kind)("/a.jpg")
    done = fetch_and_count(f"{site.url}/a.jpg", target, **{limit: 0.5})
    assert (done.rejection.reason, done.attempts) == (Reason.TIMED_OUT, 1)
    assert f"{limit} 0.5" in done.rejection.detail


def test_slow_body_that_keeps_coming_is_received(site, target):
    site.trickle("/a.jpg", b"x" * 2000, parts=10, pause_seconds=0.1)
    assert fetch(f"{site.url}/a.jpg", target, read_timeout_seconds=0.9) is None
    assert target.stat().st_size == 2000


def test_silent_server_is_given_up_by_the_limit_for_connections(target, backlog_of_none):
    found = fetch(backlog_of_none, target, connect_timeout_seconds=0.3)
    assert found.reason is Reason.TIMED_OUT
    assert "no connection within connect_timeout_seconds 0.3" in found.detail


def test_retries_share_the_time_of_one_picture(site, target):
    site.say("/a.jpg", status=500)
    done = fetch_and_count(f"{site.url}/a.jpg", target, retries=50, timeout_seconds=1.0)
    assert done.rejection.reason is Reason.HTTP_ERROR
    assert 1 < done.attempts < 5


def test_pauses_grow_and_differ(site, target, monkeypatch):
    pauses = []
    monkeypatch.setattr("loupe.build.fetching.fetch.asyncio.sleep", _note_pause(pauses))
    site.say("/a.jpg", status=500)
    fetch(f"{site.url}/a.jpg", target, retries=4)
    fetch(f"{site.url}/a.jpg", target, retries=4)
    assert len(set(pauses)) == 8
    for place, base in enumerate([0.25, 0.5, 1, 2] * 2):
        assert 0.5 * base <= pauses[place] <= 1.5 * base


@pytest.mark.parametrize("status", [429, 503])
def test_server_is_asked_again_when_it_says(site, target, monkeypatch, status):
    pauses = []
    monkeypatch.setattr("loupe.build.fetching.fetch.asyncio.sleep", _note_pause(pauses))
    site.say("/a.jpg", status=status, Retry_After="7")
    fetch(f"{site.url}/a.jpg", target, retries=1)
    when = datetime.now(UTC) + timedelta(seconds=30)
    site.say("/b.jpg", status=status, Retry_After=email.utils.format_datetime(when, usegmt=True))
    fetch(f"{site.url}/b.jpg", target, retries=1)
    assert pauses[0] == 7.0
    assert 25 < pauses[1] <= 30


def test_pause_that_does_not_fit_into_the_time_is_not_begun(site, target):
    site.say("/a.jpg", status=429, Retry_After="3600")
    started = time.monotonic()
    done = fetch_and_count(f"{site.url}/a.jpg", target)
    assert time.monotonic() - started < 30
    assert (done.rejection.reason, done.attempts) == (Reason.HTTP_ERROR, 1)
    assert "status 429 Too Many Requests, Retry-After 3,600 s" in done.rejection.detail


@pytest.mark.parametrize("asked", ["soon", "-5", "", "Thu, 01 Jan 1970 00:00:00 GMT", "９"])
def test_retry_after_that_means_nothing_is_no_pause(site, target, asked):
    site.fail_first("/a.jpg", BODY, status=429, Retry_After=asked)
    assert fetch(f"{site.url}/a.jpg", target) is None


def test_connection_that_is_reset_is_tried_again(site, target):
    site.reset("/a.jpg")
    done = fetch_and_count(f"{site.url}/a.jpg", target, retries=1)
    assert (done.rejection.reason, done.attempts) == (Reason.UNREACHABLE, 2)


def _note_pause(pauses):
    real = asyncio.sleep

    async def sleep(seconds):
        pauses.append(seconds)
        await real(0)

    return sleep


def test_endless_body_is_stopped_at_the_limit(site, target):
    site.flood("/a.jpg")
    found = fetch(f"{site.url}/a.jpg", target)
    assert found.reason is Reason.TOO_LARGE
    assert "max_bytes 10,000" in found.detail
    assert target.stat().st_size <= 10_000


def test_body_announced_as_too_large_is_not_received(site, target):
    site.say("/a.jpg", b"", Content_Length=10_001)
    found = fetch(f"{site.url}/a.jpg", target)
    assert (found.reason, target.exists()) == (Reason.TOO_LARGE, False)


def test_compressed_body_counts_by_what_it_unpacks_to(site, target):
    site.say("/a.jpg", gzip.compress(b"\0" * 5_000_000), Content_Encoding="gzip")
    assert fetch(f"{site.url}/a.jpg", target).reason is Reason.TOO_LARGE


def test_compressed_picture_is_unpacked(site, target):
    site.say("/a.jpg", gzip.compress(BODY), Content_Encoding="gzip")
    assert fetch(f"{site.url}/a.jpg", target) is None
    assert target.read_bytes() == BODY


def test_body_that_is_not_compressed_as_it_says_is_truncated(site, target):
    site.say("/a.jpg", BODY, Content_Encoding="gzip")
    assert fetch(f"{site.url}/a.jpg", target, retries=0).reason is Reason.TRUNCATED


def test_cost_of_a_download_is_counted(site, target):
    site.fail_first("/a.jpg", BODY)
    done = fetch_and_count(f"{site.url}/a.jpg", target)
    assert (done.attempts, done.received_bytes) == (2, len(BODY))


def test_server_is_told_who_asks(site, target):
    seen = []
    site.answers["/a.jpg"] = lambda handler: seen.append(handler.headers["User-Agent"])
    fetch(f"{site.url}/a.jpg", target, retries=0)
    assert set(seen) == {"loupe-test"}


@pytest.mark.parametrize("tag", ["noai", "noindex, NoImageAI", "otherbot: noai"])
def test_opt_out_is_honoured_where_asked(site, target, tag):
    site.say("/a.jpg", BODY, X_Robots_Tag=tag)
    found = fetch(f"{site.url}/a.jpg", target, honour_opt_out=True)
    assert (found.reason, found.detail) == (Reason.OPTED_OUT, f"X-Robots-Tag: {tag}")
    assert not target.exists()
    assert fetch(f"{site.url}/a.jpg", target) is None


def test_other_directives_are_no_opt_out(site, target):
    site.say("/a.jpg", BODY, X_Robots_Tag="noindex, noaixyz")
    assert fetch(f"{site.url}/a.jpg", target, honour_opt_out=True) is None


def test_body_that_breaks_off_is_truncated(site, target):
    site.say("/a.jpg", BODY, Content_Length=len(BODY) + 50)
    found = fetch(f"{site.url}/a.jpg", target, retries=1)
    assert (found.reason, len(site.visits)) == (Reason.TRUNCATED, 2)


def test_redirect_is_followed(site, target):
    site.say("/old", status=302, Location="/new")
    site.say("/new", BODY)
    assert fetch(f"{site.url}/old", target) is None
    assert target.read_bytes() == BODY


def test_redirects_in_a_circle_end(site, target):
    site.say("/old", status=302, Location="/old")
    found = fetch(f"{site.url}/old", target)
    assert (found.reason, found.detail) == (Reason.HTTP_ERROR, "more than 5 redirects")


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://x.example/a"])
def test_redirect_out_of_http_is_refused(site, target, location):
    site.say("/old", status=301, Location=location)
    assert fetch(f"{site.url}/old", target).reason is Reason.REFUSED_ADDRESS


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0x7f.1", "[::ffff:127.0.0.1]"])
def test_private_address_is_refused_before_connecting(site, target, host):
    url = site.url.replace("127.0.0.1", host)
    found = fetch(f"{url}/a.jpg", target, allow_private=False)
    assert found.reason is Reason.REFUSED_ADDRESS
    assert site.visits == []


def test_redirect_to_a_private_address_is_refused(site, target, monkeypatch):
    """The server stands for a public one: only the address it redirects to is private."""
    site.say("/old", status=302, Location="http://10.0.0.1/secret")
    monkeypatch.setattr(
        "loupe.build.fetching.fetch.is_public", lambda host: host == "127.0.0.1" or is_public(host)
    )
    found = fetch(f"{site.url}/old", target, allow_private=False)
    assert (found.reason, found.detail) == (
        Reason.REFUSED_ADDRESS,
        "10.0.0.1 is a private address",
    )
    assert site.visits == ["/old"]


def test_server_that_is_not_there_is_unreachable(site, target):
    found = fetch("http://127.0.0.1:1/a.jpg", target, retries=0)
    assert found.reason is Reason.UNREACHABLE


def test_name_that_does_not_exist_is_not_asked_for_again(target):
    done = fetch_and_count("http://no-such-host.invalid/a.jpg", target)
    assert (done.rejection.reason, done.attempts) == (Reason.UNREACHABLE, 1)


def test_url_that_cannot_be_meant_is_refused(target):
    assert fetch("http://[bad/", target).reason is Reason.REFUSED_ADDRESS
    assert fetch("http://x.example:99999/", target).reason is Reason.REFUSED_ADDRESS
