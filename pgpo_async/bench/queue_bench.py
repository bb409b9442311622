"""`pgpo-async bench queue`: groups through the replay queue, and through `ray.util.queue` for comparison.

Starts a local Ray with both queues at once: the real `QueueActor` with a real `Admission`, and two
`ray.util.queue.Queue`s, for generated and for scored groups. The same three processes (a generator's, a
scorer's, a learner's) send groups through one and the other in turns: the same values, the same number in
flight. The replay queue does what the other does not: it hands out prompts, and keeps leases, lag and books.
Its prompts have no image here, as nobody hands any to the other's generator. Nothing is encoded or decoded
while time is taken.

Memory is what a queue's process holds for itself with `depth` groups in it, half of them scored: resident
memory less shared pages. Shared are mapped files, such as libraries, and the object store. There the replay
queue keeps its groups (`store_bytes`, one copy for all processes); `ray.util.queue` copies them out of it and
holds them itself. Plain resident memory is told too, which counts the store's pages that the process touched.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import ray
from ray.util.queue import Queue

from pgpo_async.actors.queue_actor import QueueActor
from pgpo_async.bench.queue_journeys import (
    Journey,
    OwnJourney,
    RayQueueJourney,
    Side,
    Values,
    make_values,
)
from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import ConfigError, Prompt
from pgpo_async.orchestration.admission import Admission

SIDES = ("generate", "score", "learn")
MAX_IN_FLIGHT = 32
CALL_TIMEOUT_S = 600.0
_OWN, _RAY = "own", "ray"
_ACTOR = {"num_cpus": 0, "max_restarts": 0}


class _Prompts:
    """Prompts that are there at once."""

    def prompt(self, index: int) -> Prompt:
        return Prompt(prompt_id=f"p{index}", question="what is there?", answer="it", index=index)


def bench_queue(
    *, num_groups: int, group_bytes: int, depth: int, repeats: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """The figures; rates are medians over `repeats` turns of `num_groups` each, after one to warm up.

    Raises ConfigError for sizes that cannot be measured.
    """
    if depth < 2:
        raise ConfigError(f"--depth: must be at least 2, got {depth}")
    try:
        values = make_values(group_bytes)
    except ValueError as error:
        raise ConfigError(f"--group-bytes: {error}") from None
    say("starting Ray")
    with _local_ray(object_store_memory=max(256 << 20, 8 * depth * group_bytes)):
        return _Bench(values, depth).measure(num_groups, repeats, say)


class _Bench:
    """Both queues and the three processes, started."""

    def __init__(self, values: Values, depth: int) -> None:
        self._values, self._depth = values, depth
        # The learner's batch and the prompts that the generator has taken must both fit.
        self._in_flight = min(MAX_IN_FLIGHT, depth // 2)
        config = RunConfig()
        # All groups are of version 0 and none is ever too old: the slots alone bound what is held.
        config = config.model_copy(update={"train": config.train.model_copy(update={"max_lag": 1 << 30})})
        admission = Admission(max_lag=0, groups_per_step=depth)
        self._queue = (
            ray.remote(QueueActor)
            .options(max_concurrency=1000, **_ACTOR)
            .remote(config, admission, _Prompts())
        )
        self._ray_queues = [Queue(depth, actor_options=dict(_ACTOR)) for _ in range(2)]
        generated, scored = self._ray_queues
        common: dict[str, Any] = {"values": values, "in_flight": self._in_flight}
        journeys: dict[str, Journey] = {
            _OWN: OwnJourney(queue=self._queue, **common),
            _RAY: RayQueueJourney(generated=generated, scored=scored, **common),
        }
        self._sides = {side: ray.remote(Side).options(**_ACTOR).remote(journeys) for side in SIDES}

    def measure(self, num_groups: int, repeats: int, say: Callable[[str], None]) -> dict[str, Any]:
        say("warming up")
        for journey in (_OWN, _RAY):
            self._run(journey, dict.fromkeys(SIDES, 2 * self._in_flight))
        seconds: dict[str, list[float]] = {_OWN: [], _RAY: []}
        for turn in range(repeats):
            for journey, times in seconds.items():
                say(f"{turn + 1} of {repeats}: {num_groups} groups through {journey}")
                times.append(self._run(journey, dict.fromkeys(SIDES, num_groups)))
        say("holding groups")
        held = {"generate": self._depth, "score": self._depth // 2}
        for journey in (_OWN, _RAY):
            self._run(journey, held)
        own, rays = self._memory(self._queue), [self._memory(queue.actor) for queue in self._ray_queues]
        stats = ray.get(self._queue.stats.remote(), timeout=CALL_TIMEOUT_S)
        assert len(self._ray_queues[0]) + len(self._ray_queues[1]) == self._depth, "as many as are held here"
        assert sum(stats.depth.values()) == self._depth, stats
        own_rate, ray_rate = (num_groups / statistics.median(seconds[journey]) for journey in (_OWN, _RAY))
        num_bytes = len(self._values.generated)
        return {
            "groups_per_s": own_rate,
            "bytes_per_s": own_rate * num_bytes,
            "rss_bytes": own[0],
            "ray_queue_groups_per_s": ray_rate,
            "ray_queue_bytes_per_s": ray_rate * num_bytes,
            "ray_queue_rss_bytes": sum(private for private, _ in rays),
            "plain_rss_bytes": own[1],
            "ray_queue_plain_rss_bytes": sum(plain for _, plain in rays),
            "store_bytes": stats.num_bytes,
            "groups": num_groups,
            "group_bytes": num_bytes,
            "depth": self._depth,
            "in_flight": self._in_flight,
            "seconds": seconds[_OWN],
            "ray_queue_seconds": seconds[_RAY],
        }

    def _run(self, journey: str, groups: dict[str, int]) -> float:
        """Run some sides at the same time; seconds until the last has done its groups."""
        started_s = time.perf_counter()
        calls = [self._sides[side].run.remote(journey, side, number) for side, number in groups.items()]
        ray.get(calls, timeout=CALL_TIMEOUT_S)
        return time.perf_counter() - started_s

    def _memory(self, actor: Any) -> tuple[int, int]:
        private, plain = ray.get(actor.__ray_call__.remote(_own_memory), timeout=CALL_TIMEOUT_S)
        return int(private), int(plain)


def _own_memory(_: object) -> tuple[int, int]:
    """Bytes of the process this runs in: resident less shared, and all that are resident."""
    memory = psutil.Process().memory_info()
    return memory.rss - memory.shared, memory.rss


@contextmanager
def _local_ray(object_store_memory: int) -> Iterator[None]:
    ray.init(
        num_cpus=1,
        object_store_memory=object_store_memory,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
    )
    try:
        yield
    finally:
        ray.shutdown()
