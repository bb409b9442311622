"""How long the stages of a run around sleeping stages take: a file that all actors of a machine read."""

import json
from dataclasses import asdict

from pgpo_async.config.schema import RunConfig
from pgpo_async.orchestration.service_times import ServiceTimes

TIMES_FILE = "service_times.json"
"""In the run's output folder."""


def write_times(config: RunConfig, times: ServiceTimes) -> None:
    """Say how long the stages of a run take; before its actors are made, or renewed."""
    config.output_path.mkdir(parents=True, exist_ok=True)
    (config.output_path / TIMES_FILE).write_text(json.dumps(asdict(times)))


def read_times(config: RunConfig) -> ServiceTimes:
    """What `write_times` said."""
    return ServiceTimes(**json.loads((config.output_path / TIMES_FILE).read_text()))
