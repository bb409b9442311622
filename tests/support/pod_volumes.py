"""A pod's volumes, as a kubelet would lay them out: files made on disk, and where each is mounted.

`support.pods` turns the mounts into those of the pod's own namespace.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from support.pod_spec import named, whole

HIDDEN = "..data"
"""Kubelets put a ConfigMap's files behind this link, so that all change at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mount:
    """A folder or file of the host's, or a new tmpfs of a size, at a path in the pod."""

    path: str
    source: Path | None = None
    tmpfs_options: str | None = None
    read_only: bool = False


def mounts(spec, container, folder, *, claims, config_maps, secrets, fs_group):
    """Make the volumes that a container mounts, below `folder`; return its mounts, outer paths first."""
    volumes = {volume["name"]: volume for volume in spec.get("volumes", ())}
    made, found = {}, []
    for wanted in sorted(container.get("volumeMounts", ()), key=lambda mount: mount["mountPath"]):
        name = wanted["name"]
        if name not in made:
            maker = _Maker(folder / name, claims, config_maps, secrets, fs_group)
            made[name] = maker.make(volumes[name])
        source, options, always_read_only = made[name]
        if wanted.get("subPath"):
            if source is None:
                raise NotImplementedError(f"{name}: subPath of a volume in memory")
            source /= wanted["subPath"]
        read_only = always_read_only or wanted.get("readOnly", False)
        found.append(
            Mount(path=wanted["mountPath"], source=source, tmpfs_options=options, read_only=read_only)
        )
    return found


@dataclass(frozen=True, slots=True)
class _Maker:
    folder: Path
    claims: dict
    config_maps: dict
    secrets: dict
    fs_group: int | None

    def make(self, volume):
        """Return (source, tmpfs options, read-only)."""
        ((kind, values),) = ((key, value or {}) for key, value in volume.items() if key != "name")
        if kind == "emptyDir":
            return self._empty(values)
        if kind == "persistentVolumeClaim":
            return self._claim(values)
        self.folder.mkdir(parents=True)
        if kind == "projected":
            for source in values["sources"]:
                ((part, inner),) = source.items()
                self._files(part, inner, values.get("defaultMode", 0o644))
        else:
            self._files(kind, values, values.get("defaultMode", 0o644))
        return self.folder, None, True

    def _empty(self, values):
        group = f",gid={self.fs_group}" if self.fs_group is not None else ""
        mode = 0o2777 if group else 0o777
        if values.get("medium") == "Memory":
            size = f",size={whole(values['sizeLimit'])}" if "sizeLimit" in values else ""
            return None, f"mode={mode:o}{group}{size}", False
        self.folder.mkdir(parents=True)
        if group:
            os.chown(self.folder, -1, self.fs_group)
        self.folder.chmod(mode)
        return self.folder, None, False

    def _claim(self, values):
        name = values["claimName"]
        if name not in self.claims:
            raise KeyError(
                f"the pod refers to the claim {name}, which does not exist; there are {sorted(self.claims)}"
            )
        folder = Path(self.claims[name])
        if self.fs_group is not None:
            _give_to_group(folder, self.fs_group)
        return folder, None, values.get("readOnly", False)

    def _files(self, kind, values, mode):
        if kind not in ("configMap", "secret"):
            raise NotImplementedError(f"{self.folder.name}: volumes of the kind {kind} are not made here")
        texts = named(self.config_maps if kind == "configMap" else self.secrets, values) or {}
        wanted = {item["key"]: item["path"] for item in values.get("items", ())} or {
            key: key for key in texts
        }
        hidden = self.folder / "..first"
        hidden.mkdir(exist_ok=True)
        if not (self.folder / HIDDEN).is_symlink():
            (self.folder / HIDDEN).symlink_to(hidden.name)
        for key, name in wanted.items():
            path = hidden / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(texts[key])
            path.chmod(mode)
            if self.fs_group is not None:
                os.chown(path, -1, self.fs_group)
            top = Path(name).parts[0]
            if not (self.folder / top).is_symlink():
                (self.folder / top).symlink_to(f"{HIDDEN}/{top}")


def _give_to_group(folder, group):
    """Let a group write to all that a volume holds, and have what is made there later."""
    for place, _, names in os.walk(folder):
        os.chown(place, -1, group)
        os.chmod(place, os.stat(place).st_mode | 0o2770)
        for name in names:
            path = os.path.join(place, name)
            os.chown(path, -1, group, follow_symlinks=False)
            if not os.path.islink(path):
                os.chmod(path, os.stat(path).st_mode | 0o660)
