import asyncio

import pytest

from loupe.build.addresses import PublicResolver, RefusedAddressError, is_public
from loupe.build.fetch import Fetcher, FetchRules
from loupe.build.ledger import Reason

BODY = b"picture" * 100


def fetch(url, target, **changes):
    rules = {"timeout_seconds": 60.0, "max_bytes": 10_000, "retries": 2, "allow_private": True}

    async def run():
        async with Fetcher(FetchRules(**(rules | changes)), concurrency=4) as fetcher:
            return await fetcher.fetch(url, target)

    return asyncio.run(run())


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


@pytest.mark.parametrize("kind", ["hang", "drip"])
def test_body_that_does_not_end_is_given_up_in_time(site, target, kind):
    getattr(site, kind)("/a.jpg")
    found = fetch(f"{site.url}/a.jpg", target, timeout_seconds=0.5)
    assert found.reason is Reason.TIMED_OUT
    assert "timeout_seconds 0.5" in found.detail


def test_retries_share_the_time_of_one_picture(site, target):
    site.say("/a.jpg", status=500)
    found = fetch(f"{site.url}/a.jpg", target, retries=50, timeout_seconds=3.0)
    assert found.reason is Reason.TIMED_OUT
    assert "an earlier attempt: status 500" in found.detail


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
    import gzip

    site.say("/a.jpg", gzip.compress(b"\0" * 5_000_000), Content_Encoding="gzip")
    assert fetch(f"{site.url}/a.jpg", target).reason is Reason.TOO_LARGE


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
        "loupe.build.fetch.is_public", lambda host: host == "127.0.0.1" or is_public(host)
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


def test_url_that_cannot_be_meant_is_refused(target):
    assert fetch("http://[bad/", target).reason is Reason.REFUSED_ADDRESS
    assert fetch("http://x.example:99999/", target).reason is Reason.REFUSED_ADDRESS


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("10.1.2.3", False),
        ("127.0.0.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:192.168.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
    ],
)
def test_public_addresses_are_told_from_private_ones(address, public):
    assert is_public(address) is public


def test_name_with_one_private_address_is_refused():
    async def resolve():
        return await PublicResolver().resolve("localhost")

    with pytest.raises(RefusedAddressError, match="localhost is at the private address"):
        asyncio.run(resolve())
