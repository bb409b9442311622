"""What is refused beyond what Kubernetes and the operator accept."""

import pytest
from support.manifest_faults import (
    Fault,
    add,
    autoscaled,
    autoscaler,
    drop,
    errors,
    expect,
    head,
    head_context,
    head_env,
    head_pod,
    head_ray,
    job,
    learner_ray,
    policy,
    put,
    role_rule,
    submitter_ray,
    the,
)

CONTEXT = "containers[0].securityContext"
SECURITY = [
    Fault(
        "escalation",
        drop(head_context, "allowPrivilegeEscalation"),
        "allowPrivilegeEscalation",
        "must be false",
    ),
    Fault(
        "capabilities",
        put(head_context, "capabilities", {"add": ["NET_RAW"], "drop": ["ALL"]}),
        "capabilities.add",
        "must be empty, got NET_RAW",
    ),
    Fault("not all dropped", put(head_context, "capabilities", {}), "capabilities.drop", "must hold ALL"),
    Fault(
        "writable root",
        put(head_context, "readOnlyRootFilesystem", False),
        "readOnlyRootFilesystem",
        "be true",
    ),
    Fault("as root", put(head_context, "runAsNonRoot", False), "runAsNonRoot", "must be true"),
    Fault("user 0", put(head_context, "runAsUser", 0), "runAsUser", "must not be 0"),
    Fault("no seccomp", drop(head_context, "seccompProfile"), "seccompProfile", "must be RuntimeDefault"),
    Fault("privileged", put(head_context, "privileged", True), "privileged", "must not be true"),
    Fault("submitter's context", drop(submitter_ray, "securityContext"), CONTEXT, "is missing, must say"),
    Fault(
        "no submitter",
        drop(job, "submitterPodTemplate"),
        "submitterPodTemplate",
        "the operator's own submitter",
    ),
    Fault(
        "autoscaler's context",
        autoscaled(drop(autoscaler, "securityContext")),
        "autoscalerOptions.securityContext",
        "is missing",
    ),
    Fault("host network", put(head_pod, "hostNetwork", True), "hostNetwork", "must not be true"),
    Fault(
        "host folder",
        add(lambda p: head_pod(p)["volumes"], {"name": "h", "hostPath": {"path": "/"}}),
        "hostPath",
        "must be one of configMap",
    ),
    Fault("host port", put(lambda p: head_ray(p)["ports"][0], "hostPort", 8080), "hostPort", "opens a port"),
    Fault(
        "token",
        drop(head_pod, "automountServiceAccountToken"),
        "automountServiceAccountToken",
        "must be false",
    ),
    Fault("no fsGroup", drop(lambda p: head_pod(p)["securityContext"], "fsGroup"), "fsGroup", "is missing"),
    Fault(
        "latest", put(learner_ray, "image", "registry.example:5000/pgpo:latest"), "image", "a tag that stays"
    ),
    Fault("no tag", put(learner_ray, "image", "registry.example:5000/pgpo"), "image", "must have a tag"),
    Fault(
        "secret in sight",
        add(head_env, {"name": "WANDB_API_KEY", "value": "x"}),
        "env[3].value",
        "secretKeyRef",
    ),
    Fault(
        "token in sight",
        add(head_env, {"name": "NOTE", "value": "hf_" + "a" * 24}),
        "env[3].value",
        "secretKeyRef",
    ),
    Fault("load balancer", put(head, "serviceType", "LoadBalancer"), "serviceType", "it exposes Ray"),
    Fault("ingress", put(head, "enableIngress", True), "enableIngress", "it exposes Ray"),
    Fault("all verbs", put(role_rule, "verbs", ["*"]), "rules[0].verbs", "must name them"),
    Fault(
        "reads secrets",
        put(role_rule, "resources", ["secrets"]),
        "rules[0].resources",
        "must not hold secrets",
    ),
    Fault(
        "admin", put(the("RoleBinding", "roleRef"), "name", "cluster-admin"), "roleRef.name", "least rights"
    ),
    Fault(
        "no default deny",
        lambda p: p.drop("NetworkPolicy", "default-deny"),
        "",
        "the type Ingress",
        ("the type Egress",),
    ),
    Fault("everything let in", put(policy, "ingress", [{}]), "spec.ingress[0]", "allows everything"),
    Fault(
        "no memory limit",
        drop(lambda p: learner_ray(p)["resources"], "limits"),
        "limits.memory",
        "is missing",
    ),
    Fault(
        "above its limit",
        put(lambda p: learner_ray(p)["resources"]["requests"], "memory", "3Gi"),
        "requests.memory",
        "at most the limit (2Gi)",
    ),
    Fault(
        "boundless shared memory",
        drop(lambda p: head_pod(p)["volumes"][3]["emptyDir"], "sizeLimit"),
        "sizeLimit",
        "could grow",
    ),
    Fault(
        "too much shared memory",
        put(lambda p: head_pod(p)["volumes"][3]["emptyDir"], "sizeLimit", "3Gi"),
        "volumeMounts[3]",
        "must be at most the container's memory limit (2Gi)",
    ),
    Fault(
        "no shared memory", drop(lambda p: learner_ray(p)["volumeMounts"], 3), "volumeMounts", "at /dev/shm"
    ),
]


@pytest.mark.parametrize("fault", SECURITY, ids=lambda fault: fault.name)
def test_a_planted_fault_is_told_once_at_its_field(planted, crds, fault):
    fault.change(planted)
    expect(fault, errors(planted.check(crds)))
