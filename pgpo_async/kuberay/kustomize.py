"""The kustomize tree: a base, and overlays that say only what they change of it.

An overlay's patches are the differences between its objects and the base's, so a tree cannot say anything
else than `render` does. Lists are told anew where their elements are others; elements of the same names are
compared. Dashboards are not written twice: kustomize makes their ConfigMaps of `monitoring/dashboards`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pgpo_async.kuberay.labels import INSTANCE, Manifest
from pgpo_async.kuberay.monitors import is_dashboard
from pgpo_async.kuberay.overlays import BASE, STANDS_ON
from pgpo_async.kuberay.render import as_text, as_yaml, in_files
from pgpo_async.metrics.monitoring_files import FOLDER as DASHBOARDS

HEADER = "# Written by `pgpo-async k8s`; change the config, the settings or pgpo_async/kuberay instead.\n"

MONITORING = "monitoring"
Files = dict[str, str]
"""Texts by their paths."""


def tree(base: Sequence[Manifest], overlays: Mapping[str, Sequence[Manifest]]) -> Files:
    """Return the files of a base and its overlays; one that stands on another is told as its changes."""
    dashboards = [found for found in base if is_dashboard(found)]
    others = [found for found in base if not is_dashboard(found)]
    beside = [f"../{MONITORING}"] if dashboards else []
    files = {f"{BASE}/{name}": text for name, text in folder(others, beside).items()}
    if dashboards:
        files[f"{MONITORING}/kustomization.yaml"] = _generator(dashboards)
    for overlay, objects in overlays.items():
        parent = STANDS_ON.get(overlay)
        path, below = (f"../../{BASE}", base) if parent is None else (f"../{parent}", overlays[parent])
        files |= {f"overlays/{overlay}/{name}": text for name, text in _overlay(path, below, objects).items()}
    return files


def folder(objects: Sequence[Manifest], beside: Sequence[str] = ()) -> Files:
    """Return the files of objects, with a kustomization that lists them, and folders `beside` them."""
    files = {name: HEADER + as_text(found) for name, found in in_files(objects).items()}
    files["kustomization.yaml"] = _kustomization({"resources": [*files, *beside]})
    return files


def _generator(dashboards: Sequence[Manifest]) -> str:
    """Return the kustomization that makes the dashboards' ConfigMaps of their files."""
    metadata = dashboards[0]["metadata"]
    options = {"disableNameSuffixHash": True, "labels": metadata["labels"]}
    generated = [
        {
            "name": found["metadata"]["name"],
            "namespace": metadata["namespace"],
            "files": [f"{DASHBOARDS}/{name}" for name in found["data"]],
        }
        for found in dashboards
    ]
    return _kustomization({"generatorOptions": options, "configMapGenerator": generated})


def _overlay(path: str, below: Sequence[Manifest], objects: Sequence[Manifest]) -> Files:
    before, after = _by_identity(below), _by_identity(objects)
    added = [found for identity, found in after.items() if identity not in before]
    files = {f"added-{name}": HEADER + as_text(found) for name, found in in_files(added).items()}
    patches: list[Manifest] = []
    for identity, old in before.items():
        target = {"kind": old["kind"], "name": old["metadata"]["name"]}
        if identity not in after:
            gone = {key: old[key] for key in ("apiVersion", "kind")}
            metadata = {key: old["metadata"][key] for key in ("name", "namespace") if key in old["metadata"]}
            patches.append({"patch": as_yaml({**gone, "metadata": metadata, "$patch": "delete"})})
        elif operations := list(_changes(old, after[identity], "")):
            name = f"{_file_name(identity)}.yaml"
            files[name] = HEADER + as_yaml(operations)
            renamed = any(operation["path"] == "/metadata/name" for operation in operations)
            options = {"options": {"allowNameChange": True}} if renamed else {}
            patches.append({"path": name, "target": target, **options})
    resources = [path, *sorted(name for name in files if name.startswith("added-"))]
    files["kustomization.yaml"] = _kustomization({"resources": resources, "patches": patches})
    return files


def _kustomization(values: Manifest) -> str:
    head = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    return HEADER + as_yaml({**head, **{key: value for key, value in values.items() if value}})


def _by_identity(objects: Sequence[Manifest]) -> dict[tuple[str, str], Manifest]:
    """What is one in base and overlay: a run's own objects have its name, which may differ."""
    return {_identity(found): found for found in objects}


def _identity(found: Manifest) -> tuple[str, str]:
    labels = found["metadata"].get("labels", {})
    return found["kind"], "" if INSTANCE in labels else found["metadata"]["name"]


def _file_name(identity: tuple[str, str]) -> str:
    kind, name = identity
    return "-".join(filter(None, ("change", kind.lower(), name.removeprefix("pgpo-async-"))))


def _changes(old: Any, new: Any, path: str) -> Iterator[Manifest]:
    """Yield the JSON patch (RFC 6902) from one value to another."""
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for key in old:
            if key not in new:
                yield {"op": "remove", "path": f"{path}/{_escaped(key)}"}
        for key, value in new.items():
            if key in old:
                yield from _changes(old[key], value, f"{path}/{_escaped(key)}")
            else:
                yield {"op": "add", "path": f"{path}/{_escaped(key)}", "value": value}
    elif _begins_alike(old, new):
        for index, (before, after) in enumerate(zip(old, new, strict=False)):
            yield from _changes(before, after, f"{path}/{index}")
        for added in new[len(old) :]:
            yield {"op": "add", "path": f"{path}/-", "value": added}
    else:
        yield {"op": "replace", "path": path, "value": new}


def _begins_alike(old: Any, new: Any) -> bool:
    """Whether a list begins with things of the other's names, in the same order."""
    if not (isinstance(old, list) and isinstance(new, list)):
        return False
    names = [_name(found) for found in old]
    return None not in names and names == [_name(found) for found in new[: len(old)]]


def _name(found: Any) -> Any:
    return found.get("groupName", found.get("name")) if isinstance(found, dict) else None


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
