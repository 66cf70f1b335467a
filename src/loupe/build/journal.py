"""The file in which the fate of each picture is noted at once, so that a killed build goes on."""

import errno
import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from loupe.build.hashing import hash_text
from loupe.build.ledger import Reason, Rejection
from loupe.build.pictures import HASH_BYTES, CheckedPicture

__all__ = ["Entry", "Journal", "picture_file"]

_UNKNOWN = -1

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """What became of one picture, and what it cost; `attempts` is 0 where nothing was fetched."""

    outcome: CheckedPicture | Rejection
    attempts: int = 0
    received_bytes: int = 0
    seconds: float = 0.0


def picture_file(spool: Path, key: int) -> Path:
    """Name the file of a picture that is fetched; the folders keep each other small."""
    name = f"{key:016x}"
    return spool / name[:2] / f"{name}.fetched"


class Journal:
    """One JSON line for each picture, written when its fate is known, and read back by its place.

    `terms` are the options that an entry depends on: what was noted under others is dropped. With
    `forget_failed`, so are downloads that failed.
    In memory stand, by place in the order of `place_keys`: whether the picture was `kept`, and
    the hashes by which pictures are compared, `pixels` and `perceptual` (places, HASH_BYTES).
    """

    def __init__(
        self,
        path: Path,
        spool: Path,
        place_keys: npt.NDArray[np.uint64],
        terms: dict[str, Any],
        *,
        forget_failed: bool = False,
    ) -> None:
        self._spool = spool
        self._keys = place_keys
        self._offsets = np.full(len(place_keys), _UNKNOWN, np.int64)
        self.kept = np.zeros(len(place_keys), np.bool_)
        self.pixels = np.zeros(len(place_keys), np.uint64)
        self.perceptual = np.zeros((len(place_keys), HASH_BYTES), np.uint8)
        self._writer = path.open("ab", buffering=0)
        with path.open("rb") as noted_before:
            self._take_up(noted_before, terms, forget_failed=forget_failed)
        self._reader = path.open("rb")

    def close(self) -> None:
        """Close the file; no line was held back."""
        self._writer.close()
        self._reader.close()

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """Tell of each place whether its fate is known."""
        known: npt.NDArray[np.bool_] = self._offsets != _UNKNOWN
        return known

    def write(self, key: int, entry: Entry) -> None:
        """Note a fate.

        Raises:
            OSError: the disk is full; what was noted before stays readable.
        """
        outcome = dict(vars(entry.outcome))  # asdict would copy each value
        if isinstance(entry.outcome, CheckedPicture):
            outcome["path"] = str(entry.outcome.path).removeprefix(f"{self._spool}/")
        state = "kept" if "path" in outcome else "rejected"
        line = {"key": f"{key:016x}", "state": state, **vars(entry), "outcome": outcome}
        self._note(key, self._append(line), entry)

    def read(self, place: int) -> Entry:
        """Give the fate of a place that is known."""
        self._reader.seek(int(self._offsets[place]))
        return self._parse(json.loads(self._reader.readline()))

    def _take_up(self, lines: BinaryIO, terms: dict[str, Any], *, forget_failed: bool) -> None:
        """Read what an earlier build noted, but for a last line that it did not finish."""
        start = lines.readline()
        if start != json.dumps({"terms": terms}).encode() + b"\n":
            if start:
                logger.warning("The options of the pictures have changed: fetching starts anew")
            self._writer.truncate(0)
            self._append({"terms": terms})
            return
        offset = len(start)
        for line in lines:
            if not line.endswith(b"\n"):
                break
            noted = json.loads(line)
            entry = self._parse(noted)
            failed = entry.attempts > 0 and isinstance(entry.outcome, Rejection)
            if self._is_usable(entry) and not (failed and forget_failed):
                self._note(int(noted["key"], 16), offset, entry)
            offset += len(line)
        self._writer.truncate(offset)

    def _append(self, line: dict[str, Any]) -> int:
        offset = self._writer.seek(0, os.SEEK_END)
        encoded = json.dumps(line).encode() + b"\n"
        if self._writer.write(encoded) < len(encoded):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._writer.name)
        return offset

    def _note(self, key: int, offset: int, entry: Entry) -> None:
        place = int(np.searchsorted(self._keys, np.uint64(key)))
        if place == len(self._keys) or self._keys[place] != key:
            return  # noted by a build of a table that had other pictures
        self._offsets[place] = offset
        if isinstance(entry.outcome, CheckedPicture):
            self.kept[place] = True
            self.pixels[place] = hash_text(f"picture {entry.outcome.pixel_sha256}")
            content = entry.outcome.perceptual_hash.to_bytes(HASH_BYTES, "big")
            self.perceptual[place] = np.frombuffer(content, np.uint8)

    def _parse(self, noted: dict[str, Any]) -> Entry:
        found = noted["outcome"]
        outcome: CheckedPicture | Rejection = (
            CheckedPicture(**found | {"path": self._spool / found["path"]})
            if noted["state"] == "kept"
            else Rejection(Reason(found["reason"]), found["detail"])
        )
        return Entry(outcome, noted["attempts"], noted["received_bytes"], noted["seconds"])

    @staticmethod
    def _is_usable(entry: Entry) -> bool:
        """Tell whether the picture is still there in its length: a power cut may have lost it."""
        picture = entry.outcome
        if isinstance(picture, Rejection):
            return True
        return picture.path.is_file() and picture.path.stat().st_size == picture.size_bytes
