"""The question, the answer template and its typed fields: one declaration, seven uses.

The default is the task of the best-known tutorial, to the letter. Field text is data: whatever
could be read as a delimiter of the template or as a special token is escaped when an answer is
written and restored when it is parsed, so that formatting and then parsing gives the values back.
"""

from __future__ import annotations

import math
import re
import string
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, ClassVar, Protocol

import yaml

from loupe.errors import TaskError

__all__ = [
    "Answer",
    "ChoiceField",
    "Field",
    "FieldError",
    "IntegerField",
    "NumberField",
    "PriceField",
    "Task",
    "TextField",
]

_MISSING = frozenset({"", "n.a.", "n/a", "nan"})
_ESCAPE = re.compile(r"\\(\\|n|u[0-9a-f]{4}|U[0-9a-f]{8})")
_TOKEN_OPENER = re.compile(r"[<\[](?=[^\s\d])")  # <|end|>, </s>, <image>, [INST]
_WORD_MARK = "\u2581"  # SentencePiece's space: a tokenizer decodes it to one
_BACKSLASH_HOLDER = "\\\\"


class FieldError(ValueError):
    """A value of a row that its field does not take: the row's problem, not the run's."""

    def __init__(self, field: str, problem: str, *, is_missing: bool = False) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem
        self.is_missing = is_missing


@dataclass(frozen=True)
class Answer:
    """What a model said: its text, and the values where the text fits the task.

    `values` is None where the text does not parse; `problem` then says why.
    """

    text: str
    values: dict[str, Any] | None
    problem: str | None = None


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
        return _escape(value)

    def parse(self, text: str) -> str:
        """Read the text, escapes restored."""
        value = _unescape(text)
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
        return _escape(value)

    def parse(self, text: str) -> str:
        """Read a choice of the set."""
        return self._member(_unescape(text))

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

_TUTORIAL = {
    "question": "What is shown in this image?",
    "answer": "Product: {title}, Category: {category3_code}, Full Price: {full_price}",
    "fields": {
        "title": {"type": "text"},
        "category3_code": {"type": "choice"},
        "full_price": {"type": "price", "currency": "USD", "decimals": 1},
    },
}


