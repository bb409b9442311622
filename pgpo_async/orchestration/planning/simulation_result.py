"""What a simulated run came to, in the figures of a real run's summary. Made by `simulation`."""

from collections.abc import Mapping
from dataclasses import dataclass

from pgpo_async.contracts import Accounting


@dataclass(frozen=True, kw_only=True, slots=True)
class SimulationResult:
    """What a simulated run came to. Step time, busy times and waiting are of the steps after the warm-up.

    `busy_s` are service seconds a step divided by the stage's parallelism, as in
    `ServiceTimes.busy_per_step`, with the work done twice or in vain. `lag_histogram` has all groups.
    `num_cancelled` groups were too old in flight and begun again; those given up are stale in the books.
    """

    num_steps: int
    virtual_s: float
    step_s: float
    busy_s: Mapping[str, float]
    learner_wait_fraction: float
    longest_wait_s: float
    lag_histogram: Mapping[int, int]
    most_groups_held: int
    num_cancelled: int
    accounting: Accounting

    @property
    def busy_share(self) -> dict[str, float]:
        """Share of the time that each stage works, of all that it could."""
        return {stage: busy / self.step_s if self.step_s else 0.0 for stage, busy in self.busy_s.items()}

    @property
    def overlap_efficiency(self) -> float:
        """The slowest stage's busy seconds by the step's; 1.0 is the limit of any pipeline."""
        return max(self.busy_share.values())

    @property
    def lag_mean(self) -> float:
        """Mean lag of the groups trained, in steps."""
        return sum(lag * num for lag, num in self.lag_histogram.items()) / sum(self.lag_histogram.values())

    @property
    def lag_max(self) -> int:
        """Largest lag of a group trained, in steps."""
        return max(self.lag_histogram)
