"""Kueue: the run waits, suspended, until its queue has quota for all of its pods, and starts whole.

The queues are an example: quota for this one run, of one flavour of nodes. A cluster that has its own needs
only the label on the RayJob. Kueue starts no RayJob whose cluster scales itself.
"""

from pgpo_async.kuberay.labels import PART_OF, QUEUE_LABEL, Manifest
from pgpo_async.kuberay.planned_run import PlannedRun
from pgpo_async.kuberay.quantities import GI, as_cpus, as_memory

FLAVOR, CLUSTER_QUEUE = "pgpo-async-nodes", "pgpo-async"
SUBMITTER_CPUS, SUBMITTER_BYTES = 1.0, GI


def queued(objects: list[Manifest], run: PlannedRun) -> None:
    """Have the run wait in its queue, in place."""
    job = run.job_of(objects)
    job["metadata"]["labels"][QUEUE_LABEL] = run.settings.scheduling.queue
    job["spec"]["suspend"] = True
    objects += _queues(run)


def _queues(run: PlannedRun) -> list[Manifest]:
    quota = _quota(run)
    flavor = {"name": FLAVOR, "resources": [{"name": n, "nominalQuota": q} for n, q in quota.items()]}
    groups = [{"coveredResources": list(quota), "flavors": [flavor]}]
    namespace = {"kubernetes.io/metadata.name": run.settings.namespace}
    return [
        _object("ResourceFlavor", FLAVOR, {}),
        _object(
            "ClusterQueue",
            CLUSTER_QUEUE,
            {"namespaceSelector": {"matchLabels": namespace}, "resourceGroups": groups},
        ),
        _object(
            "LocalQueue",
            run.settings.scheduling.queue,
            {"clusterQueue": CLUSTER_QUEUE},
            run.settings.namespace,
        ),
    ]


def _quota(run: PlannedRun) -> dict[str, str]:
    """Return what all pods of the run ask for."""
    memory, shapes = run.memory, run.shapes
    cpus = run.settings.head.cpus + SUBMITTER_CPUS + sum(shape.pods * shape.cpus for shape in shapes)
    num_bytes = memory.head.limit + SUBMITTER_BYTES
    num_bytes += sum(shape.pods * memory.workers[shape.role].limit for shape in shapes)
    # Each pod's memory is rounded up, by less than this.
    num_bytes += (2 + sum(shape.pods for shape in shapes)) * GI
    gpus = sum(shape.pods * shape.gpus for shape in shapes)
    devices = {run.settings.scheduling.gpu_resource: str(gpus)} if gpus else {}
    return {"cpu": as_cpus(cpus), "memory": as_memory(num_bytes), **devices}


def _object(kind: str, name: str, spec: Manifest, namespace: str | None = None) -> Manifest:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {}), "labels": dict(PART_OF)}
    found = {"apiVersion": "kueue.x-k8s.io/v1beta2", "kind": kind, "metadata": metadata}
    return {**found, "spec": spec} if spec else found
