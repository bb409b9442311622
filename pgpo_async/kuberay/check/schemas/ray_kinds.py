"""RayJob and RayCluster against KubeRay's resource definitions, unknown fields refused.

The definitions are KubeRay's files, not ours: they are looked for in `--crds`, in PGPO_KUBERAY_CRDS, and
beside the repository. Called by `command` (for the folder) and by `checking`.
"""

import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from yaml import YAMLError

from pgpo_async.contracts import ConfigError
from pgpo_async.kuberay.check.manifest import Finding, Manifest
from pgpo_async.kuberay.check.ray import RAY_API
from pgpo_async.kuberay.check.values import mapping, mappings, text

ENVIRONMENT = "PGPO_KUBERAY_CRDS"
BESIDE = Path(__file__).parents[5] / "shared" / "kuberay-crds"
FILES = {"RayJob": "ray.io_rayjobs.yaml", "RayCluster": "ray.io_rayclusters.yaml"}
NAMES = {"RayJob": "rayjobs.ray.io", "RayCluster": "rayclusters.ray.io"}


def crds_folder(given: Path | None) -> Path | None:
    """Return the folder of the definitions; None where nobody named one and none is beside the repository.

    Raises ConfigError where a folder was named that has none of them.
    """
    named = given or (Path(os.environ[ENVIRONMENT]) if os.environ.get(ENVIRONMENT) else None)
    if named is None:
        return BESIDE if BESIDE.is_dir() else None
    if not any((named / file).is_file() for file in FILES.values()):
        source = "--crds" if given else ENVIRONMENT
        raise ConfigError(f"{source}: {named} must be a folder with {' and '.join(FILES.values())}")
    return named


def check_ray_kinds(manifests: list[Manifest], crds: Path | None) -> Iterator[Finding]:
    """Check every RayJob and RayCluster; where their definition is absent, one warning a kind."""
    from pgpo_async.kuberay.check.schemas.told import findings_of

    warned: set[str] = set()
    for manifest in manifests:
        if not manifest.is_a(RAY_API, *FILES):
            continue
        file = crds / FILES[manifest.kind] if crds else None
        if file is None or not file.is_file():
            if manifest.kind not in warned:
                yield _absent(manifest)
            warned.add(manifest.kind)
            continue
        validator = _validator(file, manifest.api_version.rpartition("/")[2])
        if validator is None:
            message = f"must be a version that {file.name} has, got {manifest.api_version!r}"
            yield manifest.error(("apiVersion",), message)
        else:
            yield from findings_of(manifest, validator.iter_errors(manifest.body))


def _absent(manifest: Manifest) -> Finding:
    file = FILES[manifest.kind]
    return manifest.warning(
        (),
        f"fields were not checked, since {file} is not there: `kubectl get crd {NAMES[manifest.kind]} -o "
        f"yaml > {file}` in a folder, and name that with --crds or {ENVIRONMENT}",
    )


@lru_cache
def _validator(file: Path, version: str) -> Any:
    from jsonschema import Draft202012Validator
    from yaml import CSafeLoader, load

    from pgpo_async.kuberay.check.schemas.structural import strict

    try:
        definition = load(file.read_text(), CSafeLoader)
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise ConfigError(f"{file}: cannot be read: {' '.join(str(error).split())}") from None
    for _, entry in mappings(definition, "spec", "versions"):
        schema = mapping(entry, "schema", "openAPIV3Schema")
        if text(entry, "name") == version and schema:
            return Draft202012Validator(strict(schema))
    return None
