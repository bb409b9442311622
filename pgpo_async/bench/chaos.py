"""A run whose processes, nodes and driver are killed and frozen at random, hundreds of times, until it ends.

Real Ray with several nodes, real queue, journal, store, admission, supervision, learner checkpoints and
resumes; the engines sleep (`sleeping_stages`), so that it is fast. The blows are drawn from a seed
(`chaos_plan`); what must hold in the end is `chaos_verdict`'s.
"""

import json
import signal
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from pgpo_async.bench.chaos_plan import DRIVERS, SHARES, Blow, draw_blows
from pgpo_async.bench.chaos_verdict import verdict
from pgpo_async.bench.chaos_world import Driver, Machines, at_work, count_steps, send
from pgpo_async.bench.overlap import Load
from pgpo_async.bench.report import Say
from pgpo_async.bench.sleeping_times import write_times
from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import StageFailed, WaitTimeout
from pgpo_async.orchestration.service_times import ServiceTimes

TIMES = ServiceTimes(
    generate_s=0.3, generate_sigma=0.6, score_s=0.05, learn_s=0.1, load_s=0.02, filtered_share=0.1
)
GENERATORS, SCORERS, NODES = 3, 2, 3
NAME = "chaos"
FROZEN_NODE_S = 15.0
"""A frozen node is replaced after so long, when everybody has found out."""
POLL_S = 0.05
"""Each look goes through all processes: more often, and the looks themselves take a tenth of the machine."""
LOOK_S = 0.5
PACE_S = 3.0
"""Longest pause between two blows while the driver is up."""
STEP_TIMEOUT_S = 300.0
MAX_FAILURES = 3
"""Runs that ended by themselves, and were resumed as an operator would."""


def chaos_config(steps: int, address: str | None, folder: Path) -> RunConfig:
    """Return a run that is patient: its budgets of restarts are for more than anybody will kill."""
    values = (
        Load(name=NAME, times=TIMES, generators=GENERATORS, in_flight=8)
        .config(steps=steps, output_dir=str(folder))
        .model_dump()
    )
    many = {"cpus": 1.0, "max_restarts": 10_000}
    values["train"] |= {"groups_per_step": 8, "save_every": 10, "max_lag": 2}
    values["generator"] |= {**many, "start_timeout_s": 180.0}
    values["scorer"] |= {**many, "replicas": SCORERS}
    values["learner"] |= {**many, "step_timeout_s": 120.0}
    values["reward"] |= {"cpus": 1.0, "function": "pgpo_async.bench.no_reward:no_reward"}
    values["supervision"] |= {
        "silence_s": 10.0, "check_every_s": 0.5, "backoff_s": 0.0, "control_restarts": 10_000
    }  # fmt: skip
    values["ray"] |= {"address": address}
    return RunConfig.model_validate(values)


@dataclass(slots=True)
class _Wound:
    """A blow whose role is not yet what it was: whole when so many others are at work."""

    role: str
    struck: psutil.Process
    began_s: float
    whole: int


@dataclass(slots=True)
class _Log:
    """What happened: seconds to recover by role, and how often nobody was there to be struck."""

    recover_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    by_signal: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    num_struck: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    num_failures: int = 0
    longest_pause_s: float = 0.0


def bench_chaos(
    *,
    kills: int,
    seed: int,
    steps: int,
    say: Say,
    targets: Sequence[str] = tuple(SHARES),
    keep: Path | None = None,
) -> dict[str, Any]:
    """Run, strike, judge; return the figures of DESIGN 9. The run's folder is kept in `keep`, if given.

    Raises StageFailed where the run ends by itself again and again, WaitTimeout where it stands still.
    """
    blows = draw_blows(seed, kills, steps, targets)
    with tempfile.TemporaryDirectory(prefix="pgpo-chaos-") as temporary:
        home = keep or Path(temporary)
        home.mkdir(parents=True, exist_ok=True)
        say("starting Ray's nodes")
        machines = Machines(NODES)
        try:
            storm = _Storm(machines, chaos_config(steps, machines.address, home), home, blows, say)
            began_s = time.monotonic()
            storm.run()
            wall_s = time.monotonic() - began_s
        finally:
            machines.close()
        return _figures(storm, seed, wall_s, verdict(storm.folder, steps))


def _figures(storm: "_Storm", seed: int, wall_s: float, judged: dict[str, Any]) -> dict[str, Any]:
    log = storm.log
    if storm.num_left:
        judged["problems"].append(f"all blows are struck ({storm.num_left} are left)")
    return {
        "kills": sum(log.num_struck.values()),
        "seed": seed,
        **judged,
        "recover_s": {role: statistics.median(times) for role, times in sorted(log.recover_s.items())},
        "recover_max_s": {role: max(times) for role, times in sorted(log.recover_s.items())},
        "struck": dict(log.num_struck),
        "signals": dict(log.by_signal),
        "ended_by_itself": log.num_failures,
        "longest_pause_s": log.longest_pause_s,
        "wall_s": wall_s,
    }


