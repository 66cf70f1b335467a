"""Field text inside an answer: escaped where it could be misread, and restored."""

import re
import unicodedata

__all__ = ["escape", "protect", "unescape"]

_ESCAPE = re.compile(r"\\(\\|n|u[0-9a-f]{4}|U[0-9a-f]{8})")
_TOKEN_OPENER = re.compile(r"[<\[](?=[^\s\d])")  # <|end|>, </s>, <image>, [INST]
_WORD_MARK = "\u2581"  # SentencePiece's space: a tokenizer decodes it to one


def escape(text: str) -> str:
    """Write line ends, outer spaces, unprintable characters and token look-alikes as escapes."""
    escaped = text.replace("\\", "\\\\").replace("\n", "\\n")
    escaped = _TOKEN_OPENER.sub(lambda match: _code(match.group()), escaped)
    escaped = "".join(_code(char) if _is_unprintable(char) else char for char in escaped)
    core = escaped.strip()
    start = escaped.index(core) if core else 0
    outer = escaped[:start], escaped[start + len(core) :]
    return "".join(map(_code, outer[0])) + core + "".join(map(_code, outer[1]))


def _is_unprintable(char: str) -> bool:
    return char == _WORD_MARK or unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"}


def _code(char: str) -> str:
    return f"\\u{ord(char):04x}" if ord(char) <= 0xFFFF else f"\\U{ord(char):08x}"


def unescape(text: str) -> str:
    """Restore what `escape` and `protect` wrote; anything else stays as it is."""

    def restore(match: re.Match[str]) -> str:
        kind = match.group(1)
        if kind in {"\\", "n"}:
            return "\n" if kind == "n" else "\\"
        code = int(kind[1:], 16)
        return chr(code) if code <= 0x10FFFF else match.group()

    return _ESCAPE.sub(restore, text)


def protect(text: str, separator: str) -> str:
    """Escape the begin of each earlier occurrence of the separator that will follow the text."""
    while separator and (at := (text + separator).find(separator)) != len(text):
        text = text[:at] + _code(text[at]) + text[at + 1 :]
    return text
