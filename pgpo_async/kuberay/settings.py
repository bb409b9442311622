"""What a Kubernetes cluster adds to a run's config: image, storage, queues, who may reach whom.

Nothing that the run config says is said here again: how many of each role, how many GPUs each, how much is
kept in memory all come from there. Read by `render`; a file of it is `--settings`, single fields `--set`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from pgpo_async.config.base import Section
from pgpo_async.config.document import Document, Written
from pgpo_async.config.files import read_file
from pgpo_async.config.issues import Place
from pgpo_async.config.masking import is_secret_key
from pgpo_async.config.overrides import apply_override
from pgpo_async.config.problem import Problem
from pgpo_async.config.validation import validated
from pgpo_async.kuberay.settings_types import Image, JobName, Name, Quantity, SecretKey, VariableName

Port = Annotated[int, Field(ge=1, le=65535)]


class PodSettings(Section):
    """The pods of one role."""

    actors_per_pod: PositiveInt | None = None
    """Actors in one pod. Not given: the learner's ranks as many as have GPUs in one machine, others one."""
    max_pods: PositiveInt | None = None
    """Most pods with the overlay `autoscaled`; twice as many as the run starts with where not given."""
    extra_memory_bytes: NonNegativeInt = 0
    """Beyond what is estimated for one pod."""
    spot: bool = False
    """Whether its pods may run on machines that the cloud takes back (overlay `gpu` and those above it)."""


class LearnerPodSettings(PodSettings):
    """The learner's: their ranks go down together, so no machine that may be taken back."""

    spot: Literal[False] = False
    """Must be false: one rank that goes takes all others back to the last checkpoint."""


class HeadSettings(Section):
    """The head: Ray's own control, the driver, the replay queue and the weight store. No work."""

    cpus: PositiveFloat = 4.0
    """CPUs it asks Kubernetes for; it offers Ray none."""
    extra_memory_bytes: NonNegativeInt = 0
    """Beyond what is estimated."""


class StorageSettings(Section):
    """Where runs and checkpoints live, and what else is mounted."""

    claim: Name = "pgpo-async-runs"
    """PersistentVolumeClaim mounted at /runs; `output_dir` of the run."""
    create: bool = True
    """Whether it is among the manifests, or there already."""
    size: Quantity = "1Ti"
    """Of a claim that is made."""
    storage_class: str | None = None
    """The cluster's default where not given."""
    access_mode: Literal["ReadWriteMany", "ReadWriteOnce"] = "ReadWriteMany"
    """Every node writes into the run folder: ReadWriteOnce is for a cluster of one machine."""
    data_claim: Name | None = None
    """PersistentVolumeClaim with prompts and images, mounted at /data to be read only."""
    scratch: Quantity = "50Gi"
    """Each pod's /tmp, where Ray keeps logs and what its object store spills, and /home/pgpo with caches."""


class JobSettings(Section):
    """The RayJob's life."""

    backoff_limit: NonNegativeInt = 3
    """How often the whole cluster is made anew after a failure; the run goes on from its last checkpoint."""
    ttl_s: NonNegativeInt = 300
    """Seconds that the cluster, with its GPUs, stays after the job's end, for a look at its processes."""
    deadline_s: PositiveInt | None = None
    """Longest the job may take, all tries together."""
    start_deadline_s: PositiveInt = 3600
    """Longest until the job runs: images, nodes, quota."""
    stop_grace_s: PositiveInt = 120
    """What a stopped run has to end its step and write a checkpoint."""


class RedisSettings(Section):
    """An external Redis that keeps the state of Ray's control, so that it survives its process."""

    address: Annotated[str, Field(min_length=1)] = "redis:6379"
    """HOST:PORT, or rediss://HOST:PORT for TLS."""
    password: SecretKey | None = None
    """NAME/KEY of a Secret."""


class NetworkSettings(Section):
    """Who may reach the pods, and whom they may reach; everything else is refused."""

    operator_namespace: Name = "kuberay-system"
    """Where the KubeRay operator runs: it asks Ray's dashboard how the job stands."""
    prometheus_namespace: Name = "monitoring"
    """Where Prometheus runs."""
    dns_namespace: Name = "kube-system"
    """Where the cluster's DNS runs."""
    egress_ports: tuple[Port, ...] = Field(default=(443,), strict=False)
    """TCP ports that pods may reach anywhere: models, data, object storage, trackers. Empty: none."""
    api_server_ports: tuple[Port, ...] = Field(default=(443, 6443), strict=False)
    """Where the API server answers; only an autoscaler's head may ask it."""


