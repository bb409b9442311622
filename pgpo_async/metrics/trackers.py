"""Other programs that a run can be followed in, imported when asked for: TensorBoard, W&B, MLflow.

Thin: each is given a step's numbers and a table of samples. `sinks` calls them; `metrics.jsonl` needs none.
"""

import importlib.util
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from pgpo_async.config.observing import MetricsConfig, MlflowConfig
from pgpo_async.contracts import ConfigError
from pgpo_async.metrics.sample_rows import SampleRow

MODULES = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow"}
"""Field of `metrics`: the module that it needs."""


class Sink(Protocol):
    """One tracker."""

    def step(self, step: int, values: Mapping[str, float]) -> None:
        """Take in a step's figures."""

    def samples(self, step: int, rows: Sequence[SampleRow]) -> None:
        """Take in sampled responses."""

    def close(self) -> None:
        """Send what is left."""


def check_sinks(config: MetricsConfig) -> None:
    """Raise ConfigError for each tracker that is asked for and not installed."""
    issues = [
        f"metrics.{field}: needs the module {module}, which is not installed: pip install {module}"
        for field, module in MODULES.items()
        if getattr(config, field) not in (None, False) and importlib.util.find_spec(module) is None
    ]
    if issues:
        raise ConfigError(issues)


def make_sinks(config: MetricsConfig, run: str, folder: Path, settings: Mapping[str, Any]) -> dict[str, Sink]:
    """Open the trackers that are asked for, by name; `settings` is the run's config, without its secrets.

    Raises ConfigError for one that cannot be opened.
    """
    openers: dict[str, Callable[[], Sink]] = {}
    if config.tensorboard:
        openers["tensorboard"] = lambda: _TensorBoard(folder / "tensorboard")
    if (wandb := config.wandb) is not None:
        openers["wandb"] = lambda: _WandB(wandb, run, folder, settings)
    if (mlflow := config.mlflow) is not None:
        openers["mlflow"] = lambda: _MlFlow(mlflow, run, settings)
    return {field: _opened(field, opener) for field, opener in openers.items()}


def _opened(field: str, opener: Callable[[], Sink]) -> Sink:
    try:
        return opener()
    except Exception as error:  # whatever it raises for a wrong key, address or option
        raise ConfigError(f"metrics.{field}: cannot be opened: {' '.join(str(error).split())}") from error


class _TensorBoard:
    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder))

    def step(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def samples(self, step: int, rows: Sequence[SampleRow]) -> None:
        import numpy as np

        for number, (first, texts) in enumerate(_by_group(rows)):
            name = f"samples/{number}"
            self._writer.add_text(name, "\n\n".join([_heading(first), *texts]), step)
            if first.image is not None:
                self._writer.add_image(name, np.asarray(first.image), step, dataformats="HWC")

    def close(self) -> None:
        self._writer.close()


class _WandB:
    def __init__(
        self, options: Mapping[str, Any], run: str, folder: Path, settings: Mapping[str, Any]
    ) -> None:
        import wandb

        self._wandb = wandb
        given = {"name": run, "id": run, "resume": "allow", "dir": str(folder), "config": dict(settings)}
        self._run: Any = wandb.init(**{**given, **options})

    def step(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def samples(self, step: int, rows: Sequence[SampleRow]) -> None:
        columns = ["group", "question", "reference", "image", "response", "reward", "parts"]
        table = self._wandb.Table(columns=columns)
        for row in rows:
            image = None if row.image is None else self._wandb.Image(row.image)
            parts = ", ".join(f"{name} {value:g}" for name, value in row.reward_parts.items())
            table.add_data(row.group_id, row.question, row.reference, image, row.response, row.reward, parts)
        self._run.log({"samples": table}, step=step)

    def close(self) -> None:
        self._run.finish()


class _MlFlow:
    """By its client: what `mlflow.start_run` begins belongs to one thread."""

    def __init__(self, options: MlflowConfig, run: str, settings: Mapping[str, Any]) -> None:
        import mlflow

        self._client: Any = mlflow.MlflowClient(options.tracking_uri)
        name = options.experiment_name
        known = self._client.get_experiment_by_name(name)
        experiment = self._client.create_experiment(name) if known is None else known.experiment_id
        created = self._client.create_run(experiment, run_name=options.run_name or run, tags=options.tags)
        self._run: str = created.info.run_id
        self._client.log_dict(self._run, dict(settings), "config.json")

    def step(self, step: int, values: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now_ms = int(time.time() * 1000)
        metrics = [Metric(name, value, now_ms, step) for name, value in values.items()]
        self._client.log_batch(self._run, metrics)

    def samples(self, step: int, rows: Sequence[SampleRow]) -> None:
        table = [
            {
                "group": row.group_id,
                "question": row.question,
                "reference": row.reference,
                "response": row.response,
                "reward": row.reward,
                "parts": dict(row.reward_parts),
            }
            for row in rows
        ]
        self._client.log_dict(self._run, {"samples": table}, f"samples/step-{step:08d}.json")
        for number, (first, _) in enumerate(_by_group(rows)):
            if first.image is not None:
                name = f"samples/step-{step:08d}-{number}.png"
                self._client.log_image(self._run, first.image, name)

    def close(self) -> None:
        self._client.set_terminated(self._run)


def _by_group(rows: Sequence[SampleRow]) -> list[tuple[SampleRow, list[str]]]:
    groups: dict[str, tuple[SampleRow, list[str]]] = {}
    for row in rows:
        parts = ", ".join(f"{name} {value:g}" for name, value in row.reward_parts.items())
        groups.setdefault(row.group_id, (row, []))[1].append(
            f"    {row.reward:.3f} ({parts}): {row.response}"
        )
    return list(groups.values())


def _heading(row: SampleRow) -> str:
    return f"{row.question}\n\nreference: {row.reference}"
