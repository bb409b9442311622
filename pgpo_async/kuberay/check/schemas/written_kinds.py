"""Monitoring and queue kinds against the schemas of `monitoring` and `kueue`. Called by `checking`."""

from collections.abc import Iterator

from pgpo_async.kuberay.check.manifest import Finding, Manifest
from pgpo_async.kuberay.check.schemas import kueue, monitoring
from pgpo_async.kuberay.check.schemas.parts import Schema
from pgpo_async.kuberay.check.values import mappings, text


def schema_of(manifest: Manifest) -> Schema | None:
    """Return the schema of the object's kind; None where there is none of ours."""
    version = manifest.api_version.rpartition("/")[2]
    for module in (monitoring, kueue):
        if manifest.api_group == module.API_GROUP:
            found: Schema | None = module.SCHEMAS.get((version, manifest.kind))
            return found
    return None


def check_written_kinds(manifests: list[Manifest]) -> Iterator[Finding]:
    """Check every object of these kinds."""
    from jsonschema import Draft202012Validator

    from pgpo_async.kuberay.check.schemas.told import findings_of

    for manifest in manifests:
        schema = schema_of(manifest)
        if schema is not None:
            yield from findings_of(manifest, Draft202012Validator(schema).iter_errors(manifest.body))
            if manifest.kind == "PrometheusRule":
                yield from _check_rules(manifest)


def _check_rules(manifest: Manifest) -> Iterator[Finding]:
    seen: set[str] = set()
    for number, group in mappings(manifest.body, "spec", "groups"):
        path = ("spec", "groups", number)
        name = text(group, "name")
        if name in seen:
            yield manifest.error((*path, "name"), f"must be there once in the object, got {name!r} twice")
        seen.add(name)
        for index, rule in mappings(group, "rules"):
            here = (*path, "rules", index)
            if ("alert" in rule) == ("record" in rule):
                yield manifest.error(here, "must have either `alert` or `record`")
            if rule.get("expr") == "":
                yield manifest.error((*here, "expr"), "must be an expression, got nothing")
            if "record" in rule:
                for key in ("for", "keep_firing_for", "annotations"):
                    if key in rule:
                        yield manifest.error((*here, key), "must not be there in a rule that records")
