"""The RayJob: a Ray cluster made for one run, the run as its job, and what happens when either ends.

A failure takes the cluster down and makes another (`backoffLimit`); the entry point goes on with the newest
run of its name that is not completed. Source: KubeRay 1.7.0's RayJob v1.
"""

from importlib.metadata import version
from typing import Any

from pgpo_async.kuberay.cluster_config import CONFIG_FOLDER, CONFIG_NAME
from pgpo_async.kuberay.labels import HEAD, HEAD_PORTS, INSTANCE, PART_OF, WORKER_PORTS, Manifest
from pgpo_async.kuberay.memory import PodMemory, RunMemory
from pgpo_async.kuberay.pods import (
    LEAVING,
    from_secret,
    pod_template,
    ray_container,
    resources,
    submitter_template,
)
from pgpo_async.kuberay.scheduling import learner_affinity, priority_class
from pgpo_async.kuberay.settings import Settings
from pgpo_async.kuberay.shape import GroupShape

# `exec`: Ray runs this in a shell; where the job is stopped, the shell's orphan would be waited for, all of
# `stop_grace_s`.
ENTRYPOINT = f"exec pgpo-async launch {CONFIG_FOLDER}/{CONFIG_NAME} --resume auto"
SUBMITTER_RETRIES = 3


def ray_job(run: str, settings: Settings, shapes: list[GroupShape], memory: RunMemory) -> Manifest:
    """Return the RayJob of a run named `run`."""
    job = settings.job
    spec: Manifest = {
        "entrypoint": ENTRYPOINT,
        "submissionMode": "K8sJobMode",
        "shutdownAfterJobFinishes": True,
        "ttlSecondsAfterFinished": job.ttl_s,
        "backoffLimit": job.backoff_limit,
        "preRunningDeadlineSeconds": job.start_deadline_s,
    }
    if job.deadline_s is not None:
        spec["activeDeadlineSeconds"] = job.deadline_s
    spec |= {
        "submitterConfig": {"backoffLimit": SUBMITTER_RETRIES},
        "submitterPodTemplate": submitter_template(run, settings),
        "rayClusterSpec": {
            "rayVersion": version("ray"),
            "authOptions": {"mode": "token"},
            **_fault_tolerance(settings),
            "headGroupSpec": _head(run, settings, memory.head),
            "workerGroupSpecs": [
                _group(run, settings, shape, memory.workers[shape.role]) for shape in shapes
            ],
        },
    }
    metadata = {"name": run, "namespace": settings.namespace, "labels": {**PART_OF, INSTANCE: run}}
    return {"apiVersion": "ray.io/v1", "kind": "RayJob", "metadata": metadata, "spec": spec}


def _fault_tolerance(settings: Settings) -> Manifest:
    redis = settings.redis
    if redis is None:
        return {}
    options: dict[str, Any] = {"redisAddress": redis.address}
    if redis.password is not None:
        options["redisPassword"] = from_secret(redis.password)
    return {"gcsFaultToleranceOptions": options}


def _head(run: str, settings: Settings, memory: PodMemory) -> Manifest:
    requests, limits = resources(settings.head.cpus, memory.limit, 0, settings)
    container = ray_container(
        "ray-head",
        settings,
        requests=requests,
        limits=limits,
        ports=HEAD_PORTS,
        # A job that is stopped gets 3 seconds from Ray: too little for a checkpoint.
        environment={"RAY_JOB_STOP_WAIT_TIME_S": str(settings.job.stop_grace_s)},
    )
    return {
        "serviceType": "ClusterIP",
        "rayStartParams": _start(memory),
        "resources": {"CPU": "0"},
        "template": pod_template(
            run,
            HEAD,
            settings,
            container,
            shared_bytes=memory.shared,
            **priority_class(HEAD, settings),
        ),
    }


def _start(memory: PodMemory) -> dict[str, str]:
    return {"object-store-memory": str(memory.object_store)}


def _group(run: str, settings: Settings, shape: GroupShape, memory: PodMemory) -> Manifest:
    requests, limits = resources(shape.cpus, memory.limit, shape.gpus, settings)
    container = ray_container(
        "ray-worker", settings, requests=requests, limits=limits, ports=WORKER_PORTS, environment={}
    )
    scheduling = priority_class(shape.role, settings)
    if shape.role == "learner" and shape.pods > 1:
        scheduling |= learner_affinity(run, settings)
    offered = {"CPU": shape.ray_cpus, **({"GPU": shape.gpus} if shape.gpus else {}), **shape.resources}
    return {
        "groupName": shape.role,
        "replicas": shape.pods,
        "minReplicas": shape.pods,
        "maxReplicas": shape.pods,
        "rayStartParams": _start(memory),
        "labels": dict(shape.labels),
        "resources": {name: str(amount) for name, amount in offered.items()},
        "template": pod_template(
            run, shape.role, settings, {**container, **LEAVING}, shared_bytes=memory.shared, **scheduling
        ),
    }
