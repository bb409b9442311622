"""What the user names to manifests: a folder, a kustomization, a file, or stdin. Called by `command`.

Owns where texts come from, and what a text that is no object is told as; `yaml_text` owns the syntax. A
folder with a `kustomization.yaml` at its top is checked as kustomize renders it: its files alone are not what
a cluster would get.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pgpo_async.config.files import similar_file
from pgpo_async.contracts import ConfigError
from pgpo_async.kuberay.check.manifest import Finding, Manifest
from pgpo_async.kuberay.check.yaml_text import NotYaml, read_documents

STDIN = Path("-")
SUFFIXES = (".yaml", ".yml")
KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")
KUSTOMIZE_TIMEOUT_S = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Folder:
    """What was read: objects, and what could not be read as such."""

    manifests: list[Manifest] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def read_folder(path: Path) -> Folder:
    """Read all manifests. Raises ConfigError where there is nothing to check."""
    folder = Folder()
    try:
        texts = list(_texts(path))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    for file, text in texts:
        try:
            documents = read_documents(text)
        except NotYaml as error:
            folder.findings.append(
                Finding(file=file, object="", field="", message=f"not valid YAML: {error}")
            )
            continue
        for document in documents:
            for body in _objects(document):
                if isinstance(body, Mapping):
                    folder.manifests.append(Manifest(file=file, body=body))
                else:
                    message = f"a document must be a mapping, got {type(body).__name__}"
                    folder.findings.append(Finding(file=file, object="", field="", message=message))
    if not folder.manifests and not folder.findings:
        raise ConfigError(f"{path}: no manifests in it, must hold at least one Kubernetes object")
    return folder


def _objects(document: Any) -> list[Any]:
    """A `List` is what its items are."""
    if isinstance(document, Mapping) and document.get("kind") == "List":
        items = document.get("items")
        return items if isinstance(items, list) else []
    return [document]


def _texts(path: Path) -> Iterator[tuple[str, str]]:
    if path == STDIN:
        yield "stdin", _decoded("stdin", sys.stdin.buffer.read())
    elif path.is_file():
        yield str(path), _decoded(str(path), path.read_bytes())
    elif path.is_dir():
        if any((path / name).is_file() for name in KUSTOMIZATIONS):
            yield str(path), _kustomized(path)
            return
        files = sorted(file for file in path.rglob("*") if file.suffix in SUFFIXES and file.is_file())
        if inner := [str(file.parent) for file in files if file.name in KUSTOMIZATIONS]:
            raise ConfigError(
                f"{path}: holds several kustomizations, check one at a time: {', '.join(inner)}"
            )
        if not files:
            raise ConfigError(
                f"{path}: no manifests in it, must hold files that end in {' or '.join(SUFFIXES)}"
            )
        for file in files:
            yield str(file), _decoded(str(file), file.read_bytes())
    elif path.exists():
        raise ConfigError(f"{path}: must be a folder or a file; `-` reads stdin")
    else:
        raise ConfigError(f"{path}: no such folder or file{similar_file(path)}")


def _decoded(name: str, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name}: must be UTF-8 text, got byte 0x{data[error.start]:02x}") from None


def _kustomized(path: Path) -> str:
    if shutil.which("kubectl"):
        command = ["kubectl", "kustomize", str(path)]
    elif shutil.which("kustomize"):
        command = ["kustomize", "build", str(path)]
    else:
        raise ConfigError(
            f"{path}: holds a kustomization, and neither kubectl nor kustomize is on PATH: install one, or "
            "give the manifests that it renders (`-` reads stdin)"
        )
    told = " ".join(command)
    try:
        done = subprocess.run(command, capture_output=True, timeout=KUSTOMIZE_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise ConfigError(f"{path}: `{told}` did not end within {KUSTOMIZE_TIMEOUT_S:g} s") from None
    except OSError as error:
        raise ConfigError(f"{path}: `{told}` cannot be started: {error.strerror}") from None
    if done.returncode:
        reason = " ".join(done.stderr.decode(errors="replace").split()) or f"exit code {done.returncode}"
        raise ConfigError(f"{path}: `{told}` failed: {reason}")
    return _decoded(told, done.stdout)
