"""Numbers and prices as people write them: read where they can mean one thing only, else refused.

The library price-parser was weighed. It reads "from 12 to 15 EUR" as 12, "1.290" as 1290, "-5 €" as
5 and "Free" as 0, so each text would need these checks first; after them nothing is left to parse.
"""

import re
from collections.abc import Iterable
from decimal import Decimal

__all__ = [
    "MARKS",
    "SIGNED_CURRENCIES",
    "find_mark",
    "is_currency",
    "may_be_two",
    "means_currency",
    "read_amount",
]

MARKS = {"point": ".", "comma": ","}
_MOST_DIGITS = 18  # which fit an int64
_SHAPE = re.compile(
    r"(?P<sign>-?)(?P<before>[^\d\s.,'-][^\d]*?)? ?(?P<inner>-?)"
    r"(?P<digits>\d[\d.,' ]*(?:(?<=[.,])--?)?)(?<! ) ?(?P<after>[^\d\s.,'-][^\d]*)?",
    re.ASCII,
)
_QUOTES_AND_DASHES = str.maketrans(
    {"’": "'", "‘": "'", "´": "'", "`": "'", "−": "-", "–": "-", "—": "-"}
    | dict.fromkeys("\u200e\u200f\u2060\ufeff", "")
)
_AMOUNTS = {
    mark: re.compile(
        rf"(\d+|[1-9]\d{{0,2}}(?P<gap>[{other}' ])(?:\d{{2,3}}(?P=gap))*\d{{3}})"
        rf"(?:[{mark}](\d+|--?))?",
        re.ASCII,
    )
    for mark, other in ((".", ","), (",", "."))
}
_SIGNS = {
    "$": "USD CAD AUD NZD SGD HKD TWD MXN ARS CLP COP", "us$": "USD", "ca$": "CAD", "c$": "CAD",
    "au$": "AUD", "a$": "AUD", "nz$": "NZD", "s$": "SGD", "hk$": "HKD", "nt$": "TWD", "mx$": "MXN",
    "r$": "BRL", "€": "EUR", "euro": "EUR", "euros": "EUR", "£": "GBP", "¥": "JPY CNY",
    "￥": "JPY CNY", "円": "JPY", "元": "CNY", "cn¥": "CNY", "rmb": "CNY", "₩": "KRW", "원": "KRW",
    "₹": "INR", "rs": "INR PKR", "rs.": "INR PKR", "₽": "RUB", "руб.": "RUB", "zł": "PLN",
    "kč": "CZK", "kr": "SEK NOK DKK ISK", "kr.": "SEK NOK DKK ISK", "ft": "HUF", "lei": "RON",
    "₺": "TRY", "tl": "TRY", "₴": "UAH", "₪": "ILS", "฿": "THB", "₫": "VND", "đ": "VND",
    "₱": "PHP", "rp": "IDR", "rm": "MYR", "fr.": "CHF", "sfr.": "CHF", "د.إ.": "AED", "r": "ZAR",
    "ر.س.": "SAR",
}  # fmt: skip
SIGNED_CURRENCIES = frozenset(" ".join(_SIGNS.values()).split())
_ISO_4217 = """
AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD
CAD CDF CHF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP
GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD
KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN
NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP
SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VES VND
VUV WST XAF XCD XOF XPF YER ZAR ZMW ZWG
"""  # money in use in 2024
_CODES = frozenset(_ISO_4217.split())


def read_amount(text: str, mark: str | None, *, is_strict: bool) -> tuple[Decimal, list[str]]:
    """Read a number, and the words around it.

    `mark` is the decimal mark where both are possible; None refuses such a text. A strict mark
    refuses whatever is written with the other.

    >>> read_amount("1.290,00 €", None, is_strict=False)
    (Decimal('1290.00'), ['€'])

    Raises:
        ValueError: the text is not one number, or may be two; the message says so.
    """
    words, readings = _split(text)
    if is_strict and mark not in readings and readings:
        raise ValueError(f"{text[:60]!r} is not written with the decimal mark {mark!r}")
    found = {readings[mark]} if mark in readings else set(readings.values())
    if not found:
        raise ValueError(f"{text[:60]!r} is not one number such as 1290.0 or 1.290,00 €")
    if len(found) > 1:
        one, other = sorted(found)
        raise ValueError(
            f"{text[:60]!r} may be {one.normalize():f} or {other.normalize():f}, and no other cell "
            "of the column tells; say --decimal-mark point or comma"
        )
    return found.pop(), words


def find_mark(texts: Iterable[str]) -> str | None:
    """Give the decimal mark that all texts agree on which can be read in one way only."""
    marks: set[str] = set()
    for text in texts:
        _, readings = _split(text)
        if len(readings) == 1:
            marks.update(readings)
    return marks.pop() if len(marks) == 1 else None


def may_be_two(text: str) -> bool:
    """Tell whether a text is one number by a decimal point and another by a decimal comma."""
    return len(set(_split(text)[1].values())) > 1


def means_currency(word: str, code: str) -> bool | None:
    """Tell whether a word or sign can stand for a currency; None where it stands for none."""
    codes = _SIGNS.get(word.lower(), word.upper()).split()
    return code in codes if code in codes or _CODES.intersection(codes) else None


def is_currency(code: str) -> bool:
    """Tell whether a code names a currency (ISO 4217)."""
    return code in _CODES


def _split(text: str) -> tuple[list[str], dict[str, Decimal]]:
    """Give the words of a text, and what its number is by either decimal mark."""
    shape = _SHAPE.fullmatch(" ".join(text.translate(_QUOTES_AND_DASHES).split()))
    has_other_digits = any(char.isdigit() and not char.isascii() for char in text)  # as in 5²
    if shape is None or has_other_digits or (shape["sign"] and shape["inner"]):
        return [], {}
    readings = {}
    for mark, pattern in _AMOUNTS.items():
        amount = pattern.fullmatch(shape["digits"])
        if amount:
            whole, fraction = re.sub(r"\D", "", amount[1]), (amount[3] or "").strip("-")
            if len(whole) + len(fraction) <= _MOST_DIGITS:
                readings[mark] = Decimal(f"{shape['sign']}{shape['inner']}{whole}.{fraction or 0}")
    return f"{shape['before'] or ''} {shape['after'] or ''}".split(), readings
