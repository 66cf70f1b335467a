"""Show how gathering goes on: rate, time left, failures by reason."""

import logging
import time
from collections import Counter
from types import TracebackType
from typing import Self

from tqdm import tqdm

from loupe.build.journal import Entry
from loupe.build.ledger import Rejection

__all__ = ["Progress"]

WORTH_TELLING_SECONDS = 5

logger = logging.getLogger(__name__)


class Progress:
    """A bar on stderr, only at a terminal; use it as a context manager."""

    def __init__(self, total: int) -> None:
        self._bar = tqdm(total=total, desc="pictures", unit="picture", disable=None)
        self._failures = Counter[str]()
        self._counted = 0
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()
        seconds = time.monotonic() - self._started
        if seconds >= WORTH_TELLING_SECONDS and error is None:
            rate = self._counted / seconds
            logger.info("Gathered %s pictures, %.0f a second", f"{self._counted:,}", rate)

    def count(self, entry: Entry) -> None:
        """Count one picture."""
        self._counted += 1
        if isinstance(entry.outcome, Rejection):
            self._failures[str(entry.outcome.reason)] += 1
            self._bar.set_postfix(self._failures, refresh=False)
        self._bar.update()
