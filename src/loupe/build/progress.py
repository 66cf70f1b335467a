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
_STORY_SHARE = 0.1

logger = logging.getLogger(__name__)


class Progress:
    """A bar at a terminal, else a line from time to time; use it as a context manager."""

    def __init__(self, total: int) -> None:
        self._bar = tqdm(total=total, desc="pictures", unit="picture", disable=None)
        self._total = total
        self._failures = Counter[str]()
        self._counted = 0
        self._started = time.monotonic()
        self._told, self._told_at = 0, self._started

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
        if not self._bar.disable:
            self._bar.update()
        elif self._counted - self._told >= _STORY_SHARE * self._total:
            self._tell(time.monotonic())

    def _tell(self, now: float) -> None:
        if now - self._told_at < WORTH_TELLING_SECONDS or self._counted == self._total:
            return
        self._told, self._told_at = self._counted, now
        rate = self._counted / (now - self._started)
        left = round((self._total - self._counted) / rate)
        failures = "".join(f" · {name} {count:,}" for name, count in self._failures.items())
        logger.info(
            "%3.0f %% · %s pictures, %.0f a second · %d:%02d left%s",
            100 * self._counted / self._total,
            f"{self._counted:,}",
            rate,
            *divmod(left, 60),
            failures,
        )
