"""A whole run on its real engines in which a process of each role is killed once, one after the other.

The run is `pgpo-async launch` in a process of its own; who is struck is found among this machine's processes,
and what follows is read from the run's events, as a user would. Called by the command line; knows no table.
"""

import json
import re
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from pgpo_async.bench.chaos_world import Driver, count_steps, send, titled
from pgpo_async.bench.report import Say
from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import StageFailed, WaitTimeout

POLL_S = 0.005
MAX_WAIT_S = 600.0
"""Longest wait for the run's next step, for somebody to strike, and for a death to be got over."""
SAVE_EVERY = 4
QUIET_STEPS = 2
"""Done before the first death, and between getting over one and the next."""


@dataclass(frozen=True, slots=True)
class Death:
    """Whose process, told by its title; the events that tell of its end and of its replacement."""

    role: str
    title: str
    noticed: str
    recovered: str


DEATHS = (
    Death("generator", r"^ray::Generator\b", "generator.* failed", "generator.* works"),
    Death("scorer", r"^ray::Scorer\b", "scorer.* failed", "scorer.* works"),
    # In the middle of a step.
    Death("learner", r"^ray::LearnerWorker\.train_step", "starting its ranks", "the learner goes on"),
    Death("queue", r"^ray::QueueActor", "queue (cannot|works)", "queue works again"),
    Death("store", r"^ray::StoreActor", "store (cannot|works)", "store works again"),
)


def bench_deaths(config: RunConfig, *, say: Say) -> dict[str, Any]:
    """Run, kill, read; return the figures. Raises StageFailed if the run does not end well, WaitTimeout."""
    with tempfile.TemporaryDirectory(prefix="pgpo-deaths-") as temporary:
        home = Path(temporary)
        train = config.train.model_copy(update={"save_every": SAVE_EVERY})
        config = config.model_copy(update={"train": train, "output_dir": str(home / "runs")})
        with Driver.launching(config, home) as driver:
            watch = _Watch(home / "runs", driver, say)
            rows = [watch.strike(death) for death in DEATHS]
            watch.until(lambda: driver.code is not None, "the run's end")
        driver.require_good_end()
        summary = json.loads(next(home.glob("runs/*/summary.json")).read_text())
    names = ("status", "accuracy_before", "accuracy_after", "accounting", "accounting_balanced", "wall_s")
    return {
        "deaths": rows,
        "ranks": config.learner.replicas,
        "steps": config.train.num_steps,
        **{name: summary[name] for name in names},
        "restarts": summary["restarts"],
        "lag_max": summary["max_lag_seen"],
        "lag_max_allowed": summary["max_lag_allowed"],
        "left_behind": summary["left_behind"],
    }


class _Watch:
    """Sees what the run has done so far, and strikes."""

    def __init__(self, runs: Path, driver: Driver, say: Say) -> None:
        self._runs = runs
        self._driver = driver
        self._say = say

    def strike(self, death: Death) -> dict[str, Any]:
        """Let the run work a little, kill one process of a role, and see it replaced."""
        goal = self._num_steps() + QUIET_STEPS
        self._say(f"next: {death.role}, after step {goal}")
        self.until(lambda: self._num_steps() >= goal, f"step {goal}")
        victim = self.until(lambda: _somebody(death.title), f"a {death.role} at work")
        before, struck_s = self._num_steps(), time.time()
        send(victim, signal.SIGKILL)
        self._say(f"{death.role} killed after step {before}")
        noticed_s = self.until(
            lambda: self._told(death.noticed, struck_s), f"{death.role}'s end to be noticed"
        )
        recovered_s = self.until(lambda: self._told(death.recovered, struck_s), f"another {death.role}")
        return {
            "role": death.role,
            "after_step": before,
            "detect_s": noticed_s - struck_s,
            "recover_s": recovered_s - struck_s,
        }

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        """Wait until something is so; return it. Raises WaitTimeout, StageFailed if the run is over."""
        deadline_s = time.monotonic() + MAX_WAIT_S
        while not (found := condition()):
            if self._driver.code is not None:
                raise StageFailed(f"the run ended before {what}:\n{self._driver.said(30)}", role="driver")
            if time.monotonic() > deadline_s:
                raise WaitTimeout(what, MAX_WAIT_S, self._driver.said())
            time.sleep(POLL_S)
        return found

    def _num_steps(self) -> int:
        return count_steps(self._runs, "metrics")

    def _told(self, pattern: str, since_s: float) -> float | None:
        """When the first event of a kind was told."""
        for event in self._events():
            if event["time_s"] >= since_s and re.search(pattern, event["event"]):
                return float(event["time_s"])
        return None

    def _events(self) -> Iterator[dict[str, Any]]:
        for path in self._runs.glob("*/events.jsonl"):
            # The last line may be half written.
            yield from (json.loads(line) for line in path.read_text().split("\n")[:-1])


def _somebody(title: str) -> psutil.Process | None:
    return next((process for process, said in titled() if re.search(title, said)), None)
