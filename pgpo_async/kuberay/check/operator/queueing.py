"""What Kueue can run: a RayJob that waits in a queue of its. Called by `checking`."""

from collections.abc import Iterator

from pgpo_async.kuberay.check.manifest import Finding, Manifest
from pgpo_async.kuberay.check.ray import cluster_of, ray_jobs
from pgpo_async.kuberay.check.values import mapping, part
from pgpo_async.kuberay.labels import QUEUE_LABEL

MOST_GROUPS = 7
"""A workload has at most eight sets of pods; one is the head."""


def check_queueing(manifests: list[Manifest]) -> Iterator[Finding]:
    """Check every RayJob that names a queue."""
    for job in ray_jobs(manifests):
        if QUEUE_LABEL not in job.labels:
            continue
        if part(job.body, "spec", "shutdownAfterJobFinishes") is not True:
            message = "must be true in a queue: Kueue gives back what the job held when its cluster is gone"
            yield job.error(("spec", "shutdownAfterJobFinishes"), message)
        if mapping(job.body, "spec", "clusterSelector"):
            yield job.error(("spec", "clusterSelector"), "must not be there in a queue")
        cluster = cluster_of(job)
        if cluster is None:
            continue
        if cluster.autoscaling:
            message = "must not be true in a queue: Kueue admits a fixed number of pods"
            yield job.error((*cluster.path, "enableInTreeAutoscaling"), message)
        if len(cluster.workers) > MOST_GROUPS:
            message = f"must be at most {MOST_GROUPS} groups in a queue, got {len(cluster.workers)}"
            yield job.error((*cluster.path, "workerGroupSpecs"), message)
