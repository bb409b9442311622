"""What looking at a run costs: the same run around stages that sleep, in blocks with all on and with all off.

On: the observer and its status file, samples, all that a finished step is told to, as often as by default;
the exporter scraped each second, Ray's mirror, TensorBoard.
"""

import tempfile
import threading
import urllib.request
from typing import Any

from rich.console import Console

from pgpo_async.bench.on_off import OnOff
from pgpo_async.bench.overlap import Load
from pgpo_async.bench.report import Say
from pgpo_async.bench.sleeping_stages import SLEEPING
from pgpo_async.bench.sleeping_times import write_times
from pgpo_async.config.observing import MetricsConfig
from pgpo_async.orchestration.cluster import Cluster
from pgpo_async.orchestration.run_folder import RunFolder
from pgpo_async.orchestration.service_times import ServiceTimes
from pgpo_async.orchestration.telemetry import Telemetry

# Generators with time to spare: a step is the learner's 0.9 s and what comes on top, of which this is a part.
TIMES = ServiceTimes(generate_s=0.5, generate_sigma=0.6, score_s=0.3, learn_s=0.9)
SCRAPE_S = 1.0
ALL_ON = {**MetricsConfig().model_dump(), "mirror_to_ray": True, "tensorboard": True}


def bench_metrics(*, steps: int, blocks: int, say: Say) -> dict[str, Any]:
    """Measure `blocks` pairs of blocks; returns the median steps of both, and their difference."""
    load = Load(name="metrics", times=TIMES)
    with tempfile.TemporaryDirectory() as home:
        plain = load.config(steps=OnOff.num_steps(steps, blocks), output_dir=home)
        config = plain.model_copy(update={"metrics": MetricsConfig.model_validate(ALL_ON)})
        write_times(config, load.times)
        folder = RunFolder(config)
        cluster = Cluster(config, folder.run_id, SLEEPING)
        say("starting")
        try:
            cluster.start(lambda _: None)
            telemetry = Telemetry(config, folder, cluster, Console(quiet=True))
            watching = _Watching(telemetry)
            on_off = OnOff(steps, blocks, watching.switch, say)
            with watching:
                on_off.loop(config, cluster, folder, telemetry).run()
        finally:
            cluster.stop()
    figures = on_off.figures()
    return {"metrics_overhead": figures.pop("overhead"), **figures, "scrapes": watching.num_scrapes}


class _Watching:
    """All that looks at a run, on or off; a scraper as Prometheus is one."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._is_on = threading.Event()
        self._ended = threading.Event()
        self._scraper = threading.Thread(target=self._scrape, daemon=True)
        self.num_scrapes = 0

    def __enter__(self) -> None:
        self._telemetry.start()
        self._scraper.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._scraper.join()
        self._telemetry.close()

    def switch(self, is_on: bool) -> None:
        (self._is_on.set if is_on else self._is_on.clear)()
        self._telemetry.pause(not is_on)

    def _scrape(self) -> None:
        assert self._telemetry.url is not None
        while not self._ended.wait(SCRAPE_S):
            if self._is_on.is_set():
                with urllib.request.urlopen(self._telemetry.url, timeout=10) as answer:
                    answer.read()
                self.num_scrapes += 1
