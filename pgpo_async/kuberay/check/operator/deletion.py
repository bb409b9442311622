"""Rules of a RayJob's `deletionStrategy`: what goes when the job ends. Called by `checking`."""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from pgpo_async.config.issues import Path
from pgpo_async.kuberay.check.manifest import Finding, Manifest
from pgpo_async.kuberay.check.ray import ray_jobs
from pgpo_async.kuberay.check.values import entries, mapping, mappings, part, text, whole

HERE = ("spec", "deletionStrategy")
OF_A_CLUSTER = ("DeleteCluster", "DeleteWorkers")
ORDER = ("DeleteWorkers", "DeleteCluster", "DeleteSelf")
"""Later ones take the earlier along, so that none may come before its predecessor."""


def check_deletion(manifests: list[Manifest]) -> Iterator[Finding]:
    """Check every RayJob that has a strategy."""
    for job in ray_jobs(manifests):
        strategy = part(job.body, *HERE)
        if isinstance(strategy, Mapping):
            yield job.warning(HERE, "needs the operator's feature gate RayJobDeletionPolicy")
            yield from _check_strategy(job, strategy)


def _check_strategy(job: Manifest, strategy: Mapping[str, Any]) -> Iterator[Finding]:
    ends = [key for key in ("onSuccess", "onFailure") if key in strategy]
    rules = entries(strategy, "deletionRules")
    shuts_down = part(job.body, "spec", "shutdownAfterJobFinishes") is True
    if rules and ends:
        yield job.error(HERE, f"must have either deletionRules or onSuccess and onFailure, got {ends[0]} too")
    elif rules and shuts_down:
        message = "must not be there with shutdownAfterJobFinishes: true"
        yield job.error((*HERE, "deletionRules"), message)
    elif not rules and len(ends) < 2:
        yield job.error(HERE, "must have both onSuccess and onFailure, or deletionRules")
    for end in ends:
        yield from _check_policy(job, (*HERE, end, "policy"), text(strategy, end, "policy"), shuts_down)
    yield from _check_rules(job, strategy)


def _check_policy(job: Manifest, path: Path, policy: str, shuts_down: bool) -> Iterator[Finding]:
    if not policy:
        yield job.error(path, "is missing")
    elif policy == "DeleteNone" and shuts_down:
        yield job.error(path, "must not be DeleteNone with shutdownAfterJobFinishes: true")
    yield from _check_fits(job, path, policy)


def _check_fits(job: Manifest, path: Path, policy: str) -> Iterator[Finding]:
    if policy in OF_A_CLUSTER and mapping(job.body, "spec", "clusterSelector"):
        yield job.error(path, f"must not be {policy} with clusterSelector: the cluster is not the job's")
    elif (
        policy == "DeleteWorkers"
        and part(job.body, "spec", "rayClusterSpec", "enableInTreeAutoscaling") is True
    ):
        yield job.error(path, "must not be DeleteWorkers with enableInTreeAutoscaling")


def _check_rules(job: Manifest, strategy: Mapping[str, Any]) -> Iterator[Finding]:
    times: dict[str, dict[str, int]] = {}
    for index, rule in mappings(strategy, "deletionRules"):
        path = (*HERE, "deletionRules", index)
        states = [key for key in ("jobStatus", "jobDeploymentStatus") if text(rule, "condition", key)]
        if len(states) != 1:
            yield job.error((*path, "condition"), "must have either jobStatus or jobDeploymentStatus")
            continue
        policy, state = text(rule, "policy"), text(rule, "condition", states[0])
        yield from _check_fits(job, (*path, "policy"), policy)
        of_state = times.setdefault(f"{states[0]} {state}", {})
        if policy in of_state:
            yield job.error(path, f"must be there once for {policy} and {states[0]} {state}")
            continue
        of_state[policy] = whole(rule, "condition", "ttlSeconds") or 0
    for state, ttls in times.items():
        ordered = [policy for policy in ORDER if policy in ttls]
        for earlier, later in pairwise(ordered):
            if ttls[later] < ttls[earlier]:
                yield job.error(
                    (*HERE, "deletionRules"),
                    f"for {state} {later} must not come before {earlier} ({ttls[earlier]} s), "
                    f"got {ttls[later]} s",
                )
