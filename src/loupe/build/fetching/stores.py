"""Fetch one object of a store, such as s3:// or gs://, into a file through fsspec."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loupe.build.fetching.fetch import Fetched
from loupe.build.ledger import Reason, Rejection
from loupe.errors import BuildError, OptionError

__all__ = ["Stores", "open_store"]

_NEVER = frozenset({"file", "local", "http", "https"})  # paths and links have checks of their own


class Stores:
    """Object stores by the scheme of their URLs; their libraries try again by themselves."""

    def __init__(self, schemes: Sequence[str], timeout_seconds: float, max_bytes: int) -> None:
        self._stores = {scheme: open_store(scheme) for scheme in schemes}
        self._timeout_seconds = timeout_seconds
        self._max_bytes = max_bytes

    async def fetch(self, url: str, target: Path) -> Fetched:
        """Write an object to a file.

        Raises:
            BuildError: the store itself cannot be used, for want of credentials say.
            OSError: the file cannot be written.
        """
        done = Fetched(attempts=1)
        try:
            async with asyncio.timeout(self._timeout_seconds):
                content = await asyncio.to_thread(self._read, url)
        except TimeoutError:
            detail = f"not done after timeout_seconds {self._timeout_seconds:g}"
            content = Rejection(Reason.TIMED_OUT, detail)
        if isinstance(content, Rejection):
            done.rejection = content
            return done
        done.received_bytes = len(content)
        if len(content) > self._max_bytes:
            detail = f"stopped after more than max_bytes {self._max_bytes:,}"
            done.rejection = Rejection(Reason.TOO_LARGE, detail)
            return done
        target.write_bytes(content)
        return done

    def _read(self, url: str) -> bytes | Rejection:
        store = self._stores[url.partition("://")[0].lower()]
        try:
            # Only the store's own methods take the URL: fsspec.open would also follow "::" in it.
            content: bytes = store.cat_file(url, start=0, end=self._max_bytes + 1)
        except (FileNotFoundError, PermissionError) as error:
            return Rejection(Reason.MISSING_PICTURE, f"{url[:200]!r}: {type(error).__name__}")
        except OSError as error:
            return Rejection(Reason.UNREACHABLE, f"{url[:200]!r}: {error}")
        except Exception as error:  # each store's library has errors of its own
            raise BuildError(
                f"The store of {url[:200]!r} cannot be used: {type(error).__name__}: {error}. "
                "Check the credentials that its library finds."
            ) from error
        return content


def open_store(scheme: str) -> Any:
    """Give fsspec's file system for a scheme.

    Raises:
        OptionError: there is none, its package is not installed, or it is never used.
    """
    import fsspec

    if scheme in _NEVER:
        raise OptionError(
            f"stores names {scheme!r}, which is no store: links are always fetched, and paths "
            "start from picture_root. Drop it."
        )
    try:
        return fsspec.filesystem(scheme)
    except (ValueError, ImportError) as error:
        raise OptionError(f"stores names {scheme!r}, which cannot be used: {error}") from error
