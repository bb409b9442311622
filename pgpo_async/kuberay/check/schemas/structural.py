"""A custom resource definition's schema to one that refuses what the API server would drop without a word.

Pure. Called by `ray_kinds`. Not followed: `x-kubernetes-validations` (CEL); those of KubeRay's definitions
are among the rules in `operator`.
"""

from collections.abc import Mapping
from typing import Any

QUANTITY = "a quantity such as 500m or 4Gi"
INT32_MAX = 2**31 - 1


def strict(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema with unknown fields refused, and with nothing required that has a default.

    Kubernetes fills in defaults before it validates. An object without `properties` may hold anything.
    """
    tight = {key: value for key, value in schema.items() if key not in ("description", "default", "format")}
    properties = schema.get("properties")
    if isinstance(properties, Mapping):
        tight["properties"] = {name: strict(inner) for name, inner in properties.items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields") and "additionalProperties" not in schema:
            tight["additionalProperties"] = False
        required = [name for name in schema.get("required", ()) if "default" not in properties.get(name, {})]
        tight["required"] = required
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), Mapping):
            tight[key] = strict(schema[key])
    if schema.get("nullable") and "type" in schema:
        tight["type"] = [schema["type"], "null"]
    if schema.get("format") == "int32":
        tight.setdefault("minimum", -INT32_MAX - 1)
        tight.setdefault("maximum", INT32_MAX)
    if schema.get("x-kubernetes-int-or-string") and "pattern" in schema:
        tight["x-means"] = QUANTITY
    return tight
