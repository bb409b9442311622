"""YAML text to plain values, with the place of every key and value.

Owns syntax: what is not YAML, duplicate keys, tags, merge keys. Knows no field's meaning. Called by `load`
for the file and by `overrides` for each value.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from yaml import YAMLError
from yaml.error import MarkedYAMLError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.reader import ReaderError

from pgpo_async.config.issues import Issue, Path, Place
from pgpo_async.config.yaml_core import STR, CoreLoader, plain_tag, scalar_value

PlaceAt = Callable[[int, int], Place]
"""From line and column, both from 0, to a place."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """Where a field was written: its key, and its value."""

    key: Place
    value: Place


@dataclass(kw_only=True, slots=True)
class Document:
    """Values, the places they come from, and what was wrong with the text."""

    value: Any = None
    written: dict[Path, Written] = field(default_factory=dict)
    issues: list[Issue] = field(default_factory=list)


def read_document(text: str, place_at: PlaceAt, root: Path = ()) -> Document:
    """Read one YAML value; its paths begin with `root`. Never raises for what the text holds."""
    document = Document()
    try:
        node = CoreLoader(text).get_single_node()
        if node is not None:
            document.written[root] = Written(key=_start(node, place_at), value=_start(node, place_at))
            document.value = _Builder(document, place_at).build(node, root)
    except RecursionError:
        document.issues.append(Issue(place=place_at(0, 0), path=root, message="nested too deeply"))
    except YAMLError as error:
        document.issues.append(_syntax_issue(error, text, place_at, root))
    return document


class _Builder:
    """Walks the nodes of one text."""

    def __init__(self, document: Document, place_at: PlaceAt) -> None:
        self._document = document
        self._place_at = place_at

    def build(self, node: Node, path: Path) -> Any:
        if node.tag != _tag_without_tags(node):
            self._refuse(_start(node, self._place_at), path, "tags (`!...`) are not supported")
            return None
        if isinstance(node, MappingNode):
            return self._mapping(node, path)
        if isinstance(node, SequenceNode):
            return self._sequence(node, path)
        assert isinstance(node, ScalarNode)
        return self._scalar(node, path)

    def _mapping(self, node: MappingNode, path: Path) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node, path)
            if key is None:
                continue
            here = Written(key=_start(key_node, self._place_at), value=_start(value_node, self._place_at))
            inner = (*path, key)
            if key in values:
                first = self._document.written[inner].key
                where = f", first at line {first.line} column {first.column}" if first.line else ""
                self._refuse(here.key, inner, f"duplicate key{where}")
                continue
            self._document.written[inner] = here
            values[key] = self.build(value_node, inner)
        return values

    def _key(self, node: Node, path: Path) -> str | None:
        place = _start(node, self._place_at)
        if not isinstance(node, ScalarNode):
            self._refuse(place, path, "a key must be text, got a list or a mapping")
            return None
        if node.value == "<<" and node.style is None:
            self._refuse(place, path, "merge key `<<` is not supported, write the values out")
            return None
        return str(node.value)

    def _sequence(self, node: SequenceNode, path: Path) -> list[Any]:
        values = []
        for index, item in enumerate(node.value):
            start = _start(item, self._place_at)
            self._document.written[(*path, index)] = Written(key=start, value=start)
            values.append(self.build(item, (*path, index)))
        return values

    def _scalar(self, node: ScalarNode, path: Path) -> Any:
        try:
            return scalar_value(node.tag, node.value)
        except ValueError:  # Python reads no integer of more than 4300 digits
            self._refuse(_start(node, self._place_at), path, "is too long for a number")
            return None

    def _refuse(self, place: Place, path: Path, message: str) -> None:
        self._document.issues.append(Issue(place=place, path=path, message=message))


def _tag_without_tags(node: Node) -> str:
    if isinstance(node, MappingNode):
        return CoreLoader.DEFAULT_MAPPING_TAG
    if isinstance(node, SequenceNode):
        return CoreLoader.DEFAULT_SEQUENCE_TAG
    assert isinstance(node, ScalarNode)
    return plain_tag(node.value) if node.style is None else STR


def _start(node: Node, place_at: PlaceAt) -> Place:
    return place_at(node.start_mark.line, node.start_mark.column)


def _syntax_issue(error: YAMLError, text: str, place_at: PlaceAt, root: Path) -> Issue:
    if isinstance(error, ReaderError):
        before = text[: error.position]
        place = place_at(before.count("\n"), len(before) - before.rfind("\n") - 1)
        return Issue(
            place=place, path=root, message=f"not valid YAML: control character U+{error.character:04X}"
        )
    assert isinstance(error, MarkedYAMLError)
    mark = error.problem_mark or error.context_mark
    problem, context = error.problem or "", error.context or ""
    if problem.startswith("but ") or not problem:
        problem, context = f"{context}, {problem}".removesuffix(", "), ""
    message = f"not valid YAML: {problem}"
    if "'\\t'" in message:
        message += " (indent with spaces, not with tabs)"
    if context and error.context_mark:
        message += f" ({context} that starts at line {error.context_mark.line + 1})"
    place = place_at(mark.line, mark.column) if mark else place_at(0, 0)
    return Issue(place=place, path=root, message=message)
