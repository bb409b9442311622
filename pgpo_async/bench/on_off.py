"""One run in blocks of steps, with something on and with it off by turns: what that something costs a step.

One run, so that nothing else differs; blocks take turns, so that what drifts falls on both. Medians, since
one step in ten is late for reasons of the machine's; what a thing costs is in every step. Used by
`metrics_cost` and `evaluation_cost`.
"""

import statistics
import time
from collections.abc import Callable
from itertools import chain, pairwise
from typing import Any

from pgpo_async.bench.overlap import FIRST_WARM_UP
from pgpo_async.bench.report import Say
from pgpo_async.config.schema import RunConfig
from pgpo_async.orchestration.cluster import Cluster
from pgpo_async.orchestration.run_folder import RunFolder
from pgpo_async.orchestration.run_loop import RunLoop
from pgpo_async.orchestration.telemetry import Telemetry


class OnOff:
    """Calls `switch` at the blocks' ends, `steps` each, and notes when each step ended."""

    def __init__(self, steps: int, blocks: int, switch: Callable[[bool], None], say: Say) -> None:
        self._steps = steps
        self._blocks = blocks
        self._switch = switch
        self._say = say
        self._ended_s: dict[int, float] = {}

    @staticmethod
    def num_steps(steps: int, blocks: int) -> int:
        """Steps of a run with `blocks` blocks of both kinds."""
        return FIRST_WARM_UP + 2 * blocks * steps + 1

    def loop(self, config: RunConfig, cluster: Cluster, folder: RunFolder, telemetry: Telemetry) -> RunLoop:
        """Return the run's loop, which tells of each step."""

        def told() -> bool:
            self.step_done(loop.steps_done)
            return False

        loop = RunLoop(config, cluster, folder, telemetry, told)
        return loop

    def step_done(self, number: int) -> None:
        """Note a step; called before each."""
        if number in self._ended_s:
            return
        self._ended_s[number] = time.perf_counter()
        measured = number - FIRST_WARM_UP
        if measured % self._steps == 0:
            is_on = measured < 0 or (measured // self._steps) % 2 == 0
            self._switch(is_on)
            self._say(f"step {number}, {'on' if is_on else 'off'}")

    def figures(self) -> dict[str, Any]:
        """Return the medians' difference as a share of a step, its error over pairs of blocks, and steps."""
        on, off = self._steps_s()
        pairs = [statistics.median(a) - statistics.median(b) for a, b in zip(on, off, strict=True)]
        off_s = statistics.median(chain(*off))
        return {
            "overhead": statistics.fmean(pairs) / off_s,
            "standard_error": statistics.stdev(pairs) / len(pairs) ** 0.5 / off_s if len(pairs) > 1 else None,
            "step_s_on": statistics.median(chain(*on)),
            "step_s_off": off_s,
            "mean_step_s_on": statistics.fmean(chain(*on)),
            "mean_step_s_off": statistics.fmean(chain(*off)),
            "steps_s_on": on,
            "steps_s_off": off,
            "steps": self._steps,
            "blocks": self._blocks,
        }

    def _steps_s(self) -> tuple[list[list[float]], list[list[float]]]:
        begin, num = FIRST_WARM_UP, 2 * self._blocks * self._steps
        ends = [self._ended_s[number] for number in range(begin, begin + num + 1)]
        each = [later - earlier for earlier, later in pairwise(ends)]
        found = [each[place : place + self._steps] for place in range(0, num, self._steps)]
        return found[::2], found[1::2]
