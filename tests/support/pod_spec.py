"""What a pod template says about one container: its quantities, environment, identity and rights.

Plain values out of plain dictionaries, as `support.pods` applies them. What a template asks for and is not
made here raises `NotImplementedError`: a test must not pass because something was passed over.
"""

import math
from dataclasses import dataclass
from decimal import Decimal

UNITS = {
    "m": Decimal("0.001"),
    **{unit: Decimal(1000) ** power for power, unit in enumerate("kMGTPE", start=1)},
    **{f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", start=1)},
}


def quantity(value):
    """Return a Kubernetes quantity ("500m", "2Gi", 4) as an exact number."""
    text = str(value)
    for unit, size in UNITS.items():
        if text.endswith(unit):
            return Decimal(text.removesuffix(unit)) * size
    return Decimal(text)


def whole(value):
    """Return a quantity as Kubernetes makes it an integer: rounded up."""
    return math.ceil(quantity(value))


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """Who a container's processes are, and what they may."""

    uid: int
    gid: int
    fs_group: int | None
    drops_all_capabilities: bool
    no_new_privileges: bool
    root_is_read_only: bool

    def setpriv(self):
        """Return the command prefix that gives up what the container shall not have."""
        groups = ["--clear-groups"] if self.fs_group is None else [f"--groups={self.fs_group}"]
        rights = ["--bounding-set=-all", "--inh-caps=-all"] if self.drops_all_capabilities else []
        rights += ["--no-new-privs"] if self.no_new_privileges else []
        return ["/usr/bin/setpriv", f"--reuid={self.uid}", f"--regid={self.gid}", *groups, *rights, "--"]


def identity(spec, container, uid):
    """Return the identity that pod and container ask for; `uid` wins, as OpenShift's range does."""
    pod_wide, own = spec.get("securityContext", {}), container.get("securityContext", {})
    both = pod_wide | own
    if own.get("privileged") or own.get("capabilities", {}).get("add"):
        raise NotImplementedError(
            f"{container['name']}: privileges and added capabilities are not given here"
        )
    if both.get("runAsNonRoot") and uid == 0:
        raise ValueError(f"{container['name']}: runAsNonRoot, but the uid is 0")
    return Identity(
        uid=uid,
        gid=both.get("runAsGroup", 0),  # a uid that the image does not know has the root group
        fs_group=pod_wide.get("fsGroup"),
        drops_all_capabilities="ALL" in own.get("capabilities", {}).get("drop", ()),
        no_new_privileges=own.get("allowPrivilegeEscalation") is False,
        root_is_read_only=own.get("readOnlyRootFilesystem") is True,
    )


def environment(container, *, config_maps, secrets, fields):
    """Return what a container's `envFrom` and `env` give; `fields` are those of the pod by their path."""
    found = {}
    for source in container.get("envFrom", ()):
        kind, where = ("secretRef", secrets) if "secretRef" in source else ("configMapRef", config_maps)
        values = named(where, source[kind])
        found |= {source.get("prefix", "") + key: value for key, value in (values or {}).items()}
    for entry in container.get("env", ()):
        value = _value(entry, config_maps, secrets, fields)
        if value is not None:
            found[entry["name"]] = value
    return found


def _value(entry, config_maps, secrets, fields):
    if "valueFrom" not in entry:
        value = entry.get("value", "")
        if "$(" in value:
            raise NotImplementedError(f"{entry['name']}: references to other variables are not resolved here")
        return value
    ((kind, reference),) = entry["valueFrom"].items()
    if kind == "fieldRef":
        return fields[reference["fieldPath"]]
    if kind not in ("secretKeyRef", "configMapKeyRef"):
        raise NotImplementedError(f"{entry['name']}: {kind} is not resolved here")
    values = named(secrets if kind == "secretKeyRef" else config_maps, reference) or {}
    if reference["key"] not in values and not reference.get("optional"):
        raise KeyError(f"{entry['name']}: {reference['name']} has no key {reference['key']}")
    return values.get(reference["key"])


def named(where, reference):
    """Return the ConfigMap or Secret that is referred to; None where it is optional and absent."""
    name = reference.get("name") or reference["secretName"]
    if name not in where and not reference.get("optional"):
        raise KeyError(f"the pod refers to {name}, which does not exist; there are {sorted(where)}")
    return where.get(name)
