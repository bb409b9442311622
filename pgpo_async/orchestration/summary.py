"""The run in figures (DESIGN sections 7 and 9): `summary.json` and the closing table."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.table import Table

from pgpo_async.contracts import Accounting
from pgpo_async.evaluation import Accuracy


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSummary:
    """What a run came to. Busy times are seconds of one stage at its configured parallelism."""

    status: str
    steps: int
    wall_s: float
    train_s: float
    busy_s: Mapping[str, float]
    learner_wait_s: float
    max_lag_allowed: int
    lag_histogram: Mapping[int, int]
    weight_versions_loaded: int
    rollouts_with_several_versions: int
    accounting: Accounting
    mismatch_kl: float | None = None
    accuracy_before: Accuracy | None = None
    accuracy_after: Accuracy | None = None
    left_behind: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def overlap_efficiency(self) -> float | None:
        """max(t_gen, t_score, t_learn) / t_step; 1.0 is the limit of any pipeline."""
        return max(self.busy_s.values()) / self.train_s if self.train_s > 0 else None

    @property
    def learner_wait_fraction(self) -> float | None:
        """Time the learner waits for a batch / wall time of training."""
        return self.learner_wait_s / self.train_s if self.train_s > 0 else None

    def as_json(self) -> dict[str, Any]:
        """Return `summary.json`."""
        before, after = self.accuracy_before, self.accuracy_after
        return {
            "status": self.status,
            "accuracy_before": before.mean if before else None,
            "accuracy_before_standard_error": before.standard_error if before else None,
            "accuracy_after": after.mean if after else None,
            "accuracy_after_standard_error": after.standard_error if after else None,
            "steps": self.steps,
            "wall_s": self.wall_s,
            "train_s": self.train_s,
            "busy_s": dict(self.busy_s),
            "overlap_efficiency": self.overlap_efficiency,
            "learner_wait_fraction": self.learner_wait_fraction,
            "max_lag_allowed": self.max_lag_allowed,
            "max_lag_seen": max(self.lag_histogram, default=0),
            "lag_histogram": {str(lag): count for lag, count in sorted(self.lag_histogram.items())},
            "weight_versions_loaded": self.weight_versions_loaded,
            "rollouts_with_several_versions": self.rollouts_with_several_versions,
            "mismatch_kl": self.mismatch_kl,
            "accounting": self.accounting.as_dict(),
            "accounting_balanced": self.accounting.balanced,
            "quarantined_by_reason": dict(self.accounting.quarantined_by_reason),
            "left_behind": list(self.left_behind),
            **self.extra,
        }

    def table(self) -> Table:
        """Return the closing table."""
        table = Table(title=f"run {self.status}", title_justify="left", show_header=False)
        table.add_row("accuracy before", str(self.accuracy_before or "not asked"))
        table.add_row("accuracy after", str(self.accuracy_after or "not asked"))
        table.add_section()
        table.add_row("steps", f"{self.steps} in {self.train_s:.1f} s ({self.wall_s:.1f} s in all)")
        for stage, busy in self.busy_s.items():
            share = f" ({busy / self.train_s:.0%} of training)" if self.train_s > 0 else ""
            table.add_row(f"busy: {stage}", f"{busy:.1f} s{share}")
        table.add_row("overlap efficiency", _number(self.overlap_efficiency))
        table.add_row("learner wait fraction", _number(self.learner_wait_fraction))
        table.add_section()
        lags = ", ".join(f"{lag}: {count}" for lag, count in sorted(self.lag_histogram.items()))
        table.add_row(f"lag (at most {self.max_lag_allowed})", lags or "no group trained")
        table.add_row("weight versions loaded", str(self.weight_versions_loaded))
        table.add_row("rollouts of several versions", str(self.rollouts_with_several_versions))
        table.add_row("mismatch KL at lag 0", _number(self.mismatch_kl, "{:.2e}"))
        table.add_section()
        counts = ", ".join(f"{value} {name}" for name, value in self.accounting.as_dict().items())
        table.add_row("prompts", counts + ("" if self.accounting.balanced else "  DOES NOT ADD UP"))
        for reason, count in sorted(self.accounting.quarantined_by_reason.items()):
            table.add_row("  quarantined", f"{reason}: {count}")
        for thing in self.left_behind:
            table.add_row("left behind", thing)
        return table


def _number(value: float | None, form: str = "{:.3f}") -> str:
    return "not measured" if value is None else form.format(value)
