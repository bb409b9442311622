"""What looking at a run costs: the same run around stages that sleep, in blocks with all on and with all off.

On: the observer and its status file, samples, all that a finished step is told to, as often as by default;
the exporter scraped each second, Ray's mirror, TensorBoard. One run, so that nothing else differs; blocks
take turns, so that what drifts falls on both.
"""

import statistics
import tempfile
import threading
import time
import urllib.request
from itertools import chain, pairwise
from typing import Any

from rich.console import Console

from pgpo_async.bench.overlap import FIRST_WARM_UP, Load
from pgpo_async.bench.report import Say
from pgpo_async.bench.sleeping_stages import SLEEPING
from pgpo_async.bench.sleeping_times import write_times
from pgpo_async.config.observing import MetricsConfig
from pgpo_async.config.schema import RunConfig
from pgpo_async.orchestration.cluster import Cluster
from pgpo_async.orchestration.run_folder import RunFolder
from pgpo_async.orchestration.run_loop import RunLoop
from pgpo_async.orchestration.service_times import ServiceTimes
from pgpo_async.orchestration.telemetry import Telemetry

# Generators with time to spare: a step is the learner's 0.9 s and what comes on top, of which this is a part.
TIMES = ServiceTimes(generate_s=0.5, generate_sigma=0.6, score_s=0.3, learn_s=0.9)
SCRAPE_S = 1.0
ALL_ON = {**MetricsConfig().model_dump(), "mirror_to_ray": True, "tensorboard": True}


def bench_metrics(*, steps: int, blocks: int, say: Say) -> dict[str, Any]:
    """Measure `blocks` pairs of blocks; returns the median steps of both, and the difference with its error.

    Medians, since one step in ten is late for reasons of the machine's; what looking costs is in every step.
    """
    load = Load(name="metrics", times=TIMES)
    with tempfile.TemporaryDirectory() as home:
        plain = load.config(steps=FIRST_WARM_UP + 2 * blocks * steps + 1, output_dir=home)
        config = plain.model_copy(update={"metrics": MetricsConfig.model_validate(ALL_ON)})
        write_times(config, load.times)
        folder = RunFolder(config)
        cluster = Cluster(config, folder.run_id, SLEEPING)
        say("starting")
        try:
            cluster.start(lambda _: None)
            times = _Blocks(steps, say)
            _run(config, cluster, folder, times)
        finally:
            cluster.stop()
    on, off = times.steps(blocks)
    pairs = [statistics.median(a) - statistics.median(b) for a, b in zip(on, off, strict=True)]
    off_s = statistics.median(chain(*off))
    return {
        "metrics_overhead": statistics.fmean(pairs) / off_s,
        "standard_error": statistics.stdev(pairs) / len(pairs) ** 0.5 / off_s if len(pairs) > 1 else None,
        "step_s_on": statistics.median(chain(*on)),
        "step_s_off": off_s,
        "mean_step_s_on": statistics.fmean(chain(*on)),
        "mean_step_s_off": statistics.fmean(chain(*off)),
        "steps_s_on": on,
        "steps_s_off": off,
        "steps": steps,
        "blocks": blocks,
        "scrapes": times.num_scrapes,
    }


def _run(config: RunConfig, cluster: Cluster, folder: RunFolder, times: "_Blocks") -> None:
    telemetry = Telemetry(config, folder, cluster, Console(quiet=True))

    def told() -> bool:
        times.step_done(loop.steps_done, telemetry)
        return False

    loop = RunLoop(config, cluster, folder, telemetry, told)
    telemetry.start()
    scraper = threading.Thread(target=times.scrape, args=(telemetry,), daemon=True)
    scraper.start()
    try:
        loop.run()
    finally:
        times.ended.set()
        scraper.join()
        telemetry.close()


class _Blocks:
    """Turns everything on and off, and notes when each step ended."""

    def __init__(self, steps: int, say: Say) -> None:
        self._steps = steps
        self._say = say
        self._ended_s: dict[int, float] = {}
        self._is_on = threading.Event()
        self.ended = threading.Event()
        self.num_scrapes = 0

    def step_done(self, number: int, telemetry: Telemetry) -> None:
        """Note a step; called before each."""
        if number in self._ended_s:
            return
        self._ended_s[number] = time.perf_counter()
        measured = number - FIRST_WARM_UP
        if measured % self._steps == 0:
            is_on = measured < 0 or (measured // self._steps) % 2 == 0
            (self._is_on.set if is_on else self._is_on.clear)()
            telemetry.pause(not is_on)
            self._say(f"step {number}, all {'on' if is_on else 'off'}")

    def scrape(self, telemetry: Telemetry) -> None:
        """Read the metrics as Prometheus does, while they are on."""
        assert telemetry.url is not None
        while not self.ended.wait(SCRAPE_S):
            if self._is_on.is_set():
                with urllib.request.urlopen(telemetry.url, timeout=10) as answer:
                    answer.read()
                self.num_scrapes += 1

    def steps(self, blocks: int) -> tuple[list[list[float]], list[list[float]]]:
        """Seconds of each step by block: those with all on, those with all off."""
        begin = FIRST_WARM_UP
        ends = [self._ended_s[number] for number in range(begin, begin + 2 * blocks * self._steps + 1)]
        each = [later - earlier for earlier, later in pairwise(ends)]
        found = [each[place : place + self._steps] for place in range(0, len(each), self._steps)]
        return found[::2], found[1::2]
