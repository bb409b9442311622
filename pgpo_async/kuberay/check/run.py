"""The run config against the cluster that is to run it: drift between them is an error. Called by `checking`.

Owns the way from a RayJob's entrypoint to its config, and what of that config the manifests must agree with:
the Ray to join, the folder to write into, the port of the metrics. What the roles ask for is `placing`'s.
"""

import shlex
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pgpo_async.config import RunConfig, load_config
from pgpo_async.config.masking import masked_override
from pgpo_async.contracts import ConfigError
from pgpo_async.kuberay.check.manifest import Finding, Manifest
from pgpo_async.kuberay.check.mounted import config_map_file, mounted_at
from pgpo_async.kuberay.check.placing import check_placement
from pgpo_async.kuberay.check.ray import Cluster, cluster_of, ray_jobs
from pgpo_async.kuberay.check.values import mapping, mappings, text, whole

PROGRAM = "pgpo-async"
METRICS_PORT = "pgpo-metrics"
ENTRYPOINT = ("spec", "entrypoint")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Launch:
    """`pgpo-async launch CONFIG [KEY=VALUE ...]` as the entrypoint says it."""

    config: str
    overrides: tuple[str, ...]
    resumes: bool


def check_runs(manifests: list[Manifest]) -> Iterator[Finding]:
    """Check every RayJob that trains."""
    for job in ray_jobs(manifests):
        cluster, entrypoint = cluster_of(job), text(job.body, *ENTRYPOINT)
        if cluster is None or not entrypoint.strip():
            continue
        launch = _launch(entrypoint)
        if isinstance(launch, str):
            level = job.error if PROGRAM in entrypoint else job.warning
            yield level(ENTRYPOINT, launch)
            continue
        if (whole(job.body, "spec", "backoffLimit") or 0) > 0 and not launch.resumes:
            message = "needs `--resume auto` in the entrypoint: a retry would train from the start again"
            yield job.warning(("spec", "backoffLimit"), message)
        yield from _check_launch(cluster, launch, manifests)


def _launch(entrypoint: str) -> _Launch | str:
    """Return what is launched, or what is wrong with the entrypoint."""
    try:
        words = shlex.split(entrypoint)
    except ValueError as error:
        return f"must be a command that a shell can read: {error}"
    programs = [index for index, word in enumerate(words) if PurePosixPath(word).name == PROGRAM]
    if not programs:
        return f"runs no `{PROGRAM} launch`: its config was not checked"
    arguments = words[programs[0] + 1 :]
    resumes = any(word.startswith("--resume") for word in arguments)
    if "--resume" in arguments:  # its value may come before CONFIG
        place = arguments.index("--resume")
        arguments = arguments[:place] + arguments[place + 2 :]
    plain = [word for word in arguments if not word.startswith("-")]
    if plain[:1] != ["launch"] or len(plain) < 2:
        shown = " ".join(masked_override(word) for word in words)
        return f"must be `{PROGRAM} launch CONFIG --resume auto`, got `{shown}`"
    overrides = tuple(word for word in plain[2:] if "=" in word)
    return _Launch(config=plain[1], overrides=overrides, resumes=resumes)


def _check_launch(cluster: Cluster, launch: _Launch, manifests: list[Manifest]) -> Iterator[Finding]:
    job, head = cluster.manifest, cluster.head
    mounted = mounted_at(head, launch.config)
    if mounted is None or "configMap" not in mounted.volume:
        message = f"must mount a ConfigMap that holds {launch.config}, which the entrypoint reads"
        yield job.error((*head.ray_container_path, "volumeMounts"), message)
        return
    found = config_map_file(mounted, manifests, job.namespace)
    if found is None:
        return  # that the ConfigMap is missing is told where it is named
    config_map, key, written = found
    if written is None:
        there = ", ".join(sorted(map(str, mapping(config_map.body, "data")))) or "nothing"
        message = f"is missing: the entrypoint reads {launch.config}, got {there}"
        yield config_map.error(("data", key), message)
        return
    config = _loaded(written, launch.overrides)
    if isinstance(config, ConfigError):
        for issue in config.issues:
            yield config_map.error(("data", key), issue)
        return
    if config.ray.address != "auto":
        message = (
            f"ray.address must be auto, to join the job's cluster, got {config.ray.address or 'nothing'}"
        )
        yield config_map.error(("data", key), message)
    yield from _check_output(cluster, config_map, key, config)
    yield from _check_metrics_port(cluster, config)
    yield from check_placement(cluster, config)


def _loaded(written: str, overrides: tuple[str, ...]) -> RunConfig | ConfigError:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        path.write_text(written, encoding="utf-8")
        try:
            return load_config(path, overrides)
        except ConfigError as error:
            return ConfigError([issue.replace(f"{path}:", "line ") for issue in error.issues])


def _check_output(cluster: Cluster, config_map: Manifest, key: str, config: RunConfig) -> Iterator[Finding]:
    output = config.output_dir
    if not output.startswith("/"):
        message = f"output_dir must be an absolute path in a mounted volume, got {output!r}"
        yield config_map.error(("data", key), message)
        return
    head = mounted_at(cluster.head, output)
    if head is None or not head.writable or not head.volume:
        message = f"output_dir must lie in a volume that the head mounts and may write to, got {output!r}"
        yield config_map.error(("data", key), message)
    elif not head.claim:
        message = (
            f"output_dir {output!r} lies in a volume that goes with its pod: no retry could resume from it"
        )
        yield config_map.warning(("data", key), message)
    else:
        for group in cluster.workers:
            there = mounted_at(group, output)
            if there is None or there.claim != head.claim:
                path = (*group.ray_container_path, "volumeMounts")
                yield cluster.manifest.error(
                    path, f"must mount the claim {head.claim!r} at {output}, as the head does"
                )


def _check_metrics_port(cluster: Cluster, config: RunConfig) -> Iterator[Finding]:
    for index, port in mappings(cluster.head.ray_container, "ports"):
        if text(port, "name") == METRICS_PORT and whole(port, "containerPort") != config.metrics.port:
            path = (*cluster.head.ray_container_path, "ports", index, "containerPort")
            got = whole(port, "containerPort")
            message = f"must be the config's metrics.port ({config.metrics.port}), got {got}"
            yield cluster.manifest.error(path, message)
