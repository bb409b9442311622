"""A long run around stages that sleep: what grows in its processes, though nothing should.

The run is a whole one in a driver of its own (`sleeping_run`), which is watched from outside: resident memory
and open files of driver, queue and store, and what is used of the machine's shared memory.
"""

import json
import shutil
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from pgpo_async.bench.chaos_world import Driver, at_work, count_steps
from pgpo_async.bench.overlap import Load
from pgpo_async.bench.report import Say
from pgpo_async.bench.sleeping_times import write_times
from pgpo_async.config.schema import RunConfig
from pgpo_async.orchestration.service_times import ServiceTimes

TIMES = ServiceTimes(generate_s=0.2, generate_sigma=0.5, score_s=0.05, learn_s=0.2)
GROUPS_PER_STEP = 32
NAME = "soak"
SAMPLE_S = 1.0
SHARED_MEMORY = Path("/dev/shm")
WINDOW = 0.1
"""Share of the run whose median stands for its middle, and for its end."""


def soak_config(groups: int, folder: Path) -> RunConfig:
    """Return the run, with a checkpoint now and then, as any run has."""
    steps = -(-groups // GROUPS_PER_STEP)
    values = (
        Load(name=NAME, times=TIMES, in_flight=32).config(steps=steps, output_dir=str(folder)).model_dump()
    )
    values["train"] |= {"groups_per_step": GROUPS_PER_STEP, "save_every": 25}
    values["scorer"] |= {"groups_per_lease": 8}
    return RunConfig.model_validate(values)


@dataclass(slots=True)
class _Samples:
    """By figure, in the order they were taken, each with the steps done then."""

    values: dict[str, list[tuple[int, float]]] = field(default_factory=lambda: defaultdict(list))

    def take(self, step: int, driver: psutil.Process) -> None:
        """Look at everybody once; somebody who is not there has no sample."""
        found = {"driver": [driver], "queue": at_work("queue"), "store": at_work("store")}
        for role, processes in found.items():
            for process in processes:
                try:
                    self.values[f"{role}_rss_bytes"].append((step, float(process.memory_info().rss)))
                    self.values[f"{role}_fds"].append((step, float(process.num_fds())))
                except psutil.Error:
                    continue
        self.values["shm_bytes"].append((step, float(shutil.disk_usage(SHARED_MEMORY).used)))


def bench_soak(*, groups: int, say: Say) -> dict[str, Any]:
    """Run, watch, compare the middle with the end. Raises StageFailed if the run does not end well."""
    with tempfile.TemporaryDirectory(prefix="pgpo-soak-") as temporary:
        home = Path(temporary)
        config = soak_config(groups, home)
        write_times(config, TIMES)
        began_s, samples = time.monotonic(), _Samples()
        with Driver.sleeping(config, home) as driver:
            while driver.code is None:
                if (step := count_steps(home, "metrics")) > 0:
                    samples.take(step, psutil.Process(driver.pid))
                say(f"step {step} of {config.train.num_steps}")
                time.sleep(SAMPLE_S)
        driver.require_good_end()
        summary = json.loads(next(home.glob("*/summary.json")).read_text())
        return _figures(samples, config.train.num_steps, time.monotonic() - began_s, summary)


def _figures(samples: _Samples, num_steps: int, wall_s: float, summary: dict[str, Any]) -> dict[str, Any]:
    rows = {name: _row(values, num_steps) for name, values in samples.values.items()}
    return {
        "groups": summary["accounting"]["trained"],
        "steps": num_steps,
        "wall_s": wall_s,
        "accounting": summary["accounting"],
        "accounting_balanced": summary["accounting_balanced"],
        "figures": rows,
        "largest_growth": max(row["growth"] for row in rows.values()),
    }


def _row(values: Sequence[tuple[int, float]], num_steps: int) -> dict[str, float]:
    """Medians at the first quarter, in the middle and at the end; growth from the middle to the end."""

    def around(share: float) -> float:
        low, high = (share - WINDOW / 2) * num_steps, (share + WINDOW / 2) * num_steps
        near = [value for step, value in values if low <= step <= high]
        return statistics.median(near or [values[-1][1]])

    middle, end = around(0.5), around(1.0 - WINDOW / 2)
    return {
        "quarter": around(0.25),
        "middle": middle,
        "end": end,
        "growth": (end - middle) / middle if middle else 0.0,
    }
