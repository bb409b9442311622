"""PyYAML with the scalars of YAML 1.2's core schema: numbers are numbers, `no` is the word no.

PyYAML follows YAML 1.1, where `1e-6` is text, `no` and `on` are switches, `017` is 15 and `1:30` is 90. Owns
the rules of plain scalars, both ways; `document` keeps positions, `dump` chooses what is written. Left out on
purpose: octal and hexadecimal integers of the core schema (`0o17`, `0x1F` stay text, which a number's field
refuses), aliases, and tags.
"""

import re
from typing import Any

from yaml import SafeDumper
from yaml.composer import Composer, ComposerError
from yaml.events import AliasEvent
from yaml.nodes import Node
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.resolver import BaseResolver
from yaml.scanner import Scanner

NULL, BOOL, INT, FLOAT, STR = (
    f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float", "str")
)

# (tag, its texts, the characters that these begin with; "" stands for the empty text)
_RULES: tuple[tuple[str, str, list[str]], ...] = (
    (NULL, r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    (BOOL, r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    (INT, r"[-+]?[0-9]+", list("-+0123456789")),
    (
        FLOAT,
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
)


class _CoreResolver(BaseResolver):
    """Gives plain scalars their tag."""


class CoreLoader(Reader, Scanner, Parser, Composer, _CoreResolver):
    """Text to nodes, whose tags follow the core schema; `get_single_node` is the way in."""

    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
        _CoreResolver.__init__(self)

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        """As PyYAML's, without aliases: a run's config has little to repeat, and aliases may loop."""
        if self.check_event(AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            message = f"alias `*{event.anchor}` is not supported, write the value out"
            raise ComposerError(None, None, message, event.start_mark)
        return super().compose_node(parent, index)


class CoreDumper(SafeDumper):
    """Quotes what either version of YAML would take for something else than text."""

    def represent_text(self, text: str) -> Node:
        """Escape what is not printable: PyYAML's other styles turn U+0085 and its like into line ends."""
        return self.represent_scalar(STR, text, style=None if text.isprintable() else '"')


CoreDumper.add_representer(str, CoreDumper.represent_text)

for _tag, _pattern, _first in _RULES:
    _regexp = re.compile(rf"(?:{_pattern})\Z")
    _CoreResolver.add_implicit_resolver(_tag, _regexp, _first)
    CoreDumper.add_implicit_resolver(_tag, _regexp, _first)


def plain_tag(text: str) -> str:
    """Return the tag of a plain (unquoted) scalar."""
    for tag, pattern, _ in _RULES:
        if re.fullmatch(pattern, text):
            return tag
    return STR


def scalar_value(tag: str, text: str) -> bool | int | float | str | None:
    """Return the Python value of a scalar; ValueError if Python refuses its digits."""
    if tag == NULL:
        return None
    if tag == BOOL:
        return text in ("true", "True", "TRUE")
    if tag == INT:
        return int(text)
    if tag == FLOAT:
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text
