"""An answer template: literals around named fields."""

import string

from loupe.errors import TaskError

__all__ = ["check_template", "literal_after", "template_end", "template_parts"]


def template_parts(template: str) -> list[tuple[str, str, str]]:
    """Split a template into (literal before, field, literal after) for each field."""
    literals, names = _split(template)
    return list(zip(literals, names, literals[1:], strict=False))


def template_end(template: str) -> str:
    """Give the literal after the last field."""
    return _split(template)[0][-1]


def literal_after(template: str, begun: str) -> str:
    """Give the literal that ends the field in which an answer's beginning breaks off."""
    following = ""
    for literal, _, following in template_parts(template):
        begun = begun.removeprefix(literal)
        end = begun.find(following) if following else -1
        if end < 0:
            break
        begun = begun[end:]
    return following


def check_template(template: str, field_names: list[str]) -> None:
    """Refuse a template whose answers could not be parsed.

    Raises:
        TaskError: malformed, or its fields are not those declared, or a field's end is not marked.
    """
    try:
        parsed = list(string.Formatter().parse(template))
    except ValueError as error:
        raise TaskError(f"Answer template {template!r} is malformed: {error}.") from error
    if any(name is not None and (spec or conversion) for _, name, spec, conversion in parsed):
        raise TaskError(f"Answer template {template!r} formats a field; write plain {{name}}.")
    names = [name for _, name, _, _ in parsed if name is not None]
    if sorted(names) != sorted(field_names):
        raise TaskError(
            f"Answer template {template!r} names {names}, the fields are {field_names}; "
            "each field must stand in the template once."
        )
    if "<|" in template or template != template.strip():
        raise TaskError(
            f"Answer template {template!r} must hold no special token (<|...|>) and no space at "
            "its ends."
        )
    _check_separators(template)


def _split(template: str) -> tuple[list[str], list[str]]:
    """Give the literals around the fields (one more than fields) and the fields' names."""
    literals, names = [""], []
    for literal, name, _, _ in string.Formatter().parse(template):
        literals[-1] += literal
        if name is not None:
            names.append(name)
            literals.append("")
    return literals, names


def _check_separators(template: str) -> None:
    for _, name, following in template_parts(template)[:-1]:
        if not following or following[0].isalnum() or following[0] in "\\.-":
            raise TaskError(
                f"In answer template {template!r} the text after {{{name}}} is {following!r}; it "
                "must begin with a mark that is no letter, digit, point, minus or backslash, so "
                "that the field's end can be found."
            )
