"""One YAML text to its documents, as Kubernetes' tools read it. Called by `reading`.

Owns the syntax: several documents a text, a key that is there twice (which the API server drops without a
word), values as JSON would have them: no dates, no tags of Python's.
"""

from collections.abc import Hashable
from typing import Any

from yaml import CSafeLoader, YAMLError
from yaml.constructor import ConstructorError
from yaml.error import MarkedYAMLError
from yaml.nodes import MappingNode

MERGE_KEY = "tag:yaml.org,2002:merge"
DEEPEST = 100
MOST_VALUES = 1_000_000
TEXT_TAGS = ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value")


class NotYaml(ValueError):
    """The text cannot be read; the message says where and why."""


class _Loader(CSafeLoader):
    """As the safe loader, but that dates and `=` are text, and a key may not come twice."""

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Refuse a key that is there already; merged keys (`<<`) may be overridden."""
        lines: dict[Any, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == MERGE_KEY:
                continue
            key = self.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 1
            if not isinstance(key, str):
                problem = f"a key must be text, got {key!r}; put it in quotes"
                raise ConstructorError(None, None, problem, key_node.start_mark)
            if key in lines:
                problem = f"duplicate key `{key}`, first at line {lines[key]}"
                raise ConstructorError(None, None, problem, key_node.start_mark)
            lines[key] = line
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in rules if tag not in TEXT_TAGS]
    for first, rules in CSafeLoader.yaml_implicit_resolvers.items()
}


def read_documents(text: str) -> list[Any]:
    """Return the documents that hold anything. Raises NotYaml with the line."""
    loader = _Loader(text)
    documents = []
    try:
        while loader.check_data():  # type: ignore[no-untyped-call]
            documents.append(loader.get_data())
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}: " if mark else ""
        raise NotYaml(f"{where}{error.problem or error.context}") from None
    except (YAMLError, RecursionError, ValueError) as error:
        raise NotYaml(" ".join(str(error).split()) or "nested too deeply") from None
    finally:
        loader.dispose()
    _refuse_endless(documents)
    return [document for document in documents if document is not None]


def _refuse_endless(documents: list[Any]) -> None:
    """A few aliases of aliases make more values than any check could look at, or a value within itself."""
    level, num_values = documents, 0
    for _ in range(DEEPEST):
        level = [
            inner
            for value in level
            if isinstance(value, dict | list)
            for inner in (value.values() if isinstance(value, dict) else value)
        ]
        num_values += len(level)
        if not level:
            return
        if num_values > MOST_VALUES:
            raise NotYaml(f"must hold at most {MOST_VALUES} values, aliases written out")
    raise NotYaml(f"must be nested at most {DEEPEST} deep")
