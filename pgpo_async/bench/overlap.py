"""How close the pipeline comes to its limit, the slowest stage: real actors around stages that sleep.

Each run is a whole one, with Ray's actors, queue, admission, weight store and run loop, whose stages sleep
(`sleeping_stages`). The same load runs asynchronously, in turns (`mode: sync`), and without a scorer, whose
difference is what visual dependency costs. Each is also predicted as `pgpo-async plan` does. Knows no table
(`overlap_table`).
"""

import tempfile
from dataclasses import asdict, dataclass
from typing import Any, Self

from pgpo_async.bench.quiet_run import mean_step_s, run_quietly
from pgpo_async.bench.report import Say
from pgpo_async.bench.sleeping_stages import SLEEPING
from pgpo_async.bench.sleeping_times import write_times
from pgpo_async.config.schema import RunConfig
from pgpo_async.orchestration.cluster import Cluster
from pgpo_async.orchestration.planning.simulation import simulate
from pgpo_async.orchestration.run_folder import RunFolder
from pgpo_async.orchestration.service_times import ServiceTimes

WARM_UP = 6
"""First steps, in which the pipeline fills; they are run but not measured."""
FIRST_WARM_UP = 30
"""Of the first run: what Ray starts beside the actors comes to rest, and they read their first groups."""
SYNC_STEPS = 12
"""In turns every step is like the other, and takes three times as long."""

PREDICTED_STEPS = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """One shape of load: how long the stages take, and how many work."""

    name: str
    times: ServiceTimes
    generators: int = 2
    in_flight: int = 32
    max_lag: int = 2
    groups_per_lease: int = 4

    def config(self, *, steps: int, output_dir: str, sync: bool = False, shaper: str = "pgpo") -> RunConfig:
        """Return the run's config, on CPUs that nobody uses."""
        role = {"cpus": 0.01}
        values: dict[str, Any] = {
            "name": f"bench-{self.name}",
            "mode": "sync" if sync else "async",
            "output_dir": output_dir,
            "model": {"path": "builtin:tiny-vlm", "dtype": "float32"},
            "data": {"source": "builtin:shapes"},
            "algorithm": {"shaper": {"name": shaper}},
            "generation": {"group_size": 8, "max_response_tokens": 32},
            "generator": {
                **role,
                "replicas": self.generators,
                "prompts_in_flight": self.in_flight,
                "max_prompts_in_flight": self.in_flight,
            },
            "scorer": {**role, "groups_per_lease": self.groups_per_lease},
            "learner": role,
            "reward": role,
            "train": {
                "num_steps": steps,
                "groups_per_step": 32,
                "max_lag": self.max_lag,
            },
            "evaluation": {"num_prompts": 0},
            "metrics": {"port": None, "samples_every": 0},
            "ray": {"object_store_bytes": 256 << 20},
        }
        return RunConfig.model_validate(values)


STATED = ServiceTimes(generate_s=1.0, generate_sigma=0.6, score_s=0.3, learn_s=0.9)
"""A group is 1 s in the engine, with a long tail; scoring and learning take 0.3 s and 0.9 s a step."""


