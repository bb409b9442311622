"""What no object may look like: headings, names, fields and their types."""

import pytest
from support.manifest_faults import (
    Fault,
    alert,
    cluster,
    drop,
    errors,
    expect,
    learner,
    learner_ray,
    policy,
    put,
    the,
    twins,
)

DOCUMENTS = [
    Fault("no kind", drop(the("Role"), "kind"), "kind", "must be text such as RayJob"),
    Fault("no version", drop(the("Role"), "apiVersion"), "apiVersion", "must be text"),
    Fault("no name", drop(the("PodMonitor", "metadata"), "name"), "metadata.name", "is missing"),
    Fault(
        "capital name", put(the("Role", "metadata"), "name", "a b/c"), "metadata.name", "one part of a path"
    ),
    Fault(
        "bad label", put(the("LocalQueue", "metadata", "labels"), "tier", "a b"), "labels.tier", "got 'a b'"
    ),
    Fault(
        "label key", put(the("LocalQueue", "metadata", "labels"), "-x", "a"), "labels.-x", "its key must be"
    ),
    Fault("misspelt labels", put(the("Namespace", "metadata"), "lables", {}), "metadata.lables", "`labels`"),
    Fault("twice there", twins, "metadata.name", "must be there once"),
]

SCHEMAS = [
    Fault("misspelt field", put(cluster, "rayVersio", "2"), "rayClusterSpec.rayVersio", "mean `rayVersion`"),
    Fault("wrong type", put(learner, "replicas", "2"), "[2].replicas", "must be an integer, got '2'"),
    Fault(
        "bad quantity",
        put(lambda p: learner_ray(p)["resources"]["requests"], "cpu", "1 core"),
        "cpu",
        "quantity",
    ),
    Fault(
        "unknown choice",
        put(lambda p: p.cluster["authOptions"], "mode", "tokn"),
        "mode",
        "did you mean token",
    ),
    Fault("missing field", drop(lambda p: learner_ray(p), "name"), "containers[0].name", "is missing"),
    Fault("wrong version", put(the("RayJob"), "apiVersion", "ray.io/v2"), "apiVersion", "ray.io/v2"),
    Fault("core field", put(policy, "podSelectors", {}), "spec.podSelectors", "did you mean `podSelector`"),
    Fault("core type", put(the("PriorityClass"), "value", "high"), "value", "must be an integer"),
    Fault("core kind", put(the("PriorityClass"), "kind", "PriorityClas"), "kind", "must be of Kubernetes"),
    Fault("monitor field", put(the("PodMonitor", "spec"), "selectr", {}), "spec.selectr", "mean `selector`"),
    Fault("rule without expr", drop(alert, "expr"), "rules[0].expr", "is missing"),
    Fault("rule's duration", put(alert, "for", "15 minutes"), "rules[0].for", "a duration such as"),
    Fault("neither alert nor record", drop(alert, "alert"), "rules[0]", "either `alert` or `record`"),
    Fault(
        "queue field", put(the("LocalQueue", "spec"), "clusterQueues", "x"), "clusterQueues", "`clusterQueue`"
    ),
    Fault(
        "queue enum", put(the("ClusterQueue", "spec"), "stopPolicy", "Stop"), "stopPolicy", "must be one of"
    ),
]


@pytest.mark.parametrize("fault", [*DOCUMENTS, *SCHEMAS], ids=lambda fault: fault.name)
def test_a_planted_fault_is_told_once_at_its_field(planted, crds, fault):
    fault.change(planted)
    expect(fault, errors(planted.check(crds)))
