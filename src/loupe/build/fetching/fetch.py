"""Fetch one picture over http(s) into a file, within limits of bytes, time and addresses."""

import asyncio
import email.utils
import ipaddress
import random
import re
import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import aiohttp
from yarl import URL

from loupe.build.fetching.addresses import PublicResolver, RefusedAddressError, is_public
from loupe.build.ledger import Reason, Rejection

if TYPE_CHECKING:
    from multidict import CIMultiDictProxy

__all__ = ["FetchRules", "Fetched", "Fetcher"]

_MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PASSING_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
_OPT_OUTS = frozenset({"noai", "noimageai"})
_FIRST_PAUSE_SECONDS = 0.25  # doubled with each further attempt
_CHUNK_BYTES = 64 * 1024
_LEAST_BYTES = 1024  # that must come within read_timeout_seconds: a drip is no answer
_RESOLVERS = 64  # threads: a name whose server is silent blocks one of them for many seconds


@dataclass(frozen=True)
class FetchRules:
    """Limits of one download.

    `timeout_seconds` bounds it whole, redirects, pauses and retries included; within it,
    `connect_timeout_seconds` bounds each connection, its name's address included, and
    `read_timeout_seconds` the time to the answer and to each further 1,024 bytes.
    """

    timeout_seconds: float
    connect_timeout_seconds: float
    read_timeout_seconds: float
    max_bytes: int
    retries: int
    allow_private: bool
    honour_opt_out: bool
    user_agent: str


@dataclass
class Fetched:
    """How a download ended: why it failed, None where the file is there; and what it cost."""

    rejection: Rejection | None = None
    attempts: int = 0
    received_bytes: int = 0


class _PassingProblem(Exception):  # noqa: N818 - a rejection that may heal, not an error
    """A failure that another attempt may not meet, and the pause that the server asks for."""

    def __init__(self, rejection: Rejection, pause_seconds: float = 0.0) -> None:
        super().__init__(rejection.detail)
        self.rejection = rejection
        self.pause_seconds = pause_seconds


