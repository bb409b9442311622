"""What the tests of `k8s check` share: the valid set, KubeRay's definitions, a folder of manifests."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from support.valid_manifests import Body, Planted

from pgpo_async.kuberay.check.schemas.ray_kinds import crds_folder


@pytest.fixture(scope="session")
def crds() -> Path:
    """KubeRay's resource definitions, which are not in the repository."""
    folder = crds_folder(None)
    if folder is None:
        pytest.skip(
            "KubeRay's CRDs are absent: PGPO_KUBERAY_CRDS must name the folder of ray.io_rayjobs.yaml"
        )
    return folder


@pytest.fixture
def planted() -> Planted:
    return Planted()


@pytest.fixture
def folder(tmp_path: Path) -> Callable[[list[Body]], Path]:
    """Write objects into a folder, a file each."""

    def write(bodies: list[Body]) -> Path:
        for number, body in enumerate(bodies):
            (tmp_path / f"{number:02}-{body['kind'].lower()}.yaml").write_text(yaml.safe_dump(body))
        return tmp_path

    return write
