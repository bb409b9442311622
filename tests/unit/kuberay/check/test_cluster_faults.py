"""The operator's rules of a cluster."""

import pytest
from support.manifest_faults import (
    Fault,
    add,
    autoscaled,
    autoscaler,
    cluster,
    drop,
    errors,
    expect,
    gcs,
    head,
    head_env,
    head_pod,
    learner,
    put,
    redis,
    the,
)

RESTART = "restartPolicy"
CLUSTERS = [
    Fault(
        "resources twice",
        put(lambda p: learner(p)["rayStartParams"], "num-cpus", "1"),
        "num-cpus",
        "one place",
    ),
    Fault(
        "labels by hand",
        put(lambda p: head(p)["rayStartParams"], "labels", "a=b"),
        "rayStartParams.labels",
        "the group's own `labels`",
    ),
    Fault(
        "group's label", put(lambda p: p.group("scorer")["labels"], "zone", "a/b"), "labels.zone", "got 'a/b'"
    ),
    Fault("replicas above", put(learner, "replicas", 3), "replicas", "at most maxReplicas (2), got 3"),
    Fault("replicas below", put(learner, "replicas", 1), "replicas", "at least minReplicas (2), got 1"),
    Fault("bounds crossed", put(learner, "minReplicas", 5), "minReplicas", "at most maxReplicas (2), got 5"),
    Fault("no bound", drop(learner, "maxReplicas"), "maxReplicas", "where nothing scales the group"),
    Fault(
        "no containers",
        put(lambda p: p.head["template"]["spec"], "containers", []),
        "template.spec.containers",
        "at least one container",
        ("must be a port of", "must mount a ConfigMap"),
    ),
    Fault("group name", put(learner, "groupName", "Learner_1"), "groupName", "must be a DNS-1123 label"),
    Fault("group name twice", put(learner, "groupName", "scorer"), "groupName", "got 'scorer' twice"),
    Fault(
        "autoscaler v2 restarts",
        autoscaled(put(head_pod, RESTART, "Always")),
        "restartPolicy",
        "autoscaler v2",
    ),
    Fault(
        "version twice",
        autoscaled(add(head_env, {"name": "RAY_enable_autoscaler_v2", "value": "1"})),
        "env[3]",
        "beside autoscalerOptions.version",
    ),
    Fault(
        "v2 without scaling",
        add(head_env, {"name": "RAY_enable_autoscaler_v2", "value": "true"}),
        "env[3]",
        "without enableInTreeAutoscaling",
    ),
    Fault(
        "suspended group",
        autoscaled(put(lambda p: p.group("scorer"), "suspend", True)),
        "suspend",
        "must not be true with enableInTreeAutoscaling",
        ("does not fit",) * 2,
    ),
    Fault(
        "group's idle time",
        put(learner, "idleTimeoutSeconds", 60),
        "idleTimeoutSeconds",
        "needs autoscaler v2",
    ),
    Fault("group's priority", put(learner, "priority", 2), "priority", "needs autoscaler v2"),
    Fault(
        "start command",
        autoscaled(put(autoscaler, "env", [{"name": "KUBERAY_GEN_AUTOSCALER_START_CMD", "value": "x"}])),
        "autoscalerOptions.env[0]",
        "operator sets",
    ),
    Fault("tokens without version", drop(cluster, "rayVersion"), "rayVersion", "must be 2.52.0 or later"),
    Fault("tokens with an old Ray", put(cluster, "rayVersion", "2.51.1"), "rayVersion", "got '2.51.1'"),
    Fault(
        "tokens of Kubernetes",
        put(lambda p: p.cluster["authOptions"], "enableK8sTokenAuth", True),
        "enableK8sTokenAuth",
        "must not be true in a RayJob",
    ),
    Fault(
        "annotation and options",
        redis(put(the("RayJob", "metadata"), "annotations", {"ray.io/ft-enabled": "true"})),
        "annotations.ray.io/ft-enabled",
        "beside gcsFaultToleranceOptions",
    ),
    Fault(
        "redis by hand",
        add(head_env, {"name": "RAY_REDIS_ADDRESS", "value": "r:1"}),
        "env[3]",
        "redisAddress",
    ),
    Fault(
        "redis user",
        put(lambda p: head(p)["rayStartParams"], "redis-username", "u"),
        "redis-username",
        "redisUsername",
    ),
    Fault(
        "storage of redis",
        redis(put(gcs, "storage", {})),
        "gcsFaultToleranceOptions.storage",
        "backend redis",
    ),
    Fault(
        "redis of rocksdb", redis(put(gcs, "backend", "rocksdb")), "redisAddress", "with the backend rocksdb"
    ),
    Fault(
        "managed variable",
        add(head_env, {"name": "RAY_CLUSTER_NAME", "value": "x"}),
        "env[3]",
        "operator sets",
    ),
    Fault(
        "queue and autoscaler",
        autoscaled(put(the("RayJob", "metadata", "labels"), "kueue.x-k8s.io/queue-name", "pgpo")),
        "enableInTreeAutoscaling",
        "must not be true in a queue",
    ),
]


@pytest.mark.parametrize("fault", CLUSTERS, ids=lambda fault: fault.name)
def test_a_planted_fault_is_told_once_at_its_field(planted, crds, fault):
    fault.change(planted)
    expect(fault, errors(planted.check(crds)))


@pytest.mark.parametrize("fault", CLUSTERS, ids=lambda fault: fault.name)
def test_the_operators_rules_need_no_definitions_of_its_kinds(planted, fault):
    fault.change(planted)
    expect(fault, errors(planted.check(None)))


def test_a_ray_cluster_of_its_own_follows_the_same_rules(planted, crds):
    body = planted.the("RayJob")
    planted.bodies.remove(body)
    metadata = {**body["metadata"], "name": "a" * 54}
    spec = {**body["spec"]["rayClusterSpec"], "rayVersion": "2.51.0"}
    planted.bodies.append(
        {"apiVersion": "ray.io/v1", "kind": "RayCluster", "metadata": metadata, "spec": spec}
    )
    assert {finding.field: finding.message for finding in errors(planted.check(crds))} == {
        "metadata.name": "must be at most 53 characters long, got 54",
        "spec.rayVersion": "must be 2.52.0 or later with token authentication, got '2.51.0'",
    }
