"""One optimizer step in numbers: what `metrics.jsonl`, the plain line and the live view all show."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class StepRecord:
    """Learning and pipeline figures of one step.

    `reward` and `accuracy` are means over all groups generated since the last step, those without signal
    included; `learner` holds the learner's own metrics. Lags are in optimizer steps, times in seconds.
    """

    step: int
    reward: float
    accuracy: float
    lag_mean: float
    lag_max: int
    step_s: float
    learner_wait_s: float
    learner: Mapping[str, float]
    queue: Mapping[str, float] = field(default_factory=dict)
    time_s: float = 0.0
    version: int = 0
    groups: Sequence[str] = ()
    """Ids of the groups trained."""
    lags: Sequence[int] = ()
    """Of each of them."""
    group_rewards: Sequence[float] = ()
    """Mean reward of each of them."""
    pipeline: Mapping[str, float] = field(default_factory=dict)
    """As last seen: each stage's busy share since the last step (`busy_*`), the queue's groups and bytes."""

    @property
    def wait_share(self) -> float:
        """Share of the step that the learner waited for its batch."""
        return self.learner_wait_s / self.step_s if self.step_s > 0 else 0.0

    def as_json(self) -> dict[str, object]:
        """Return one flat object for `metrics.jsonl`."""
        flat = {
            key: value for key, value in asdict(self).items() if key not in ("learner", "queue", "pipeline")
        }
        flat |= {f"learner/{name}": value for name, value in self.learner.items()}
        flat |= {f"queue/{name}": value for name, value in self.queue.items()}
        flat |= {f"pipeline/{name}": value for name, value in self.pipeline.items()}
        return flat

    def cells(self, num_steps: int) -> dict[str, str]:
        """Return what is shown of the step, by column."""
        learner = self.learner
        return {
            "step": f"{self.step}/{num_steps}",
            "reward": f"{self.reward:.3f}",
            "accuracy": f"{self.accuracy:.3f}",
            "loss": f"{learner.get('loss', float('nan')):+.4f}",
            "grad norm": f"{learner.get('grad_norm', float('nan')):.3f}",
            "dependency": f"{learner.get('dependency_mean', float('nan')):.3f}",
            "above tau": f"{learner.get('boosted_share', float('nan')):.1%}",
            "lag": f"{self.lag_mean:.1f} (max {self.lag_max})",
            "step time": f"{self.step_s:.2f} s",
            "wait": f"{self.wait_share:.0%}",
        }
