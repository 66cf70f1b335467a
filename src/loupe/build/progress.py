"""Show how work on many pictures goes on: rate, time left, failures by reason."""

import logging
import time
from collections import Counter
from types import TracebackType
from typing import Self

from tqdm import tqdm

from loupe.build.journal import Entry
from loupe.build.ledger import Rejection

__all__ = ["Progress", "show_rate"]

WORTH_TELLING_SECONDS = 5
_STORY_SHARE = 0.1
_STORY_SECONDS = 300

logger = logging.getLogger(__name__)


class Progress:
    """A bar at a terminal, else a line from time to time; use it as a context manager.

    `done` is what was done with the pictures, in the last line.
    """

    def __init__(self, total: int, done: str = "Gathered") -> None:
        self._done = done
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
            rate = show_rate(self._counted / seconds)
            logger.info("%s %s pictures, %s", self._done, f"{self._counted:,}", rate)

    def count(self, entry: Entry) -> None:
        """Count one picture that was gathered."""
        self.count_one(entry.outcome if isinstance(entry.outcome, Rejection) else None)

    def count_one(self, failure: Rejection | None) -> None:
        """Count one picture, and why it failed where it did."""
        self._counted += 1
        if failure is not None:
            self._failures[str(failure.reason)] += 1
            self._bar.set_postfix(self._failures, refresh=False)
        if not self._bar.disable:
            self._bar.update()
            return
        now = time.monotonic()
        is_far = self._counted - self._told >= _STORY_SHARE * self._total
        if is_far or now - self._told_at >= _STORY_SECONDS:
            self._tell(now)

    def _tell(self, now: float) -> None:
        if now - self._told_at < WORTH_TELLING_SECONDS or self._counted == self._total:
            return
        self._told, self._told_at = self._counted, now
        rate = self._counted / (now - self._started)
        left = round((self._total - self._counted) / rate)
        failures = "".join(f" · {name} {count:,}" for name, count in self._failures.items())
        logger.info(
            "%3.0f %% · %s pictures, %s · %s left%s",
            100 * self._counted / self._total,
            f"{self._counted:,}",
            show_rate(rate),
            _show_clock(left),
            failures,
        )


def show_rate(per_second: float) -> str:
    """Give a rate in words, with two digits at least where it is not tiny."""
    return f"{per_second:.0f} a second" if per_second >= 9.95 else f"{per_second:.2g} a second"


def _show_clock(seconds: int) -> str:
    minutes, hours = seconds // 60, seconds // 3600
    if not hours:
        return f"{minutes}:{seconds % 60:02}"
    return f"{hours}:{minutes % 60:02}:{seconds % 60:02}"
