"""Which encoding a text file is in, by a rule that never guesses unsaid."""

import codecs
import logging
from pathlib import Path

from loupe.errors import BuildError

__all__ = ["find_encoding"]

logger = logging.getLogger(__name__)

_MARKS = (  # a UTF-32 mark begins with UTF-16's, so it comes first
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CHUNK_BYTES = 2**20


def find_encoding(path: Path, asked: str | None) -> str:
    """Give the encoding asked for, else the file's mark, else UTF-8, else Windows-1252, said aloud.

    Without a mark, zeros at every second byte tell UTF-16. Windows-1252 prints what Latin-1 prints.

    Raises:
        BuildError: the bytes do not fit the encoding.
    """
    with path.open("rb") as file:
        start = file.read(4096)
    found = asked or _read_mark(start) or ("utf-8" if b"\0" not in start else _which_utf16(start))
    problem = _find_misfit(path, found)
    if problem is None:
        return found
    if asked is None and found == "utf-8" and _find_misfit(path, "cp1252") is None:
        logger.warning(
            "Table %r is not UTF-8 (%s): read as Windows-1252, which contains Latin-1. Say "
            "--encoding NAME where accents come out wrong.", str(path), problem,
        )  # fmt: skip
        return "cp1252"
    expected = f"not {found} text" if asked or found != "utf-8" else "neither UTF-8 nor Latin-1"
    raise BuildError(
        f"Table {str(path)!r} is {expected} ({problem}). Save it as UTF-8, or name its encoding "
        "with --encoding."
    )


def _read_mark(start: bytes) -> str | None:
    return next((name for mark, name in _MARKS if start.startswith(mark)), None)


def _which_utf16(start: bytes) -> str:
    """Latin letters have their zero second in little-endian text, first in big-endian text."""
    return "utf-16-le" if start[1::2].count(0) >= start[::2].count(0) else "utf-16-be"


def _find_misfit(path: Path, encoding: str) -> str | None:
    """Say where the bytes of a file do not fit an encoding; None where they all do."""
    try:
        "".encode(encoding)  # which fails for what is no encoding of text, such as zip
        decoder = codecs.getincrementaldecoder(encoding)()
    except LookupError:
        raise BuildError(
            f"There is no encoding {encoding!r}. Name one that Python knows, such as utf-16, "
            "cp1251 or shift_jis, with --encoding."
        ) from None
    read = 0
    with path.open("rb") as file:
        while True:
            chunk = file.read(_CHUNK_BYTES)
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeError as error:
                byte = getattr(error, "start", 0)
                return f"near byte {read + byte}: {getattr(error, 'reason', error)}"
            if not chunk:
                return None
            read += len(chunk)
