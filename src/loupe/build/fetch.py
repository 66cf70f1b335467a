"""Fetch one picture over http(s) into a file, within limits of bytes, time and addresses."""

import asyncio
import ipaddress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp
from yarl import URL

from loupe.build.addresses import PublicResolver, RefusedAddressError, is_public
from loupe.build.ledger import Reason, Rejection

__all__ = ["FetchRules", "Fetcher"]

_USER_AGENT = "loupe-vlm (builds picture datasets)"
_MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PASSING_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
_FIRST_PAUSE_SECONDS = 0.25  # doubled with each further attempt
_CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True)
class FetchRules:
    """Limits of one download; `timeout_seconds` bounds it whole, redirects and retries included."""

    timeout_seconds: float
    max_bytes: int
    retries: int
    allow_private: bool


class _PassingProblem(Exception):  # noqa: N818 - a rejection that may heal, not an error
    """A failure that another attempt may not meet."""

    def __init__(self, rejection: Rejection) -> None:
        super().__init__(rejection.detail)
        self.rejection = rejection


class Fetcher:
    """An http client that writes bodies to files; use it as an async context manager."""

    def __init__(self, rules: FetchRules, concurrency: int) -> None:
        self._rules = rules
        resolver = None if rules.allow_private else PublicResolver()
        connector = aiohttp.TCPConnector(limit=concurrency, resolver=resolver)
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=None),  # `fetch` bounds the whole time itself
            headers={"User-Agent": _USER_AGENT, "Accept": "image/*,*/*;q=0.5"},
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

    async def fetch(self, url: str, target: Path) -> Rejection | None:
        """Write the body behind a URL to a file; give the reason where that fails.

        Raises:
            OSError: the file cannot be written.
        """
        last: Rejection | None = None
        try:
            async with asyncio.timeout(self._rules.timeout_seconds):
                for attempt in range(self._rules.retries + 1):
                    if attempt:
                        await asyncio.sleep(_FIRST_PAUSE_SECONDS * 2 ** (attempt - 1))
                    try:
                        return await self._attempt(url, target)
                    except _PassingProblem as problem:
                        last = problem.rejection
        except TimeoutError:
            seconds = f"not done after timeout_seconds {self._rules.timeout_seconds:g}"
            before = f"; an earlier attempt: {last.detail}" if last else ""
            return Rejection(Reason.TIMED_OUT, seconds + before)
        return last

    async def _attempt(self, url: str, target: Path) -> Rejection | None:
        try:
            return await self._follow(url, target)
        except (RefusedAddressError, aiohttp.InvalidURL, ValueError) as error:
            return Rejection(Reason.REFUSED_ADDRESS, _in_words(error))
        except aiohttp.ClientPayloadError as error:
            problem = Rejection(Reason.TRUNCATED, f"the body broke off: {_in_words(error)}")
            raise _PassingProblem(problem) from error
        except (aiohttp.ClientError, ConnectionError) as error:
            raise _PassingProblem(Rejection(Reason.UNREACHABLE, _in_words(error))) from error

    async def _follow(self, url: str, target: Path) -> Rejection | None:
        """Go from redirect to redirect by hand, so that each address is checked."""
        place = URL(url)
        for _ in range(_MAX_REDIRECTS + 1):
            self._check(place)
            async with self._session.get(place, allow_redirects=False) as response:
                if response.status not in _REDIRECTS:
                    return await self._receive(response, target)
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

    async def _receive(self, response: aiohttp.ClientResponse, target: Path) -> Rejection | None:
        if response.status != 200:
            rejection = Rejection(Reason.HTTP_ERROR, f"status {response.status} {response.reason}")
            if response.status in _PASSING_STATUSES:
                raise _PassingProblem(rejection)
            return rejection
        limit = self._rules.max_bytes
        if (response.content_length or 0) > limit:
            detail = f"{response.content_length:,} bytes announced, above max_bytes {limit:,}"
            return Rejection(Reason.TOO_LARGE, detail)
        received = 0
        with target.open("wb") as file:
            async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
                received += len(chunk)
                if received > limit:
                    detail = f"stopped after more than max_bytes {limit:,}"
                    return Rejection(Reason.TOO_LARGE, detail)
                file.write(chunk)
        return None


def _is_ip_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _in_words(error: BaseException) -> str:
    return str(error) or type(error).__name__
