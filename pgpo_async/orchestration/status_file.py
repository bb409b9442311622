"""`status.json` in the run folder: how a running job stands, a few seconds old at most.

A file, so that any shell may look: also where Ray's own calls hang, or the driver is stopped (the file's age
tells). Whole or not at all; what `pgpo-async status` makes of it is `status_view`'s. Written by
`telemetry`.
"""

import os
import socket
from collections.abc import Mapping, Sequence
from typing import Any

from pgpo_async.orchestration.observation import Observation, doing_of, state_of


def as_json(
    seen: Observation,
    *,
    step: int,
    num_steps: int,
    max_lag: int,
    every_s: float,
    metrics_urls: Sequence[str],
    busy: Mapping[str, float],
) -> dict[str, Any]:
    """Return the file's content. Times ending in `_for_s` count back from `time_s`."""
    return {
        "time_s": seen.time_s,
        "every_s": every_s,
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "metrics_urls": list(metrics_urls),
        "step": step,
        "num_steps": num_steps,
        "max_lag": max_lag,
        "driver": {"doing": seen.doing, "doing_for_s": seen.doing_s},
        "busy": dict(busy),
        "actors": [_actor(seen, number) for number in range(len(seen.readings))],
        "stuck": [
            {"name": reading.name, "doing": doing_of(reading), "silent_for_s": reading.silent_s}
            for reading in seen.stuck()
        ],
        "restarts": dict(seen.restarts),
        "queue": _queue(seen),
        "store": _store(seen),
    }


def _actor(seen: Observation, number: int) -> dict[str, Any]:
    reading = seen.readings[number]
    answer = reading.answer or {}
    return {
        "name": reading.name,
        "role": reading.role,
        "state": state_of(reading),
        "doing": doing_of(reading),
        "silent_for_s": reading.silent_s,
        "version": answer.get("version", answer.get("latest")),
        "host": answer.get("host"),
        "pid": answer.get("pid"),
        "rss_bytes": answer.get("rss_bytes"),
        "num_updates": answer.get("num_updates"),
        "num_done": answer.get("num_prompts", answer.get("num_groups")),
    }


def _queue(seen: Observation) -> dict[str, Any] | None:
    stats = seen.stats
    if stats is None:
        return None
    return {
        "depth": {str(state): num for state, num in stats.depth.items()},
        "bytes": stats.num_bytes,
        "max_bytes": stats.max_bytes,
        "slots": stats.num_slots,
        "slots_held": stats.num_slots - stats.slots_available,
        "version": stats.version,
        "waiting": dict(stats.waiting),
        "accounting": stats.accounting.as_dict(),
        "balanced": stats.accounting.balanced,
        "quarantined_by_reason": dict(stats.accounting.quarantined_by_reason),
        "lag_histogram": {str(lag): num for lag, num in sorted(stats.lag_histogram.items())},
    }


def _store(seen: Observation) -> dict[str, Any] | None:
    if seen.store is None:
        return None
    return {"latest": seen.store["latest"], "bytes": seen.store["num_bytes"], "served": seen.store["served"]}