@dataclass(frozen=True)
class Task:
    """What is asked of a picture, and the form and types of the answer.

    Raises:
        TaskError: the template and the fields do not fit each other.
    """

    question: str
    answer: str
    fields: dict[str, Field]

    def __post_init__(self) -> None:
        _check_template(self)

    @classmethod
    def load(cls, path: str | Path | None = None) -> Task:
        """Read a task file; None gives the tutorial's task.

        Raises:
            TaskError: the file is missing, is not YAML or does not declare a task.
        """
        if path is None:
            return cls.from_dict(_TUTORIAL)
        try:
            declared = yaml.safe_load(Path(path).read_text("utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise TaskError(
                f"Task file {str(path)!r} cannot be read as YAML ({error}). "
                "It needs the keys question, answer and fields."
            ) from error
        return cls.from_dict(declared, name=f"Task file {str(path)!r}")

    @classmethod
    def from_dict(cls, declared: Any, *, name: str = "The task") -> Task:
        """Make a task of its declaration; `name` begins the messages of errors."""
        if not isinstance(declared, dict) or set(declared) != {"question", "answer", "fields"}:
            found = sorted(declared) if isinstance(declared, dict) else type(declared).__name__
            raise TaskError(f"{name} needs the keys question, answer and fields; it has {found}.")
        if not isinstance(declared["fields"], dict) or not declared["fields"]:
            raise TaskError(f"{name} declares no fields; expected at least one under `fields`.")
        fields = {key: _make_field(name, key, value) for key, value in declared["fields"].items()}
        return cls(str(declared["question"]), str(declared["answer"]), fields)

    def to_dict(self) -> dict[str, Any]:
        """Give the declaration, as plain data."""
        fields = {
            key: {"type": field.type, **_settings(field)} for key, field in self.fields.items()
        }
        return {"question": self.question, "answer": self.answer, "fields": fields}

    def save(self, path: str | Path) -> None:
        """Write the declaration as a task file."""
        text = yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True)
        Path(path).write_text(text, "utf-8")

    def normalise(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Give the typed values of the fields, in the order of the template.

        Raises:
            FieldError: a value is missing or malformed.
        """
        return {name: self._normalise_field(name, row.get(name)) for name in self.fields}

    def format(self, row: Mapping[str, Any]) -> str:
        """Write a row as answer text.

        Raises:
            FieldError: a value is missing or malformed.
        """
        values = self.normalise(row)
        parts = []
        for literal, name, following in _template_parts(self.answer):
            text = self.fields[name].format(values[name])
            parts += [literal, _protect(text, following)]
        return "".join(parts) + _template_end(self.answer)

    def parse(self, text: str) -> Answer:
        """Read the typed values off an answer."""
        values: dict[str, Any] = {}
        rest = text.strip()
        for literal, name, following in _template_parts(self.answer):
            if not rest.startswith(literal):
                return Answer(
                    text, None, f"expected {literal!r} before {name}, found {rest[:40]!r}"
                )
            rest = rest[len(literal) :]
            end = rest.find(following) if following else len(rest)
            if end < 0:
                return Answer(text, None, f"expected {following!r} after {name}")
            try:
                values[name] = self.fields[name].parse(rest[:end])
            except ValueError as error:
                return Answer(text, None, f"{name}: {error}")
            rest = rest[end:]
        if rest != _template_end(self.answer):
            return Answer(text, None, f"text after the answer's end: {rest[:40]!r}")
        return Answer(text, values)

    def with_choices(self, rows: Iterable[Mapping[str, Any]]) -> Task:
        """Close the sets of choice fields that are not listed, as the values of these rows."""
        open_sets: dict[str, set[str]] = {
            name: set()
            for name, field in self.fields.items()
            if isinstance(field, ChoiceField) and field.choices is None
        }
        for row in rows:
            for name, found in open_sets.items():
                found.add(str(row[name]))
        closed = {name: ChoiceField(tuple(sorted(found))) for name, found in open_sets.items()}
        return replace(self, fields={**self.fields, **closed})

    def json_schema(self) -> dict[str, Any]:
        """Describe the values of an answer as JSON Schema."""
        return {
            "type": "object",
            "properties": {name: field.json_schema() for name, field in self.fields.items()},
            "required": list(self.fields),
            "additionalProperties": False,
        }

    def _normalise_field(self, name: str, value: Any) -> Any:
        if is_missing(value):
            raise FieldError(name, f"the value is missing ({value!r})", is_missing=True)
        try:
            return self.fields[name].normalise(value)
        except ValueError as error:
            raise FieldError(name, str(error)) from error


def is_missing(value: Any) -> bool:
    """Tell whether a table's cell holds no value: None, NaN, nothing, or one of N.A., N/A, nan."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return True
    return isinstance(value, str) and value.strip().lower() in _MISSING


def _make_field(task_name: str, name: str, declared: Any) -> Field:
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


def _settings(field: Any) -> dict[str, Any]:
    settings = {key: value for key, value in asdict(field).items() if value is not None}
    return {k: list(v) if isinstance(v, tuple) else v for k, v in settings.items()}


def _split_template(template: str) -> tuple[list[str], list[str]]:
    """Give the literals around the fields (one more than fields) and the fields' names."""
    literals, names = [""], []
    for literal, name, _, _ in string.Formatter().parse(template):
        literals[-1] += literal
        if name is not None:
            names.append(name)
            literals.append("")
    return literals, names


def _template_parts(template: str) -> list[tuple[str, str, str]]:
    """Split a template into (literal before, field, literal after) for each field."""
    literals, names = _split_template(template)
    return list(zip(literals, names, literals[1:], strict=False))


def _template_end(template: str) -> str:
    return _split_template(template)[0][-1]


def _check_template(task: Task) -> None:
    try:
        parsed = list(string.Formatter().parse(task.answer))
    except ValueError as error:
        raise TaskError(f"Answer template {task.answer!r} is malformed: {error}.") from error
    if any(name is not None and (spec or conversion) for _, name, spec, conversion in parsed):
        raise TaskError(f"Answer template {task.answer!r} formats a field; write plain {{name}}.")
    names = [name for _, name, _, _ in parsed if name is not None]
    if sorted(names) != sorted(task.fields):
        raise TaskError(
            f"Answer template {task.answer!r} names {names}, the fields are {list(task.fields)}; "
            "each field must stand in the template once."
        )
    if "<|" in task.question or "<|" in task.answer or task.answer != task.answer.strip():
        raise TaskError(
            f"Question {task.question!r} and answer template {task.answer!r} must hold no special "
            "token (<|...|>) and the template no space at its ends."
        )
    _check_separators(task.answer)


def _check_separators(template: str) -> None:
    for _, name, following in _template_parts(template)[:-1]:
        if not following or following[0].isalnum() or following[0] in "\\.-":
            raise TaskError(
                f"In answer template {template!r} the text after {{{name}}} is {following!r}; it "
                "must begin with a mark that is no letter, digit, point, minus or backslash, so "
                "that the field's end can be found."
            )


def _escape(text: str) -> str:
    escaped = text.replace("\\", _BACKSLASH_HOLDER).replace("\n", "\\n")
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


def _unescape(text: str) -> str:
    def restore(match: re.Match[str]) -> str:
        kind = match.group(1)
        if kind in {"\\", "n"}:
            return "\n" if kind == "n" else "\\"
        code = int(kind[1:], 16)
        return chr(code) if code <= 0x10FFFF else match.group()

    return _ESCAPE.sub(restore, text)


def _protect(text: str, separator: str) -> str:
    """Escape the begin of each earlier occurrence of the separator that will follow the text."""
    while separator and (at := (text + separator).find(separator)) != len(text):
        text = text[:at] + _code(text[at]) + text[at + 1 :]
    return text


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
    return float(round(_decimal(value), decimals))
