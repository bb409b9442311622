"""What may be right, but cannot be seen from here, is a warning, and says what to do."""

import builtins
import sys

import pytest

from pgpo_async.kuberay.check.schemas import core_kinds


def warnings(findings):
    assert [str(finding) for finding in findings if finding.level == "error"] == []
    return [f"{finding.object}: {finding.field}: {finding.message}" for finding in findings]


def test_without_its_definitions_a_ray_job_is_told_to_be_unchecked(planted):
    [told] = warnings(planted.check(None))
    assert told.startswith("RayJob/pgpo-demo: : fields were not checked")
    assert "`kubectl get crd rayjobs.ray.io -o yaml > ray.io_rayjobs.yaml`" in told


def test_without_the_library_kubernetes_kinds_are_told_to_be_unchecked_once(planted, crds, monkeypatch):
    real = builtins.__import__

    def refuse(name, *arguments):
        if name.startswith("kubernetes_validate"):
            raise ModuleNotFoundError(name)
        return real(name, *arguments)

    core_kinds._validator.cache_clear()
    monkeypatch.delitem(sys.modules, "kubernetes_validate", raising=False)
    monkeypatch.setattr(builtins, "__import__", refuse)
    [told] = warnings(planted.check(crds))
    assert "install `pgpo-async[k8s]`" in told


def test_a_kind_that_no_schema_knows_is_named(planted, crds):
    planted.bodies.append({"apiVersion": "x.example/v1", "kind": "Widget", "metadata": {"name": "w"}})
    [told] = warnings(planted.check(crds))
    assert told == "Widget/w: kind: was not checked: no schema for x.example/v1 Widget here"


@pytest.mark.parametrize(
    ("kind", "times"),
    [
        ("PersistentVolumeClaim", 1),
        ("ServiceAccount", 2),
        ("PriorityClass", 1),
        ("ClusterQueue", 1),
        ("Role", 1),
    ],
)
def test_what_the_cluster_may_have_already_is_told_where_it_is_named(planted, crds, kind, times):
    planted.drop(kind)
    told = warnings(planted.check(crds))
    assert len(told) == times
    assert all(f"{kind} " in line and "it must exist in the cluster" in line for line in told)


def test_a_secret_that_a_pod_cannot_do_without_must_be_in_the_cluster(planted, crds):
    del planted.head["template"]["spec"]["containers"][0]["env"][2]["valueFrom"]["secretKeyRef"]["optional"]
    [told] = warnings(planted.check(crds))
    assert "Secret 'pgpo-secrets' is not in the folder: it must exist in the cluster" in told


def test_a_secret_in_the_folder_is_better_elsewhere(planted, crds):
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"a": "b"}}
    planted.bodies.append(secret)
    [told] = warnings(planted.check(crds))
    assert "Secret/s: stringData: holds secrets" in told


@pytest.mark.parametrize(
    ("key", "value", "gate"),
    [
        ("networkPolicy", {"mode": "DenyAll"}, "RayClusterNetworkPolicy"),
        ("tlsOptions", {"enabled": True}, "RayClusterMTLS"),
        ("historyServerOptions", {}, "RayClusterHistoryServer"),
        ("gcsFaultToleranceOptions", {"backend": "rocksdb"}, "GCSFaultToleranceEmbeddedStorage"),
    ],
)
def test_options_behind_a_gate_name_it(planted, crds, key, value, gate):
    planted.cluster[key] = value
    [told] = warnings(planted.check(crds))
    assert told.endswith(f"needs the operator's feature gate {gate}")


def test_retries_that_begin_anew_are_worth_a_look(planted, crds):
    planted.job["entrypoint"] = "pgpo-async launch /etc/pgpo-async/config.yaml"
    [told] = warnings(planted.check(crds))
    assert "--resume auto" in told


def test_runs_in_a_volume_that_goes_with_its_pod_are_worth_a_look(planted, crds):
    for group in (planted.head, *planted.cluster["workerGroupSpecs"]):
        group["template"]["spec"]["volumes"][1] = {"name": "runs", "emptyDir": {}}
    [told] = warnings(planted.check(crds))
    assert "goes with its pod" in told
