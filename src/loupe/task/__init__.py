"""The question, the answer template and its typed fields: one declaration, seven uses."""

from loupe.task.declaration import Answer, FieldError, Task, is_missing
from loupe.task.differences import TaskDifference, find_differences
from loupe.task.fields import (
    ChoiceField,
    Field,
    IntegerField,
    NumberField,
    PriceField,
    TextField,
)

__all__ = [
    "Answer",
    "ChoiceField",
    "Field",
    "FieldError",
    "IntegerField",
    "NumberField",
    "PriceField",
    "Task",
    "TaskDifference",
    "TextField",
    "find_differences",
    "is_missing",
]
