"""A training loop without a word, on a benchmark's own cluster, and its figures step by step."""

import json
from collections.abc import Callable
from typing import Any

from rich.console import Console

from pgpo_async.config.schema import RunConfig
from pgpo_async.orchestration.cluster import Cluster
from pgpo_async.orchestration.run_folder import RunFolder
from pgpo_async.orchestration.run_loop import RunLoop
from pgpo_async.orchestration.telemetry import Telemetry


def run_quietly(
    config: RunConfig, cluster: Cluster, folder: RunFolder, after: Callable[[int], None] = lambda _: None
) -> list[dict[str, Any]]:
    """Run the loop on actors that are up; `after` is told each number of steps done. Returns a row a step."""

    def told() -> bool:
        after(loop.steps_done)
        return False

    telemetry = Telemetry(config, folder, cluster, Console(quiet=True))
    loop = RunLoop(config, cluster, folder, telemetry, told)
    telemetry.start()
    try:
        loop.run()
    finally:
        telemetry.close()
    assert cluster.learner is not None
    cluster.learner.flush(config.weights.load_timeout_s)
    return [json.loads(line) for line in (folder.path / "metrics.jsonl").read_text().splitlines()]


def mean_step_s(rows: list[dict[str, Any]], warm_up: int) -> float:
    """Return the mean seconds of the steps after the first `warm_up`."""
    return float((rows[-1]["time_s"] - rows[warm_up - 1]["time_s"]) / (len(rows) - warm_up))