class MonitoringSettings(Section):
    """For the Prometheus Operator and Grafana's dashboard side-car."""

    enabled: bool = True
    """Whether PodMonitors, rules and dashboards are among the manifests."""
    labels: dict[str, str] = Field(default_factory=lambda: {"release": "kube-prometheus-stack"})
    """Labels by which your Prometheus finds PodMonitors and rules."""
    runbook: str = "k8s/README.md"
    """Where alerts point to: the URL of your copy of the runbook."""


class SchedulingSettings(Section):
    """Which nodes pods go to."""

    gpu_resource: str = "nvidia.com/gpu"
    """The device plugin's resource."""
    gpus_per_machine: PositiveInt = 8
    """Ranks that have their GPUs in one machine share a pod: NCCL is fast between them."""
    gpu_tolerations: tuple[str, ...] = Field(default=("nvidia.com/gpu",), strict=False)
    """Taints of GPU nodes, KEY or KEY=VALUE."""
    spot_tolerations: tuple[str, ...] = Field(
        default=("cloud.google.com/gke-spot=true", "kubernetes.azure.com/scalesetpriority=spot", "spot=true"),
        strict=False,
    )
    """Taints of nodes that may be taken back."""
    node_labels: dict[str, str] = Field(default_factory=dict)
    """Labels that the GPU pods' nodes must have."""
    topology_key: str = "topology.kubernetes.io/zone"
    """The learner's pods share one value of this node label: a zone, a rack, a fast network's block."""
    priority_classes: bool = True
    """Whether the learner goes before scorers and generators where room is short."""
    queue: Name = "pgpo-async"
    """Kueue's LocalQueue (overlay `kueue`)."""


class Settings(Section):
    """All of it; what is left out has its default."""

    name: JobName | None = None
    """The RayJob's name; the run's, as Kubernetes allows it, where not given."""
    namespace: Name = "pgpo-async"
    """Made with the manifests; Pod Security `restricted` is enforced in it."""
    image: Image = "pgpo-async:0.1.0-gpu"
    """From k8s/Dockerfile."""
    image_pull_secret: Name | None = None
    """Of a private registry."""
    model_parameters: PositiveFloat | None = None
    """Number of weights (8.3e9), where the model lies on no disk of this machine to be counted."""
    secrets: dict[VariableName, SecretKey] = Field(default_factory=dict)
    """Environment variables from Secrets that are there: {HF_TOKEN: hugging-face/token}."""
    environment: dict[VariableName, str] = Field(default_factory=dict)
    """Further environment variables of all Ray pods; no secrets, which are refused here."""
    head: HeadSettings = HeadSettings()
    generator: PodSettings = PodSettings(spot=True)
    scorer: PodSettings = PodSettings(spot=True)
    learner: LearnerPodSettings = LearnerPodSettings()
    storage: StorageSettings = StorageSettings()
    job: JobSettings = JobSettings()
    redis: RedisSettings | None = None
    network: NetworkSettings = NetworkSettings()
    monitoring: MonitoringSettings = MonitoringSettings()
    scheduling: SchedulingSettings = SchedulingSettings()

    @model_validator(mode="after")
    def _no_secret_is_written_out(self) -> "Settings":
        self.refuse(
            Problem(
                fields=(("environment", name),),
                message=f"must not be written into a manifest: name a Secret, secrets.{name}=NAME/KEY",
            )
            for name in self.environment
            if is_secret_key(name)
        )
        return self


def load_settings(
    path: Path | None = None,
    overrides: Sequence[str] = (),
    defaults: Mapping[str, Any] = MappingProxyType({}),
) -> Settings:
    """Read a settings file, and `KEY=VALUE` over it; `defaults` are for what neither says.

    Raises ConfigError with every issue, as `load_config` does.
    """
    if path is None:
        nowhere = Place(source=0, label="settings")
        document = Document(value={}, written={(): Written(key=nowhere, value=nowhere)}, issues=[])
    else:
        document = read_file(path)
    for number, override in enumerate(overrides, start=1):
        apply_override(document, override, number)
    document.value = _over(defaults, document.value)
    return validated(Settings, document)


def _over(defaults: Any, values: Any) -> Any:
    """Return `values`, and of `defaults` what they leave out."""
    if not (isinstance(defaults, Mapping) and isinstance(values, dict)):
        return values
    return {**defaults, **{key: _over(defaults.get(key), value) for key, value in values.items()}}
