"""What ends a run that teaches nothing, and what only warns.

Owns the limits and the words: most prompts unusable, every group without signal, a policy that collapses. Fed
by `run_loop` with the queue's books and each step's figures.
"""

from collections.abc import Mapping

from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import Accounting, StageFailed
from pgpo_async.metrics.collapse import CollapseDetector

MAX_EXAMPLE_CHARACTERS = 200
"""Of an error in the message that ends a run."""


class RunHealth:
    """One run's. The queue's books go on where a run does: `go_on` says from where this one counts."""

    def __init__(self, config: RunConfig) -> None:
        self._filter = config.algorithm.filter
        self._train = config.train
        self._examples: dict[str, str] = {}
        self._groups_per_step = config.train.groups_per_step
        self._collapse = CollapseDetector()
        self._last = Accounting()

    def go_on(self, accounting: Accounting) -> None:
        """Count from here: what these books say happened before a checkpoint that was gone back to."""
        self._last = accounting

    def note(self, reason: str, error: str) -> None:
        """Note why a prompt was quarantined: the first error of each reason is its example."""
        self._examples.setdefault(reason, " ".join(error.split())[:MAX_EXAMPLE_CHARACTERS])

    def check(self, accounting: Accounting) -> None:
        """Raises StageFailed, with what to change, where going on would teach nothing."""
        ended, quarantined = accounting.drawn - accounting.pending, accounting.quarantined
        train = self._train
        if quarantined >= train.min_quarantined and quarantined > train.max_quarantined_share * ended:
            raise StageFailed(
                f"{quarantined} of {ended} prompts were quarantined, a larger share than "
                f"train.max_quarantined_share, {train.max_quarantined_share:g}: {self._reasons(accounting)}; "
                "each is in quarantine.parquet, with its error and its input",
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

    def _reasons(self, accounting: Accounting) -> str:
        by_count = sorted(accounting.quarantined_by_reason.items(), key=lambda item: (-item[1], item[0]))
        texts = []
        for reason, count in by_count:
            example = self._examples.get(reason)
            texts.append(f"{reason} ({count}" + (f", for instance: {example})" if example else ")"))
        return ", ".join(texts)

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
