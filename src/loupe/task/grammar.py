"""A task's answers as a grammar: every text that it accepts parses, and true answers are in it.

Written in the Lark dialect of llguidance, whose terminals know complement (`~`) and intersection
(`&`), so that a whole answer is one terminal. Source:
https://github.com/guidance-ai/llguidance/blob/main/docs/syntax.md
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from loupe.task.fields import ChoiceField, Field, IntegerField, NumberField, PriceField
from loupe.task.template import template_parts
from loupe.task.text import protect

__all__ = ["write_grammar"]

_TEXT = r"/[^\p{Cc}\x{2028}\x{2029}\x{2581}]+/"
_SPACES = "0009|000[a-d]|001[c-f]|0020|0085|00a0|1680|200[0-9a]|202[89f]|205f|3000"
_BLANK = rf"/([\s\x1c-\x1f]|\\n|\\u({_SPACES})|\\U0000({_SPACES}))*/"  # no text: all spaces
_WHOLE = "(0|[1-9][0-9]{0,7})"


def write_grammar(template: str, fields: Mapping[str, Field]) -> str:
    """Write the grammar of the answers to a template with these fields.

    An answer may begin with a space, as some tokenizers write one. A text ends where the literal
    after it first occurs, as it does where answers are parsed; so that literal belongs to the
    field's rule. Texts have no longest length: whoever decodes has to cut them.
    """
    parts = template_parts(template)
    rules = {
        f"FIELD{place}": _write_field(fields[name], following)
        for place, (_, name, following) in enumerate(parts)
    }
    answer = " ".join(["/ ?/", *_quote(parts[0][0]), *rules])
    lines = [f"{name}: {rule}" for name, rule in {"ANSWER": answer, **rules}.items()]
    return "\n".join(["start: ANSWER", *lines, ""])


def _write_field(field: Field, following: str) -> str:
    end = " ".join(_quote(following))
    if isinstance(field, PriceField | NumberField):
        sign = "" if isinstance(field, PriceField) else "-?"
        decimals = rf"\.[0-9]{{{field.decimals}}}" if field.decimals > 0 else ""
        return f"/{sign}{_WHOLE}{decimals}/ {end}".rstrip()
    if isinstance(field, IntegerField):
        return f"/-?{_WHOLE}/ {end}".rstrip()
    if isinstance(field, ChoiceField) and field.choices is not None:
        texts = [protect(field.format(choice), following) for choice in field.choices]
        return f"({' | '.join(json.dumps(text, ensure_ascii=False) for text in texts)}) {end}"
    text = f"({_TEXT} & ~{_BLANK})"
    return f"({text} {end}) & ~(/(?s:.*)/ {end} /(?s:.+)/)" if end else text


def _quote(literal: str) -> list[str]:
    return [json.dumps(literal, ensure_ascii=False)] if literal else []
