"""Names that lead nowhere, and a run that its cluster cannot run."""

import pytest
from support.manifest_faults import (
    Fault,
    drop,
    errors,
    expect,
    few_learners,
    head_ray,
    job,
    learner,
    learner_ray,
    policy,
    put,
    the,
)

LABELS = {"pgpo-async/role": "generator"}
CM = "data.config.yaml"
REFERENCES = [
    Fault(
        "absent ConfigMap",
        put(the("ConfigMap", "metadata"), "name", "pgpo-confi"),
        "configMap.name",
        "is not in the folder, did you mean 'pgpo-confi'",
    ),
    Fault(
        "undeclared volume",
        put(lambda p: learner_ray(p)["volumeMounts"][2], "name", "tpm"),
        "Mounts[2].name",
        "did you mean 'tmp'",
    ),
    Fault(
        "a path twice",
        put(lambda p: learner_ray(p)["volumeMounts"][2], "mountPath", "/home/pgpo/"),
        "mountPath",
        "got '/home/pgpo' twice",
    ),
    Fault("large ConfigMap", put(the("ConfigMap", "data"), "big", "x" * (1 << 20)), "data", "1 MiB"),
    Fault(
        "monitor of none",
        put(the("PodMonitor", "spec", "selector", "matchLabels"), "ray.io/node-type", "haed"),
        "spec.selector",
        "ray.io/node-type=haed that none has",
    ),
    Fault(
        "policy of none",
        put(policy, "podSelector", {"matchLabels": {"ray.io/group": "actor"}}),
        "spec.podSelector",
        "must match a pod",
    ),
    Fault(
        "peer that is none",
        put(policy, "egress", [{"to": [{"podSelector": {"matchLabels": {"app": "x"}}}]}]),
        "spec.egress[0].to[0].podSelector",
        "must match a pod",
    ),
    Fault(
        "monitor's port",
        put(the("PodMonitor", "spec", "podMetricsEndpoints", 1), "port", "pgpo-metric"),
        "podMetricsEndpoints[1].port",
        "did you mean 'pgpo-metrics'",
    ),
]

RUN = [
    Fault(
        "GPU that Ray counts",
        put(lambda p: learner(p)["resources"], "GPU", "1"),
        "resources.GPU",
        "has (0), got 1",
    ),
    Fault("config's field", lambda p: p.configure(train={"nun_steps": 3}), CM, "did you mean `num_steps`"),
    Fault("own Ray", lambda p: p.configure(ray={}), CM, "ray.address must be auto"),
    Fault(
        "folder outside",
        lambda p: p.configure(output_dir="/data/runs"),
        CM,
        "output_dir must lie in a volume",
    ),
    Fault("relative folder", lambda p: p.configure(output_dir="runs"), CM, "an absolute path"),
    Fault(
        "read-only folder",
        put(lambda p: head_ray(p)["volumeMounts"][1], "readOnly", True),
        CM,
        "may write to",
    ),
    Fault(
        "learner without the claim",
        drop(lambda p: learner_ray(p)["volumeMounts"], 1),
        "volumeMounts",
        "must mount the claim 'pgpo-runs' at /runs",
    ),
    Fault(
        "more generators",
        lambda p: p.configure(generator={"replicas": 9, "labels": LABELS}),
        "workerGroupSpecs",
        "does not fit: generator.cpus: the run asks for",
    ),
    Fault(
        "too few learners",
        few_learners,
        "workerGroupSpecs",
        "learner.replicas: 2 of CPU 1 each are asked for, the pods meant for them have room for 1",
    ),
    Fault(
        "other labels",
        put(learner, "labels", {"pgpo-async/role": "trainer"}),
        "workerGroupSpecs",
        "learner.labels: no node has pgpo-async/role=learner",
    ),
    Fault(
        "GPUs that are not there",
        lambda p: p.configure(reward={"gpus": 1}),
        "workerGroupSpecs",
        "reward.gpus",
    ),
    Fault(
        "no such command",
        put(job, "entrypoint", "pgpo-async lanch /x.yaml"),
        "entrypoint",
        "must be `pgpo-async",
    ),
    Fault(
        "no such config",
        put(job, "entrypoint", "pgpo-async launch /etc/pgpo.yaml"),
        "volumeMounts",
        "must mount a ConfigMap that holds /etc/pgpo.yaml",
    ),
    Fault(
        "no such key",
        put(job, "entrypoint", "pgpo-async launch /etc/pgpo-async/c.yaml --resume auto"),
        "data.c.yaml",
        "got config.yaml",
    ),
    Fault("exporter's port", lambda p: p.configure(metrics={"port": 9500}), "ports[1].containerPort", "9500"),
]


@pytest.mark.parametrize("fault", [*REFERENCES, *RUN], ids=lambda fault: fault.name)
def test_a_planted_fault_is_told_once_at_its_field(planted, crds, fault):
    fault.change(planted)
    expect(fault, errors(planted.check(crds)))