class Fetcher:
    """An http client that writes bodies to files; use it as an async context manager."""

    def __init__(self, rules: FetchRules) -> None:
        self._rules = rules
        resolver = None if rules.allow_private else PublicResolver()
        self._resolving = ThreadPoolExecutor(_RESOLVERS, "resolve")
        asyncio.get_running_loop().set_default_executor(self._resolving)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, resolver=resolver),  # the caller bounds them
            timeout=aiohttp.ClientTimeout(total=None, connect=rules.connect_timeout_seconds),
            headers={
                "User-Agent": rules.user_agent,
                "Accept": "image/*,*/*;q=0.5",
                "Accept-Encoding": "identity",
            },
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._session.close()
        self._resolving.shutdown(wait=False, cancel_futures=True)

    async def fetch(self, url: str, target: Path) -> Fetched:
        """Write the body behind a URL to a file.

        Raises:
            OSError: the file cannot be written.
        """
        done = Fetched()
        try:
            async with asyncio.timeout(self._rules.timeout_seconds) as limit:
                end = limit.when() or 0.0
                await self._fetch_with_retries(url, target, done, end)
        except TimeoutError:
            before = f"; an earlier attempt: {done.rejection.detail}" if done.rejection else ""
            detail = f"not done after timeout_seconds {self._rules.timeout_seconds:g}{before}"
            done.rejection = Rejection(Reason.TIMED_OUT, detail)
        return done

    async def _fetch_with_retries(self, url: str, target: Path, done: Fetched, end: float) -> None:
        clock = asyncio.get_running_loop().time
        for attempt in range(self._rules.retries + 1):
            done.attempts += 1
            try:
                done.rejection = await self._attempt(url, target, done)
                return
            except _PassingProblem as problem:
                done.rejection = problem.rejection
                backing_off = _FIRST_PAUSE_SECONDS * 2**attempt * random.uniform(0.5, 1.5)
                pause = max(backing_off, problem.pause_seconds)
            if attempt == self._rules.retries or clock() + pause >= end:
                return
            await asyncio.sleep(pause)

    async def _attempt(self, url: str, target: Path, done: Fetched) -> Rejection | None:
        try:
            return await self._follow(url, target, done)
        except (aiohttp.ClientSSLError, aiohttp.ClientConnectorDNSError) as error:
            rejection = Rejection(Reason.UNREACHABLE, _in_words(error))
            if error.os_error.errno == socket.EAI_AGAIN:
                raise _PassingProblem(rejection) from error
            return rejection
        except (RefusedAddressError, aiohttp.InvalidURL, ValueError) as error:
            return Rejection(Reason.REFUSED_ADDRESS, _in_words(error))
        except aiohttp.ServerTimeoutError:
            seconds = f"connect_timeout_seconds {self._rules.connect_timeout_seconds:g}"
            return Rejection(Reason.TIMED_OUT, f"no connection within {seconds}")
        except aiohttp.ClientPayloadError as error:
            problem = Rejection(Reason.TRUNCATED, f"the body broke off: {_in_words(error)}")
            raise _PassingProblem(problem) from error
        except aiohttp.ClientResponseError as error:
            problem = Rejection(Reason.HTTP_ERROR, f"no well-formed answer: {error.message}")
            raise _PassingProblem(problem) from error
        except (aiohttp.ClientError, ConnectionError) as error:
            raise _PassingProblem(Rejection(Reason.UNREACHABLE, _in_words(error))) from error

    async def _follow(self, url: str, target: Path, done: Fetched) -> Rejection | None:
        """Go from redirect to redirect by hand, so that each address is checked."""
        place = URL(url)
        for _ in range(_MAX_REDIRECTS + 1):
            self._check(place)
            response = await self._ask(place)
            if response is None:
                return self._stalled("no answer")
            async with response:
                if response.status not in _REDIRECTS:
                    return await self._receive(response, target, done)
                location = response.headers.get("Location")
            if not location:
                return Rejection(Reason.HTTP_ERROR, f"status {response.status} leads nowhere")
            place = place.join(URL(location))
        return Rejection(Reason.HTTP_ERROR, f"more than {_MAX_REDIRECTS} redirects")

    def _check(self, place: URL) -> None:
        """Refuse other schemes, and addresses written as numbers, which no resolver sees."""
        if place.scheme not in {"http", "https"} or not place.host:
            raise RefusedAddressError(f"{str(place)[:100]!r} is not http or https")
        if self._rules.allow_private or not _is_ip_address(place.host):
            return
        if not is_public(place.host):
            raise RefusedAddressError(f"{place.host} is a private address")

    async def _receive(
        self, response: aiohttp.ClientResponse, target: Path, done: Fetched
    ) -> Rejection | None:
        refusal = self._judge(response)
        if refusal:
            return refusal
        received = 0
        with target.open("wb") as file:
            while True:
                part = await self._read_some(response.content)
                if part is None:
                    return self._stalled(f"{received:,} bytes, then fewer than {_LEAST_BYTES:,}")
                if not part:
                    return None
                received += len(part)
                done.received_bytes += len(part)
                if received > self._rules.max_bytes:
                    detail = f"stopped after more than max_bytes {self._rules.max_bytes:,}"
                    return Rejection(Reason.TOO_LARGE, detail)
                file.write(part)

    def _judge(self, response: aiohttp.ClientResponse) -> Rejection | None:
        """Tell from the answer's head why its body is not wanted."""
        if response.status != 200:
            pause = _read_pause(response.headers)
            asked = f", Retry-After {pause:,.0f} s" if pause > 0 else ""
            detail = f"status {response.status} {response.reason}{asked}"
            rejection = Rejection(Reason.HTTP_ERROR, detail)
            if response.status in _PASSING_STATUSES:
                raise _PassingProblem(rejection, pause)
            return rejection
        if self._rules.honour_opt_out and _opts_out(response.headers):
            named = ", ".join(response.headers.getall("X-Robots-Tag"))
            return Rejection(Reason.OPTED_OUT, f"X-Robots-Tag: {named[:100]}")
        limit = self._rules.max_bytes
        if (response.content_length or 0) > limit:
            detail = f"{response.content_length:,} bytes announced, above max_bytes {limit:,}"
            return Rejection(Reason.TOO_LARGE, detail)
        return None

    async def _ask(self, place: URL) -> aiohttp.ClientResponse | None:
        """Give the head of the answer; None where it does not come in time."""
        try:
            async with asyncio.timeout(self._rules.read_timeout_seconds):
                return await self._session.get(place, allow_redirects=False)
        except aiohttp.ServerTimeoutError:
            raise
        except TimeoutError:
            return None

    async def _read_some(self, body: aiohttp.StreamReader) -> bytes | None:
        """Give the next part of a body, empty at its end; None where it comes too slowly."""
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._rules.read_timeout_seconds):
                while size < _LEAST_BYTES and (part := await body.read(_CHUNK_BYTES)):
                    parts.append(part)
                    size += len(part)
        except TimeoutError:
            return None
        return b"".join(parts)

    def _stalled(self, what: str) -> Rejection:
        seconds = f"read_timeout_seconds {self._rules.read_timeout_seconds:g}"
        return Rejection(Reason.TIMED_OUT, f"{what} within {seconds}")


def _read_pause(headers: Mapping[str, str]) -> float:
    """Give the seconds that Retry-After asks for, written as a number or as a date."""
    asked = headers.get("Retry-After", "").strip()
    if asked.isascii() and asked.isdigit():
        return float(asked[:9])
    try:
        return (email.utils.parsedate_to_datetime(asked) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):  # no date, or one without a time zone
        return 0.0


def _opts_out(headers: "CIMultiDictProxy[str]") -> bool:
    """Tell whether the owner asks some bot or all not to train AI on this."""
    words = re.split(r"[\s,:]+", " ".join(headers.getall("X-Robots-Tag", [])).lower())
    return not _OPT_OUTS.isdisjoint(words)


def _is_ip_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _in_words(error: BaseException) -> str:
    return str(error) or type(error).__name__
