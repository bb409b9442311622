"""What can be known to be wrong before anything is started or written: missing models, data, methods."""

from collections.abc import Callable

from pgpo_async.algorithms.shaping import make_shaper
from pgpo_async.config.schema import RunConfig
from pgpo_async.config.shapers import ShaperConfig
from pgpo_async.contracts import ConfigError
from pgpo_async.data.sources import held_out_source, train_source
from pgpo_async.metrics.exporter import check_port
from pgpo_async.metrics.trackers import check_sinks
from pgpo_async.policy.model_path import resolve_model_path


def check_inputs(config: RunConfig) -> None:
    """Raise ConfigError with everything that is missing, each with its field."""
    checks: dict[str, Callable[[], object]] = {
        "model.path": lambda: resolve_model_path(config.model.path),
        "data.source": lambda: train_source(config),
    }
    shaper = config.algorithm.shaper
    if ":" in shaper.name:  # the config has checked the parameters of the others
        checks["algorithm.shaper"] = lambda: _own_shaper(shaper)
    if config.evaluation.num_prompts:
        checks["evaluation.source"] = lambda: held_out_source(config)
    checks["metrics"] = lambda: check_sinks(config.metrics)
    if (port := config.metrics.port) is not None:
        checks["metrics.port"] = lambda: check_port(config.metrics.host, port)
    issues: list[str] = []
    for field, check in checks.items():
        try:
            check()
        except ConfigError as error:
            issues += [issue if field in issue else f"{field}: {issue}" for issue in error.issues]
    if issues:
        raise ConfigError(issues)


def _own_shaper(shaper: ShaperConfig) -> None:
    try:
        make_shaper(shaper.name, **shaper.parameters())
    except (TypeError, ValueError) as error:
        raise ConfigError(str(error)) from error
