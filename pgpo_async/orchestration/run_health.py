"""What ends a run that teaches nothing, and what only warns.

Owns the limits and the words: most prompts unusable, every group without signal, a policy that collapses. Fed
by `run_loop` with the queue's books and each step's figures.
"""

from collections.abc import Mapping

from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import Accounting, StageFailed
from pgpo_async.metrics.collapse import CollapseDetector

# A run of which most prompts are unusable teaches nothing: it ends with the reasons.
MIN_QUARANTINED = 32
MAX_QUARANTINED_SHARE = 0.5


class RunHealth:
    """One run's, from its start, or from the books `start` of the run that it goes on with."""

    def __init__(self, config: RunConfig, start: Accounting | None = None) -> None:
        self._filter = config.algorithm.filter
        self._groups_per_step = config.train.groups_per_step
        self._collapse = CollapseDetector()
        self._last = start or Accounting()

    def check(self, accounting: Accounting) -> None:
        """Raises StageFailed, with what to change, where going on would teach nothing."""
        ended, quarantined = accounting.drawn - accounting.pending, accounting.quarantined
        if quarantined >= MIN_QUARANTINED and quarantined > MAX_QUARANTINED_SHARE * ended:
            reasons = ", ".join(f"{r} ({n})" for r, n in accounting.quarantined_by_reason.items())
            raise StageFailed(
                f"{quarantined} of {ended} prompts were quarantined: {reasons}; see quarantine.jsonl",
                role="source",
            )
        in_vain = accounting.filtered - self._last.filtered
        if in_vain > self._filter.patience * self._groups_per_step:
            raise StageFailed(
                f"{in_vain} groups were filtered since the last training step: the mean {self._filter.key} "
                f"of each was not between {self._filter.low} and {self._filter.high}, so all of a group's "
                "responses are right, or all wrong; use prompts of another difficulty, a larger "
                "generation.group_size, or algorithm.filter.enabled=false",
                role="source",
            )

    def step_done(
        self, step: int, accounting: Accounting, generated: Mapping[str, float], learner: Mapping[str, float]
    ) -> tuple[dict[str, float], str | None]:
        """Note a step; return its metrics (`filtered_share` of the groups that ended in it) and a warning."""
        filtered = accounting.filtered - self._last.filtered
        ended = accounting.drawn - accounting.pending - (self._last.drawn - self._last.pending)
        self._last = accounting
        nan = float("nan")
        warning = self._collapse.add(
            step, reward=generated.get("reward", nan), entropy=learner.get("entropy", nan)
        )
        return {"filtered_share": filtered / max(1, ended)}, warning
