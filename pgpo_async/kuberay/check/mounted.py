"""What lies at a path in a container: its volume, and the text of a ConfigMap's file. Read by `run`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from pgpo_async.kuberay.check.manifest import Manifest
from pgpo_async.kuberay.check.ray import Group
from pgpo_async.kuberay.check.values import mapping, mappings, part, text

READ_ONLY = ("configMap", "secret", "downwardAPI", "projected")


@dataclass(frozen=True, kw_only=True, slots=True)
class Mounted:
    """The mount that a path lies in, with its volume."""

    mount: Mapping[str, Any]
    volume: Mapping[str, Any]
    inside: str
    """The rest of the path, within the volume."""

    @property
    def writable(self) -> bool:
        """Whether the container may write there."""
        return part(self.mount, "readOnly") is not True and not any(kind in self.volume for kind in READ_ONLY)

    @property
    def claim(self) -> str:
        """The claim behind it; empty where it is none."""
        return text(self.volume, "persistentVolumeClaim", "claimName")


def mounted_at(group: Group, path: str) -> Mounted | None:
    """Return the innermost mount of the Ray container that this path lies in."""
    wanted = PurePosixPath(path)
    volumes = {text(each, "name"): each for _, each in mappings(group.body, "template", "spec", "volumes")}
    found: tuple[int, Mounted] | None = None
    for _, mount in mappings(group.ray_container, "volumeMounts"):
        place = PurePosixPath(text(mount, "mountPath") or "//nowhere")
        if not wanted.is_relative_to(place):
            continue
        rest = PurePosixPath(text(mount, "subPath")) / wanted.relative_to(place)
        volume = volumes.get(text(mount, "name"), {})
        here = Mounted(mount=mount, volume=volume, inside=str(rest))
        if found is None or len(place.parts) >= found[0]:
            found = len(place.parts), here
    return found[1] if found else None


def config_map_file(
    mounted: Mounted, manifests: Iterable[Manifest], namespace: str
) -> tuple[Manifest, str, str | None] | None:
    """Return the ConfigMap, the key and the text of a mounted file; None where the ConfigMap is not there.

    The text is None where the ConfigMap has no such file.
    """
    source = mapping(mounted.volume, "configMap")
    name = text(source, "name")
    keys = {text(item, "path"): text(item, "key") for _, item in mappings(source, "items")}
    key = keys.get(mounted.inside, "") if keys else mounted.inside
    for manifest in manifests:
        if manifest.is_a("", "ConfigMap") and (manifest.name, manifest.namespace) == (name, namespace):
            found = part(manifest.body, "data", key)
            return manifest, key or mounted.inside, found if isinstance(found, str) else None
    return None
