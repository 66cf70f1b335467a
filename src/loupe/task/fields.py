"""The kinds of field: how a value is typed, written into an answer, read back and described."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, ClassVar, Protocol

from loupe.errors import TaskError
from loupe.task.text import escape, unescape

__all__ = [
    "ChoiceField",
    "Field",
    "IntegerField",
    "NumberField",
    "PriceField",
    "TextField",
    "field_settings",
    "make_field",
]


class Field(Protocol):
    """A kind of field: how a value is typed, written into an answer, read back and described.

    `normalise` and `parse` raise ValueError with the problem in words.
    """

    type: ClassVar[str]

    def normalise(self, value: Any) -> Any:
        """Give the typed value of a table's cell."""

    def format(self, value: Any) -> str:
        """Write a typed value as answer text."""

    def parse(self, text: str) -> Any:
        """Read a typed value off answer text."""

    def json_schema(self) -> dict[str, Any]:
        """Describe the typed value as JSON Schema."""


@dataclass(frozen=True)
class TextField:
    """Any text that is not empty."""

    type: ClassVar[str] = "text"

    def normalise(self, value: Any) -> str:
        """Give the cell as text, unchanged."""
        return str(value)

    def format(self, value: str) -> str:
        """Write the text with line ends, outer spaces and token look-alikes escaped."""
        return escape(value)

    def parse(self, text: str) -> str:
        """Read the text, escapes restored."""
        value = unescape(text)
        if not value.strip():
            raise ValueError("the text is empty")
        return value

    def json_schema(self) -> dict[str, Any]:
        """Describe a text."""
        return {"type": "string", "minLength": 1}


@dataclass(frozen=True)
class ChoiceField:
    """One of a closed set of texts; None means that the set is not known yet."""

    type: ClassVar[str] = "choice"
    choices: tuple[str, ...] | None = None

    def normalise(self, value: Any) -> str:
        """Give the cell as text of the set."""
        return self._member(str(value))

    def format(self, value: str) -> str:
        """Write the choice as text."""
        return escape(value)

    def parse(self, text: str) -> str:
        """Read a choice of the set."""
        return self._member(unescape(text))

    def json_schema(self) -> dict[str, Any]:
        """Describe the set, or a text where it is not known."""
        return (
            {"type": "string", "minLength": 1}
            if self.choices is None
            else {"enum": list(self.choices)}
        )

    def _member(self, value: str) -> str:
        if self.choices is not None and value not in self.choices:
            raise ValueError(f"{value!r} is not one of the {len(self.choices)} choices")
        if not value.strip():
            raise ValueError("the choice is empty")
        return value


@dataclass(frozen=True)
class NumberField:
    """A number with a fixed count of decimals."""

    type: ClassVar[str] = "number"
    decimals: int = 2

    def normalise(self, value: Any) -> float:
        """Give the cell as a float, rounded to the declared decimals."""
        return _rounded(value, self.decimals)

    def format(self, value: float) -> str:
        """Write the number with all its decimals."""
        return f"{value:.{self.decimals}f}"

    def parse(self, text: str) -> float:
        """Read a plain decimal number."""
        return _rounded(_plain(text, r"-?\d+(\.\d+)?"), self.decimals)

    def json_schema(self) -> dict[str, Any]:
        """Describe a number."""
        return {"type": "number"}


@dataclass(frozen=True)
class PriceField:
    """An amount of money, at least 0, in one currency."""

    type: ClassVar[str] = "price"
    currency: str = "USD"
    decimals: int = 2

    def normalise(self, value: Any) -> float:
        """Give the cell as an amount, rounded to the declared decimals."""
        amount = _rounded(value, self.decimals)
        if amount < 0:
            raise ValueError(f"{value!r} is below 0")
        return amount

    def format(self, value: float) -> str:
        """Write the amount with all its decimals, without the currency."""
        return f"{value:.{self.decimals}f}"

    def parse(self, text: str) -> float:
        """Read a plain amount."""
        return _rounded(_plain(text, r"\d+(\.\d+)?"), self.decimals)

    def json_schema(self) -> dict[str, Any]:
        """Describe an amount; its unit is the currency."""
        return {"type": "number", "minimum": 0, "description": f"in {self.currency}"}


@dataclass(frozen=True)
class IntegerField:
    """A whole number."""

    type: ClassVar[str] = "integer"

    def normalise(self, value: Any) -> int:
        """Give the cell as a whole number; a fraction is refused, not cut off."""
        number = _decimal(value)
        if number != number.to_integral_value():
            raise ValueError(f"{value!r} is not a whole number")
        return int(number)

    def format(self, value: int) -> str:
        """Write the number."""
        return str(value)

    def parse(self, text: str) -> int:
        """Read a whole number."""
        return int(_plain(text, r"-?\d+"))

    def json_schema(self) -> dict[str, Any]:
        """Describe a whole number."""
        return {"type": "integer"}


_FIELD_CLASSES: dict[str, type[Any]] = {
    kind.type: kind for kind in (TextField, ChoiceField, PriceField, IntegerField, NumberField)
}


def make_field(task_name: str, name: str, declared: Any) -> Field:
    """Make a field of its declaration; `task_name` begins the messages of errors.

    Raises:
        TaskError: the type or a setting is unknown.
    """
    if not isinstance(declared, dict) or declared.get("type") not in _FIELD_CLASSES:
        raise TaskError(
            f"{task_name}: field {name!r} is declared as {declared!r}; expected a mapping whose "
            f"type is one of {', '.join(_FIELD_CLASSES)}."
        )
    settings = {key: value for key, value in declared.items() if key != "type"}
    field_class = _FIELD_CLASSES[declared["type"]]
    known = getattr(field_class, "__dataclass_fields__", {})
    unknown = sorted(set(settings) - {key for key in known if key != "type"})
    if unknown:
        raise TaskError(f"{task_name}: field {name!r} has unknown settings {unknown}.")
    if settings.get("choices") is not None:
        settings["choices"] = tuple(str(choice) for choice in settings["choices"])
    made: Field = field_class(**settings)
    return made


def field_settings(field: Any) -> dict[str, Any]:
    """Give the settings of a field that are set, as plain data."""
    settings = {key: value for key, value in asdict(field).items() if value is not None}
    return {k: list(v) if isinstance(v, tuple) else v for k, v in settings.items()}


def _plain(text: str, pattern: str) -> str:
    if not re.fullmatch(pattern, text.strip(), re.ASCII):
        raise ValueError(f"{text[:40]!r} is not a plain number")
    return text.strip()


def _decimal(value: Any) -> Decimal:
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        number = Decimal("nan")
    if isinstance(value, bool) or not number.is_finite():
        raise ValueError(f"{value!r} is not a plain number such as 1290.0")
    return number


def _rounded(value: Any, decimals: int) -> float:
    try:
        return float(round(_decimal(value), decimals))
    except InvalidOperation as error:
        raise ValueError(f"{value!r} has more digits than an amount can have") from error
