"""A recipe as text: short, with the reasons as comments."""

import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from i2i.errors import printable
from i2i_new.methods import Said

WIDTH, COLUMN = 118, 34
"""The length of lines, and where comments begin if there is room."""
_PLAIN = re.compile(r"[A-Za-z./_][\w./@*-]*( [\w./@*-]+)*")
_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n", "~"}


def text_of(head: Sequence[str], sections: Mapping[str, Any]) -> str:
    """The recipe with the paragraphs *head* above it; a :class:`Said` puts its reason beside its value."""
    lines = [line for paragraph in head for line in _comment(paragraph)]
    for name, section in sections.items():
        lines += _section(name, section)
    return "\n".join(lines) + "\n"


def _comment(paragraph: str) -> list[str]:
    wrapped = textwrap.wrap(_remark(paragraph), WIDTH, break_long_words=False, break_on_hyphens=False)
    return [f"# {line}" for line in wrapped]


def _remark(text: str) -> str:
    """On one line: names of a stranger's folders may hold any of YAML's line breaks, which would end a comment."""
    return printable(" ".join(text.split()))


def _section(name: str, section: Any) -> list[str]:
    if isinstance(section, list):
        return [f"{name}:", *(_line(f"  - {flow(_bare(item))}", item) for item in section)]
    if not isinstance(section, Mapping):
        return [_line(f"{name}: {flow(_bare(section))}", section)]
    short = f"{name}: {flow(section)}" if not any(isinstance(value, Said) for value in section.values()) else ""
    if short and len(short) <= WIDTH:
        return [short]
    return [f"{name}:", *(_line(f"  {key}: {flow(_bare(value))}", value) for key, value in section.items())]


def _line(text: str, value: Any) -> str:
    return f"{text:<{COLUMN}}  # {_remark(value.why)}" if isinstance(value, Said) else text


def _bare(value: Any) -> Any:
    return value.value if isinstance(value, Said) else value


def flow(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{flow(key)}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(flow, value)) + "]"
    if isinstance(value, str):
        if re.fullmatch(r"[\d.]+ epochs?", value):
            return value
        plain = _PLAIN.fullmatch(value) and value.lower() not in _WORDS and not value.startswith(("*", ". "))
        return value if plain and not re.fullmatch(r"\.(inf|nan)|[-.\d]+(e[-\d]+)?", value.lower()) else _quoted(value)
    if isinstance(value, float):
        return f"{value:g}"
    return json.dumps(value)


def _quoted(text: str) -> str:
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in json.dumps(text, ensure_ascii=False))
