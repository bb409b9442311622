"""The operator's rules of a RayJob."""

import pytest
from support.manifest_faults import (
    Fault,
    both,
    drop,
    errors,
    expect,
    head_pod,
    job,
    put,
    rename_job,
    side_car,
)

RESTART = "restartPolicy"
JOBS = [
    Fault("long job name", rename_job("a" * 48), "metadata.name", "at most 47 characters long, got 48"),
    Fault("job name with a digit first", rename_job("4b"), "metadata.name", "must be a DNS-1035 label"),
    Fault(
        "suspend alone",
        both(
            drop(job, "shutdownAfterJobFinishes"),
            drop(job, "ttlSecondsAfterFinished"),
            put(job, "suspend", True),
        ),
        "spec.suspend",
        "needs shutdownAfterJobFinishes",
    ),
    Fault(
        "ttl alone",
        drop(job, "shutdownAfterJobFinishes"),
        "ttlSecondsAfterFinished",
        "needs shutdownAfterJobFinishes",
    ),
    Fault(
        "negative ttl",
        put(job, "ttlSecondsAfterFinished", -1),
        "ttlSecondsAfterFinished",
        "at least 0, got -1",
    ),
    Fault(
        "no cluster",
        drop(job, "rayClusterSpec"),
        "spec.rayClusterSpec",
        "is missing, or clusterSelector",
        ("must match a pod",) * 4,
    ),
    Fault(
        "selector and retries",
        put(job, "clusterSelector", {"ray.io/cluster": "a"}),
        "backoffLimit",
        "must be 0",
    ),
    Fault(
        "unknown mode", put(job, "submissionMode", "K8JobMode"), "submissionMode", "did you mean K8sJobMode"
    ),
    Fault(
        "interactive retries",
        put(job, "submissionMode", "InteractiveMode"),
        "backoffLimit",
        "InteractiveMode",
    ),
    Fault("sidecar", side_car, "submissionMode", "a side container has no security context"),
    Fault(
        "sidecar and submitter",
        put(job, "submissionMode", "SidecarMode"),
        "submitterPodTemplate",
        "must not be there in SidecarMode",
        ("a side container",),
    ),
    Fault(
        "sidecar's head restarts",
        both(side_car, put(head_pod, RESTART, "Always")),
        "restartPolicy",
        "must be Never or left out in SidecarMode",
        ("a side container",),
    ),
    Fault("no entrypoint", drop(job, "entrypoint"), "spec.entrypoint", "is missing, must be a command"),
    Fault("runtime environment", put(job, "runtimeEnvYAML", "a: [1"), "spec.runtimeEnvYAML", "must be YAML"),
    Fault("deadline", put(job, "activeDeadlineSeconds", 0), "activeDeadlineSeconds", "above 0, got 0"),
    Fault(
        "early deadline",
        put(job, "preRunningDeadlineSeconds", 0),
        "preRunningDeadlineSeconds",
        "above 0, got 0",
    ),
    Fault("negative retries", put(job, "backoffLimit", -1), "spec.backoffLimit", "at least 0, got -1"),
    Fault(
        "half a deletion",
        put(job, "deletionStrategy", {"onSuccess": {"policy": "DeleteSelf"}}),
        "spec.deletionStrategy",
        "both onSuccess and onFailure",
    ),
    Fault(
        "deletion twice",
        put(
            job,
            "deletionStrategy",
            {
                "deletionRules": [
                    {"policy": "DeleteSelf", "condition": {"jobStatus": "FAILED", "ttlSeconds": 5}}
                ]
            },
        ),
        "deletionStrategy.deletionRules",
        "with shutdownAfterJobFinishes",
    ),
    Fault(
        "managed by another", put(job, "managedBy", "me"), "spec.managedBy", "must be one of ray.io/kuberay"
    ),
    Fault(
        "deletion's rules in the wrong order",
        both(
            drop(job, "shutdownAfterJobFinishes"),
            drop(job, "ttlSecondsAfterFinished"),
            put(
                job,
                "deletionStrategy",
                {
                    "deletionRules": [
                        {"policy": "DeleteSelf", "condition": {"jobStatus": "FAILED", "ttlSeconds": 5}},
                        {"policy": "DeleteCluster", "condition": {"jobStatus": "FAILED", "ttlSeconds": 9}},
                    ]
                },
            ),
        ),
        "deletionRules",
        "DeleteSelf must not come before DeleteCluster (9 s), got 5 s",
    ),
]


@pytest.mark.parametrize("fault", JOBS, ids=lambda fault: fault.name)
def test_a_planted_fault_is_told_once_at_its_field(planted, crds, fault):
    fault.change(planted)
    expect(fault, errors(planted.check(crds)))


@pytest.mark.parametrize("fault", JOBS, ids=lambda fault: fault.name)
def test_the_operators_rules_need_no_definitions_of_its_kinds(planted, fault):
    fault.change(planted)
    expect(fault, errors(planted.check(None)))