def loads(times: ServiceTimes = STATED) -> tuple[Load, ...]:
    """The four shapes: the given times, where the learner is the slowest; then another stage each."""
    return (
        Load(name="given", times=times),
        Load(name="slow-generators", times=times, in_flight=16),
        Load(
            name="slow-scorer",
            times=ServiceTimes(generate_s=1.0, generate_sigma=0.6, score_s=1.2, score_sigma=0.3, learn_s=0.7),
            groups_per_lease=8,
        ),
        Load(
            name="stragglers",
            times=ServiceTimes(
                generate_s=0.8, generate_sigma=1.0, score_s=0.3, learn_s=0.9, publish_s=0.2, load_s=0.1,
                filtered_share=0.2,
            ),
            max_lag=3,
        ),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """What a run came to, after its warm-up."""

    step_s: float
    learner_wait_fraction: float
    overlap_efficiency: float
    lag_mean: float
    lag_max: int
    max_lag_allowed: int
    num_steps: int


def bench_overlap(load: Load, *, steps: int, say: Say, others: tuple[Load, ...] = ()) -> dict[str, Any]:
    """Measure one load in all three ways, and `others` asynchronously; return the figures of DESIGN 9."""
    with Pipeline(say) as pipeline:
        asynchronous = pipeline.measure(load, steps=steps)
        unshaped = pipeline.measure(load, steps=steps, shaper="none")
        in_turns = pipeline.measure(load, steps=min(steps, SYNC_STEPS), sync=True)
        rows = [(load, asynchronous), *((other, pipeline.measure(other, steps=steps)) for other in others)]
    busy = load.times.busy_per_step(_config_of(load))
    # In turns a wave of generation lasts as long as a group, however many are side by side.
    one_turn_each = max(load.times.generate_s, busy["generate"]) + busy["score"] + busy["learn"]
    return {
        "overlap_efficiency": asynchronous.overlap_efficiency,
        "learner_wait_fraction": asynchronous.learner_wait_fraction,
        "speedup_over_sync": in_turns.step_s / asynchronous.step_s,
        "ideal_speedup": one_turn_each / max(busy.values()),
        "dependency_overhead": (asynchronous.step_s - unshaped.step_s) / unshaped.step_s,
        "step_s": asynchronous.step_s,
        "sync_step_s": in_turns.step_s,
        "unshaped_step_s": unshaped.step_s,
        "num_steps": asynchronous.num_steps,
        "shapes": [_row(other, figures) for other, figures in rows],
        "sync": asdict(in_turns),
    }


def _row(load: Load, measured: Measured) -> dict[str, Any]:
    return {
        "name": load.name,
        "times": asdict(load.times),
        "generators": load.generators,
        "predicted_step_s": predicted_step_s(load),
        "busy_per_step_s": load.times.busy_per_step(_config_of(load)),
        **asdict(measured),
    }


def predicted_step_s(load: Load) -> float:
    """Return what the planner expects."""
    return simulate(_config_of(load), load.times, num_steps=PREDICTED_STEPS).step_s


def _config_of(load: Load) -> RunConfig:
    return load.config(steps=1, output_dir="unused")


class Pipeline:
    """One set of actors for all runs: starting them takes as long as a run."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._cluster: Cluster | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._cluster is not None:
            self._cluster.stop()

    def measure(self, load: Load, *, steps: int, sync: bool = False, shaper: str = "pgpo") -> Measured:
        """Run one load for `steps` steps after the warm-up. All loads must ask for as many actors."""
        way = "in turns" if sync else "without a scorer" if shaper == "none" else "asynchronously"
        warm_up = WARM_UP if self._cluster is not None else FIRST_WARM_UP
        with tempfile.TemporaryDirectory() as folder:
            config = load.config(steps=warm_up + steps, output_dir=folder, sync=sync, shaper=shaper)
            write_times(config, load.times)
            run_folder = RunFolder(config)
            self._say(f"{load.name}, {way}: starting")
            cluster = self._start(config, run_folder.run_id)
            self._say(f"{load.name}, {way}: {config.train.num_steps} steps")
            rows = run_quietly(config, cluster, run_folder)
        return _measured(load, config, rows, warm_up)

    def _start(self, config: RunConfig, run_id: str) -> Cluster:
        if self._cluster is not None:
            self._cluster.renew(config, run_id, lambda _: None)
            return self._cluster
        self._cluster = Cluster(config, run_id, SLEEPING)
        self._cluster.start(lambda _: None)
        return self._cluster


def _measured(load: Load, config: RunConfig, rows: list[dict[str, Any]], warm_up: int) -> Measured:
    step_s = mean_step_s(rows, warm_up)
    rows = rows[warm_up:]
    return Measured(
        step_s=step_s,
        learner_wait_fraction=sum(row["learner_wait_s"] for row in rows) / (len(rows) * step_s),
        overlap_efficiency=max(load.times.busy_per_step(config).values()) / step_s,
        lag_mean=sum(row["lag_mean"] for row in rows) / len(rows),
        lag_max=max(row["lag_max"] for row in rows),
        max_lag_allowed=config.max_lag,
        num_steps=len(rows),
    )
