"""A run's config as it is run in the cluster: the user's, with what only the manifests can know."""

from pathlib import PurePosixPath
from typing import Any

from pgpo_async.config import dump_config
from pgpo_async.config.masking import MASK
from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import ConfigError
from pgpo_async.kuberay.settings import Settings
from pgpo_async.kuberay.shape import placed

CONFIG_FOLDER, CONFIG_NAME = "/etc/pgpo-async", "config.yaml"
RUNS_FOLDER, DATA_FOLDER = "/runs", "/data"
EXPORTER_PORT = 9464
MAX_CONFIG_BYTES = 900_000
"""A ConfigMap holds 1 MiB at most."""


def config_in_cluster(config: RunConfig) -> RunConfig:
    """Return the config that `launch` reads in the head's pod.

    It joins the Ray that is there, writes to the mounted volume, lets Prometheus in, and each role asks for
    the nodes of its group. Relative paths of data are looked for in the data volume.
    """
    values = config.model_dump()
    values["ray"] |= {"address": "auto", "num_cpus": None, "object_store_bytes": None}
    values["output_dir"] = RUNS_FOLDER
    values["metrics"] |= {"port": EXPORTER_PORT, "host": "0.0.0.0"}
    for role, asked in placed(config).items():
        values[role] |= asked
    for section in ("data", "evaluation"):
        values[section]["source"] = _in_volume(values[section]["source"])
    for source in values["data"]["sources"]:
        source["source"] = _in_volume(source["source"])
    return RunConfig.model_validate(values)


def check_paths(config: RunConfig, settings: Settings) -> None:
    """Raise ConfigError for what lies in no volume of the pods; `config` is the one in the cluster."""
    claims = {RUNS_FOLDER: settings.storage.claim, DATA_FOLDER: settings.storage.data_claim}
    paths = {"data.source": config.data.source, "model.path": config.model.path}
    paths |= {f"data.sources.{at}.source": one.source for at, one in enumerate(config.data.sources)}
    if config.evaluation.num_prompts:
        paths["evaluation.source"] = config.evaluation.source
    issues = []
    for field, path in paths.items():
        folder = f"/{path.split('/')[1]}" if path.startswith("/") else None
        if folder in claims and claims[folder] is None:
            issues.append(
                f"{field}: {path} needs a volume: --set storage.data_claim=NAME of a claim that holds it"
            )
        elif folder is not None and folder not in claims:
            issues.append(f"{field}: must lie in a volume of the pods ({', '.join(claims)}), got {path}")
    if issues:
        raise ConfigError(issues)


def config_text(config: RunConfig) -> str:
    """Return its text. Raises ConfigError where it holds secrets, or does not fit a ConfigMap."""
    text = dump_config(config)
    if MASK in text:
        raise ConfigError(
            "a manifest must hold no secret, and this config does; take it out and name a Secret instead: "
            "--set secrets.WANDB_API_KEY=NAME/KEY"
        )
    if (size := len(text.encode())) > MAX_CONFIG_BYTES:
        raise ConfigError(f"the config must fit a ConfigMap ({MAX_CONFIG_BYTES:,} bytes), got {size:,} bytes")
    return text


def _in_volume(source: Any) -> Any:
    if not isinstance(source, str) or not source or ":" in source.split("/")[0] or source.startswith("/"):
        return source
    path = PurePosixPath(source)
    inside = path.relative_to("data") if path.parts[:1] == ("data",) else path
    return str(PurePosixPath(DATA_FOLDER) / inside)
