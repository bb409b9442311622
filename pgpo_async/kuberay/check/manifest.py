"""An object of the folder, and a finding about it. Made by `reading`; read by every check."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pgpo_async.config.issues import Path, field_name
from pgpo_async.kuberay.check.values import mapping, text

Level = Literal["error", "warning"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing wrong (`error`), or worth a look (`warning`)."""

    file: str
    object: str
    """`Kind/name`; empty where a file is not even YAML."""
    field: str
    """`spec.template.spec.containers[0].image`; empty for the object as a whole."""
    message: str
    level: Level = "error"

    def __str__(self) -> str:
        return ": ".join(part for part in (self.file, self.object, self.field, self.message) if part)


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """One object as it was written; nothing about its shape is certain but that it is a mapping."""

    file: str
    body: Mapping[str, Any]

    @property
    def api_version(self) -> str:
        """`group/version`, or `v1`."""
        return text(self.body, "apiVersion")

    @property
    def api_group(self) -> str:
        """The group without its version; empty for Kubernetes' core."""
        group, slash, _ = self.api_version.partition("/")
        return group if slash else ""

    @property
    def kind(self) -> str:
        """The object's kind."""
        return text(self.body, "kind")

    @property
    def name(self) -> str:
        """The object's name; empty where it has none."""
        return text(self.body, "metadata", "name")

    @property
    def namespace(self) -> str:
        """The namespace that the object names; empty where it names none."""
        return text(self.body, "metadata", "namespace")

    @property
    def labels(self) -> Mapping[str, Any]:
        """The object's own labels."""
        return mapping(self.body, "metadata", "labels")

    @property
    def title(self) -> str:
        """How a finding names the object."""
        return f"{self.kind or '(no kind)'}/{self.name or '(no name)'}"

    def is_a(self, group: str, *kinds: str) -> bool:
        """Whether it is of one of these kinds."""
        return self.api_group == group and self.kind in kinds

    def error(self, path: Path, message: str) -> Finding:
        """Return an error of one of its fields."""
        return self._finding(path, message, "error")

    def warning(self, path: Path, message: str) -> Finding:
        """Return a warning of one of its fields."""
        return self._finding(path, message, "warning")

    def _finding(self, path: Path, message: str, level: Level) -> Finding:
        return Finding(
            file=self.file, object=self.title, field=field_name(path), message=message, level=level
        )
