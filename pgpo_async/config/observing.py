"""Config section of what is seen of a run: metrics, samples, sinks."""

from typing import Any

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from pgpo_async.config.base import Section


class MlflowConfig(Section):
    """A run in MLflow."""

    tracking_uri: str | None = None
    """Its server, or a folder; MLflow's own default where not given."""
    experiment_name: str = "pgpo_async"
    """Made if it is not there."""
    run_name: str | None = None
    """The run folder's name where not given."""
    tags: dict[str, str] = Field(default_factory=dict)
    """Of the run."""


class MetricsConfig(Section):
    """Metrics of a run, for Prometheus, `pgpo-async status`, the report, and other trackers."""

    port: int | None = Field(default=0, ge=0, le=65535)
    """Where the driver answers Prometheus (/metrics, /healthz); 0 takes any free port, null: not at all."""
    host: str = "127.0.0.1"
    """The interface it listens on; 0.0.0.0 lets the network in."""
    every_s: PositiveFloat = 2.0
    """Seconds between two looks at all actors."""
    mirror_to_ray: bool = False
    """Also as Ray's own metrics, for a cluster whose Prometheus scrapes Ray's ports."""
    engine: bool = False
    """vLLM's own metrics through its Ray logger, on Ray's ports."""
    samples_every: NonNegativeInt = 10
    """Steps between samples (whole groups, for the report and the token viewer); 0 keeps none."""
    samples_per_step: PositiveInt = 2
    """Groups kept of such a step: those of the largest and the smallest mean reward first."""
    keep_samples: PositiveInt = 64
    """Sampled steps in the run folder; beyond it every other one goes, so that those left span the run."""
    tensorboard: bool = False
    """Write TensorBoard files into the run folder."""
    wandb: dict[str, Any] | None = None
    """Send to Weights & Biases: what `wandb.init` takes (project, entity, mode, ...)."""
    mlflow: MlflowConfig | None = None
    """Send to MLflow."""
