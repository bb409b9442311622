"""vLLM's own counts of cache use and preemptions, summed up between two looks.

The only place that knows vLLM's statistics; imported after vLLM, by `engine`.
"""

from typing import Any

from vllm.v1.metrics.loggers import StatLoggerBase

from pgpo_async.actors.concurrency import EngineLoad


class LoadMeter:
    """Gathers over the engine's iterations; used as a factory of vLLM's stat loggers."""

    def __init__(self) -> None:
        self._cache_use = 0.0
        self._num_waiting = 0
        self._num_preempted = 0

    def __call__(self, _vllm_config: Any, _engine_index: int = 0) -> StatLoggerBase:
        """Return the logger that feeds this meter."""
        return _Logger(self)

    def add(self, *, cache_use: float, num_waiting: int, num_preempted: int) -> None:
        """Take in one iteration."""
        self._cache_use = max(self._cache_use, cache_use)
        self._num_waiting = max(self._num_waiting, num_waiting)
        self._num_preempted += num_preempted

    def take(self) -> EngineLoad:
        """Return what was gathered since the last call."""
        load = EngineLoad(
            cache_use=self._cache_use, num_waiting=self._num_waiting, num_preempted=self._num_preempted
        )
        self._cache_use, self._num_waiting, self._num_preempted = 0.0, 0, 0
        return load


class _Logger(StatLoggerBase):
    def __init__(self, meter: LoadMeter) -> None:
        self._meter = meter

    def record(self, scheduler_stats: Any, iteration_stats: Any, *_: Any, **__: Any) -> None:
        if scheduler_stats is not None:
            self._meter.add(
                cache_use=scheduler_stats.kv_cache_usage,
                num_waiting=scheduler_stats.num_waiting_reqs,
                num_preempted=iteration_stats.num_preempted_reqs if iteration_stats is not None else 0,
            )

    def log_engine_initialized(self) -> None:
        """Nothing to say."""
