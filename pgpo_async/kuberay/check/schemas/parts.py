"""What the schemas of `monitoring` and `kueue` are written with: fields and types, unknown ones refused."""

from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
SWITCH: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0}
NAME: Schema = {"type": "string", "minLength": 1}
ANYTHING: Schema = {"type": "object"}
NUMBER_OR_TEXT: Schema = {"anyOf": [{"type": "integer"}, {"type": "string"}]}
QUANTITY: Schema = {
    "anyOf": [{"type": "integer"}, {"type": "string"}],
    "pattern": r"^(\+|-)?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE](\+|-)?[0-9]+)?$",
    "x-means": "a quantity such as 8 or 512Gi",
}
DURATION: Schema = {
    "type": "string",
    "pattern": r"^(0|(([0-9]+)y)?(([0-9]+)w)?(([0-9]+)d)?(([0-9]+)h)?(([0-9]+)m)?(([0-9]+)s)?(([0-9]+)ms)?)$",
    "x-means": "a duration such as 30s or 1h30m",
    "minLength": 1,
}


def one_of(*words: str) -> Schema:
    """Text that is one of these words."""
    return {"type": "string", "enum": list(words)}


def list_of(schema: Schema, *, at_least: int = 0) -> Schema:
    """A list of such values."""
    return {"type": "array", "items": schema, "minItems": at_least}


def map_of(schema: Schema) -> Schema:
    """A mapping of any keys to such values."""
    return {"type": "object", "additionalProperties": schema}


def fields(*required: str, **properties: Schema) -> Schema:
    """A mapping of these fields and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def kind(spec: Schema, *, spec_needed: bool = True) -> Schema:
    """A whole object; its metadata are `documents`' to check."""
    return fields(
        *(["spec"] if spec_needed else []),
        apiVersion=TEXT,
        kind=TEXT,
        metadata=ANYTHING,
        spec=spec,
        status=ANYTHING,
    )


STRINGS = map_of(TEXT)
LABEL_SELECTOR = fields(
    matchLabels=STRINGS,
    matchExpressions=list_of(
        fields(
            "key",
            "operator",
            key=NAME,
            operator=one_of("In", "NotIn", "Exists", "DoesNotExist"),
            values=list_of(TEXT),
        )
    ),
)
SECRET_KEY = fields("key", name=TEXT, key=NAME, optional=SWITCH)
