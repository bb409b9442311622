"""Every overlay, shipped and rendered, is found well by `k8s check`; none of its promises can be dropped."""

import copy
from pathlib import Path

import pytest

from pgpo_async.kuberay.check.checking import check_manifests
from pgpo_async.kuberay.check.manifest import Manifest
from pgpo_async.kuberay.check.schemas.ray_kinds import crds_folder
from pgpo_async.kuberay.overlays import OVERLAYS
from pgpo_async.kuberay.render import rendered
from pgpo_async.kuberay.writing import DEMO, planned

ROOT = Path(__file__).parents[3]
CRDS = crds_folder(None)
needs_crds = pytest.mark.skipif(
    CRDS is None,
    reason="KubeRay's CRDs are absent: PGPO_KUBERAY_CRDS must name the folder of ray.io_rayjobs.yaml",
)
OF_CONTAINERS = ("allowPrivilegeEscalation", "capabilities", "readOnlyRootFilesystem")
OF_PODS_TOO = ("runAsNonRoot", "seccompProfile")
"""What a container has from its pod where it does not say it itself."""


def objects_of(overlay, *sets):
    config, settings = ("local", None) if overlay == DEMO else ("cluster", ROOT / "k8s/settings.yaml")
    return rendered(planned(ROOT / f"configs/{config}.yaml", (), overlay, settings, sets), overlay)


def findings(objects, crds=None):
    found = check_manifests([Manifest(file="rendered", body=body) for body in objects], crds)
    return [finding for finding in found if crds is not None or "CRD" not in str(finding)]


def errors(objects, crds=None):
    return [str(finding) for finding in findings(objects, crds) if finding.level == "error"]


MORE = [
    "redis.address=redis:6379",
    "redis.password=redis/key",
    "secrets.HF_TOKEN=hub/token",
    "image_pull_secret=registry",
    "job.deadline_s=86400",
    "scheduling.node_labels={gpu: h100}",
]


@needs_crds
@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("sets", [[], MORE], ids=["as shipped", "with every option"])
def test_every_overlay_validates(overlay, sets):
    found = findings(objects_of(overlay, *sets), CRDS)
    assert [str(finding) for finding in found if finding.level == "error"] == []
    assert all("must exist in the cluster" in str(finding) for finding in found), found


def containers_of(objects):
    """Every container that a run has, the operator's included, and its pod, by what it is."""
    spec = next(found for found in objects if found["kind"] == "RayJob")["spec"]
    cluster = spec["rayClusterSpec"]
    pods = {"submitter": spec["submitterPodTemplate"]["spec"]}
    for group in [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]:
        pods[group.get("groupName", "head")] = group["template"]["spec"]
    found = {name: (pod["containers"][0], pod) for name, pod in pods.items()}
    if "autoscalerOptions" in cluster:
        found["autoscaler"] = (cluster["autoscalerOptions"], pods["head"])
    return found


@pytest.mark.parametrize("overlay", [DEMO, "autoscaled"])
@pytest.mark.parametrize("promise", [*OF_CONTAINERS, *OF_PODS_TOO])
def test_no_container_can_lose_a_promise_unseen(overlay, promise):
    whole = objects_of(overlay)
    assert errors(whole) == []
    for name in containers_of(whole):
        objects = copy.deepcopy(whole)
        container, pod = containers_of(objects)[name]
        for owner in (container, pod):
            context = owner["securityContext"]
            owner["securityContext"] = {key: value for key, value in context.items() if key != promise}
        assert any(promise in line for line in errors(objects)), name


def test_without_its_default_deny_a_namespace_is_found_open():
    deny = "pgpo-async-default-deny"
    objects = [found for found in objects_of("autoscaled") if found["metadata"]["name"] != deny]
    assert any("must have a NetworkPolicy of all pods" in line for line in errors(objects))