class _Storm:
    """Strikes as the plan says, and watches how the run gets over it."""

    def __init__(
        self, machines: Machines, config: RunConfig, home: Path, blows: tuple[Blow, ...], say: Say
    ) -> None:
        write_times(config, TIMES)
        self.log = _Log()
        self._machines = machines
        self._blows = list(blows)
        self._num_blows = len(blows)
        self._home = home
        self._say = say
        self._driver = Driver.sleeping(config, home)
        self._wounds: list[_Wound] = []
        self._driver_down_s: float | None = None
        self._replace_s: float | None = None
        self._steps, self._stepped_s = 0, time.monotonic()
        self._looked_s = self._struck_s = time.monotonic()

    @property
    def folder(self) -> Path:
        """The run's; there is one, however often it is resumed."""
        return next(self._home.glob(f"bench-{NAME}-*"))

    @property
    def num_left(self) -> int:
        """Blows not struck: the run was over before."""
        return len(self._blows)

    def run(self) -> None:
        """From the start of the driver to its good end."""
        with self._driver:
            while self._driver.code != 0:
                self._look()
                if self._driver.code not in (None, 0):
                    self._failed()
                else:
                    self._strike_next()
                time.sleep(POLL_S)

    def _look(self) -> None:
        """See who is well again, what is to be replaced, and whether the run still moves."""
        now_s = time.monotonic()
        if now_s - self._looked_s < LOOK_S:
            return
        self._looked_s = now_s
        steps = self._count_steps()
        if steps > self._steps:
            pause_s = now_s - self._stepped_s
            if self._steps:
                self.log.longest_pause_s = max(self.log.longest_pause_s, pause_s)
            self._steps, self._stepped_s = steps, now_s
            if self._driver_down_s is not None:
                self.log.recover_s["driver"].append(now_s - self._driver_down_s)
                self._driver_down_s, self._struck_s = None, now_s
        elif now_s - self._stepped_s > STEP_TIMEOUT_S:
            raise WaitTimeout("a step of the run in chaos", STEP_TIMEOUT_S, self._driver.said())
        if self._replace_s is not None and now_s >= self._replace_s:
            self._replace_s = None
            self._machines.replace()
        for wound in list(self._wounds):
            others = [process for process in at_work(wound.role) if process != wound.struck]
            if len(others) >= wound.whole:
                self.log.recover_s[wound.role].append(now_s - wound.began_s)
                self._wounds.remove(wound)
        self._say(f"step {self._steps}, {self._num_blows - self.num_left} of {self._num_blows} blows")

    def _count_steps(self) -> int:
        """Steps done, those counted that were done again."""
        return max(self._steps, count_steps(self._home, "metrics", "rolled_back"))

    def _strike_next(self) -> None:
        """Strike whoever is due and there; for some a moment is waited (nobody lives, no checkpoint).

        Where the run stands still the next one is due all the same, if not while a driver starts.
        """
        late = time.monotonic() - self._struck_s > PACE_S and self._driver_down_s is None and self._steps
        next_step = self._blows[0].after_step if self._blows and late else 0
        for blow in [blow for blow in self._blows if blow.after_step <= max(self._steps, next_step)]:
            if self._strike(blow):
                self._blows.remove(blow)
                self._struck_s = time.monotonic()
                return

    def _strike(self, blow: Blow) -> bool:
        """Strike; return whether there was somebody to be struck."""
        struck = ""
        if blow.target in DRIVERS:
            if blow.target == "checkpoint" and not any(self._home.glob("*/checkpoints/.*.partial")):
                return False
            self._driver.kill()
            self._driver.start()
            self._driver_down_s = time.monotonic()
            # What its actors were recovering from is over: all of them are new. Ray does not end one that we
            # froze, and would count what it holds as taken for ever.
            for wound in self._wounds:
                send(wound.struck, signal.SIGKILL)
            self._wounds = []
        elif blow.target == "node":
            # Where one is still gone the run may have no room to recover.
            self._machines.replace()
            self._machines.strike(blow)
            frozen = blow.signal.name == "SIGSTOP"
            self._replace_s = time.monotonic() + (FROZEN_NODE_S if frozen else 1.0)
        else:
            # There may be none for a while: all are being replaced, or their node is.
            victims = at_work(blow.target)
            if not victims or not send(victim := victims[int(blow.which * len(victims))], blow.signal):
                return False
            self._wounds.append(_Wound(blow.target, victim, time.monotonic(), len(victims)))
            struck = f" process {victim.pid}"
        self._note(f"{blow.signal.name} {blow.target}{struck}")
        self.log.num_struck[blow.target] += 1
        self.log.by_signal[blow.signal.name] += 1
        return True

    def _note(self, text: str) -> None:
        """Keep what was done, beside the run, in the form of its own events."""
        with (self._home / "blows.jsonl").open("a") as blows:
            blows.write(json.dumps({"time_s": time.time(), "event": text}) + "\n")

    def _failed(self) -> None:
        """Resume a run that ended with an error, as a job's back-off limit does."""
        self.log.num_failures += 1
        if self.log.num_failures > MAX_FAILURES:
            raise StageFailed(f"the run ended by itself:\n{self._driver.said()}", role="driver")
        self._driver.start()
        self._driver_down_s, self._wounds = time.monotonic(), []
