"""Faults to plant into the valid manifests, and what `k8s check` must say of each."""

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

from pgpo_async.kuberay.check.manifest import Finding

Where = Callable[[Any], Any]
Change = Callable[[Any], object]


class Fault(NamedTuple):
    name: str
    change: Change
    field: str
    words: str
    others: tuple[str, ...] = ()
    """Words of the errors that this one must cause as well."""


def put(where: Where, key: Any, value: Any) -> Change:
    return lambda planted: where(planted).__setitem__(key, copy.deepcopy(value))


def drop(where: Where, key: Any) -> Change:
    return lambda planted: where(planted).__delitem__(key)


def add(where: Where, entry: Any) -> Change:
    return lambda planted: where(planted).append(copy.deepcopy(entry))


def both(*changes: Change) -> Change:
    return lambda planted: [change(planted) for change in changes]


def the(kind: str, *path: str | int, name: str | None = None) -> Where:
    def reach(planted: Any) -> Any:
        found = planted.the(kind, name)
        for key in path:
            found = found[key]
        return found

    return reach


def job(planted: Any) -> Any:
    return planted.job


def cluster(planted: Any) -> Any:
    return planted.cluster


def head(planted: Any) -> Any:
    return planted.head


def head_pod(planted: Any) -> Any:
    return planted.head["template"]["spec"]


def head_ray(planted: Any) -> Any:
    return head_pod(planted)["containers"][0]


def head_env(planted: Any) -> Any:
    return head_ray(planted)["env"]


def head_context(planted: Any) -> Any:
    return head_ray(planted)["securityContext"]


def learner(planted: Any) -> Any:
    return planted.group("learner")


def learner_ray(planted: Any) -> Any:
    return learner(planted)["template"]["spec"]["containers"][0]


def submitter_ray(planted: Any) -> Any:
    return job(planted)["submitterPodTemplate"]["spec"]["containers"][0]


def autoscaled(change: Change) -> Change:
    return lambda planted: (planted.autoscale(), change(planted))


def autoscaler(planted: Any) -> Any:
    return cluster(planted)["autoscalerOptions"]


def redis(change: Change) -> Change:
    """With a Redis that keeps Ray's control store, as it should be."""
    return both(put(cluster, "gcsFaultToleranceOptions", {"redisAddress": "redis:6379"}), change)


def gcs(planted: Any) -> Any:
    return cluster(planted)["gcsFaultToleranceOptions"]


def role_rule(planted: Any) -> Any:
    return planted.the("Role")["rules"][0]


def policy(planted: Any) -> Any:
    return planted.the("NetworkPolicy", "ray")["spec"]


def alert(planted: Any) -> Any:
    return planted.the("PrometheusRule")["spec"]["groups"][0]["rules"][0]


def side_car(planted: Any) -> None:
    job(planted)["submissionMode"] = "SidecarMode"
    del job(planted)["submitterPodTemplate"]


def rename_job(name: str) -> Change:
    return put(the("RayJob", "metadata"), "name", name)


def twins(planted: Any) -> None:
    planted.bodies.append(copy.deepcopy(planted.the("ServiceAccount")))


def few_learners(planted: Any) -> None:
    """There is enough in all, but not where learners are to be placed."""
    learner(planted).update(replicas=1, minReplicas=1)
    planted.group("scorer")["resources"] = {"CPU": "8"}


def errors(findings: list[Finding]) -> list[Finding]:
    """Return the errors among them."""
    return [finding for finding in findings if finding.level == "error"]


def expect(fault: Fault, found: list[Finding]) -> None:
    """Fail unless the fault is told at its field, and nothing else but what it must cause."""
    told = [each for each in found if each.field.endswith(fault.field) and fault.words in each.message]
    assert told, found
    rest = [each.message for each in found if each is not told[0]]
    assert len(rest) == len(fault.others), rest
    for words in fault.others:
        assert any(words in message for message in rest), (words, rest)
