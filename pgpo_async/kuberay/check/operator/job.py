"""Rules of a RayJob: its name, how it is submitted, how long it may live. Called by `checking`."""

from collections.abc import Iterator

from yaml import YAMLError

from pgpo_async.config.fields import closest
from pgpo_async.kuberay.check.manifest import Finding, Manifest
from pgpo_async.kuberay.check.names import dns_label_problem
from pgpo_async.kuberay.check.ray import ray_jobs
from pgpo_async.kuberay.check.values import mapping, part, text, whole
from pgpo_async.kuberay.check.yaml_text import NotYaml, read_documents
from pgpo_async.kuberay.settings_types import MAX_JOB_NAME

MANAGERS = ("ray.io/kuberay-operator", "kueue.x-k8s.io/multikueue")
MODES = ("K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode")


def check_jobs(manifests: list[Manifest]) -> Iterator[Finding]:
    """Check every RayJob."""
    for job in ray_jobs(manifests):
        if job.name and (
            problem := dns_label_problem(job.name, starts_with_letter=True, longest=MAX_JOB_NAME)
        ):
            yield job.error(("metadata", "name"), problem)
        yield from _check_life(job)
        yield from _check_cluster_choice(job)
        yield from _check_submission(job)
        manager = part(job.body, "spec", "managedBy")
        if manager is not None and manager not in MANAGERS:
            message = f"must be one of {', '.join(MANAGERS)}, got {manager!r}"
            yield job.error(("spec", "managedBy"), message)


def _check_life(job: Manifest) -> Iterator[Finding]:
    spec = mapping(job.body, "spec")
    shuts_down = spec.get("shutdownAfterJobFinishes") is True
    if spec.get("suspend") is True and not shuts_down:
        yield job.error(("spec", "suspend"), "needs shutdownAfterJobFinishes: true")
    ttl = whole(spec, "ttlSecondsAfterFinished") or 0
    if ttl < 0:
        yield job.error(("spec", "ttlSecondsAfterFinished"), f"must be at least 0, got {ttl}")
    elif ttl > 0 and not shuts_down:
        yield job.error(("spec", "ttlSecondsAfterFinished"), "needs shutdownAfterJobFinishes: true")
    for key in ("activeDeadlineSeconds", "preRunningDeadlineSeconds"):
        seconds = whole(spec, key)
        if seconds is not None and seconds <= 0:
            yield job.error(("spec", key), f"must be above 0, got {seconds}")
    retries = whole(spec, "backoffLimit") or 0
    if retries < 0:
        yield job.error(("spec", "backoffLimit"), f"must be at least 0, got {retries}")


def _check_cluster_choice(job: Manifest) -> Iterator[Finding]:
    spec = mapping(job.body, "spec")
    selector = mapping(spec, "clusterSelector")
    if not selector:
        if "rayClusterSpec" not in spec:
            yield job.error(("spec", "rayClusterSpec"), "is missing, or clusterSelector must be set")
        return
    here = ("spec", "clusterSelector")
    if not text(selector, "ray.io/cluster"):
        yield job.error(here, "must name the cluster in `ray.io/cluster`")
    if spec.get("suspend") is True:
        yield job.error(("spec", "suspend"), "must not be there with clusterSelector")
    if (whole(spec, "backoffLimit") or 0) > 0:
        yield job.error(("spec", "backoffLimit"), "must be 0 with clusterSelector")
    if spec.get("submissionMode") == "SidecarMode":
        yield job.error(("spec", "submissionMode"), "must not be SidecarMode with clusterSelector")


def _check_submission(job: Manifest) -> Iterator[Finding]:
    spec = mapping(job.body, "spec")
    mode = text(spec, "submissionMode") or "K8sJobMode"
    here = ("spec", "submissionMode")
    if mode not in MODES:
        meant = closest(mode, list(MODES))
        hint = f", did you mean {meant}?" if meant else ""
        yield job.error(here, f"must be one of {', '.join(MODES)}, got {mode!r}{hint}")
        return
    if mode == "InteractiveMode" and (whole(spec, "backoffLimit") or 0) > 0:
        yield job.error(("spec", "backoffLimit"), "must be 0 in InteractiveMode")
    if mode != "InteractiveMode" and not text(spec, "entrypoint").strip():
        yield job.error(("spec", "entrypoint"), f"is missing, must be a command in {mode}")
    if mode == "SidecarMode":
        yield from _check_sidecar(job)
    elif mode != "K8sJobMode" and "submitterPodTemplate" in spec:
        yield job.warning(("spec", "submitterPodTemplate"), f"has no effect in {mode}")
    try:
        read_documents(text(spec, "runtimeEnvYAML"))
    except (NotYaml, YAMLError) as error:
        yield job.error(("spec", "runtimeEnvYAML"), f"must be YAML: {error}")


def _check_sidecar(job: Manifest) -> Iterator[Finding]:
    spec = mapping(job.body, "spec")
    for key in ("submitterPodTemplate", "submitterConfig"):
        if key in spec:
            yield job.error(("spec", key), "must not be there in SidecarMode")
    path = ("rayClusterSpec", "headGroupSpec", "template", "spec", "restartPolicy")
    policy = part(spec, *path)
    if policy not in (None, "", "Never"):
        yield job.error(("spec", *path), f"must be Never or left out in SidecarMode, got {policy!r}")
