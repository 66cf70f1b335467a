"""A task: what is asked of a picture, and the form and types of the answer.

The default is the task of the best-known tutorial, to the letter. Field text is data: whatever
could be read as a delimiter of the template or as a special token is escaped when an answer is
written and restored when it is parsed, so that formatting and then parsing gives the values back.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from loupe.errors import TaskError
from loupe.task.fields import ChoiceField, Field, field_settings, make_field
from loupe.task.grammar import write_grammar
from loupe.task.template import check_template, literal_after, template_end, template_parts
from loupe.task.text import protect

__all__ = ["Answer", "FieldError", "Task", "is_missing"]

_MISSING = frozenset({"", "n.a.", "n/a", "nan"})


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
        check_template(self.answer, list(self.fields))
        if "<|" in self.question:
            raise TaskError(f"Question {self.question!r} must hold no special token (<|...|>).")

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
        fields = {key: make_field(name, key, value) for key, value in declared["fields"].items()}
        return cls(str(declared["question"]), str(declared["answer"]), fields)

    def to_dict(self) -> dict[str, Any]:
        """Give the declaration, as plain data."""
        fields = {
            key: {"type": field.type, **field_settings(field)} for key, field in self.fields.items()
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
        return self.format_fields(row)[0]

    def format_fields(self, row: Mapping[str, Any]) -> tuple[str, dict[str, tuple[int, int]]]:
        """Write a row as answer text, and tell where in it each field begins and ends.

        Raises:
            FieldError: a value is missing or malformed.
        """
        values = self.normalise(row)
        answer, places = "", {}
        for literal, name, following in template_parts(self.answer):
            begin = len(answer) + len(literal)
            answer += literal + protect(self.fields[name].format(values[name]), following)
            places[name] = begin, len(answer)
        return answer + template_end(self.answer), places

    def parse(self, text: str) -> Answer:
        """Read the typed values off an answer."""
        values: dict[str, Any] = {}
        rest = text.strip()
        for literal, name, following in template_parts(self.answer):
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
        if rest != template_end(self.answer):
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

    def grammar(self) -> str:
        """Describe the answers that parse as a grammar, in llguidance's Lark dialect."""
        return write_grammar(self.answer, self.fields)

    def literal_after(self, begun: str) -> str:
        """Give the literal that ends the field in which an answer's beginning breaks off."""
        return literal_after(self.answer, begun.lstrip())

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
