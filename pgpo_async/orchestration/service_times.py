"""How long each stage takes, measured or stated: what the planner and the simulated stages of `bench` share.

Owns the figures, what they mean and how random ones are drawn. Knows no queue and no clock.
"""

import math
import random
from dataclasses import dataclass, fields

from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import Accounting
from pgpo_async.metrics.durations import Durations


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceTimes:
    """Mean seconds of each piece of work, and how far they spread (sigma of a log-normal; 0 is constant)."""

    generate_s: float
    """Of one group in an engine, from its request to its last response, `prompts_in_flight` side by side."""
    score_s: float
    """Of `groups_per_step` groups in one scorer; a lease of fewer takes its share. 0 without scorers."""
    learn_s: float
    """Of one optimizer step on all ranks, with the snapshot of its weights."""
    generate_sigma: float = 0.0
    """0.6 is a long tail: one group in a hundred takes three and a half times the mean."""
    score_sigma: float = 0.0
    """Of a lease."""
    learn_sigma: float = 0.0
    """Of a step."""
    publish_s: float = 0.0
    """From a step's end until receivers may load its weights."""
    load_s: float = 0.0
    """That an engine stands still to take new weights."""
    filtered_share: float = 0.0
    """Groups without signal, which are replaced."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{field.name} must be at least 0, got {value}")
        if self.filtered_share >= 1:
            raise ValueError(f"filtered_share must be below 1, got {self.filtered_share}")

    def busy_per_step(self, config: RunConfig) -> dict[str, float]:
        """Seconds that each stage must work for one step at its configured parallelism (DESIGN section 7)."""
        num_groups = config.train.groups_per_step / (1 - self.filtered_share)
        in_flight = config.generator.replicas * config.generator.prompts_in_flight
        scored = self.score_s / config.scorer.replicas if config.uses_scorers else 0.0
        return {
            "generate": self.generate_s * num_groups / in_flight,
            "score": scored,
            "learn": self.learn_s,
        }


def measured_times(
    config: RunConfig,
    *,
    generate: Durations,
    score: Durations,
    learn: Durations,
    load_s: float,
    accounting: Accounting,
) -> ServiceTimes:
    """Return what a run measured: engine seconds of a group, scorer seconds of a group, learner of a step.

    Publication's way is not in it: receivers poll, and what it costs them is `load_s`.
    """
    ended = accounting.drawn - accounting.pending
    return ServiceTimes(
        generate_s=generate.mean_s,
        generate_sigma=generate.sigma,
        score_s=score.mean_s * config.train.groups_per_step,
        score_sigma=score.sigma,
        learn_s=learn.mean_s,
        learn_sigma=learn.sigma,
        load_s=load_s,
        filtered_share=accounting.filtered / ended if ended else 0.0,
    )


def draw_s(mean_s: float, sigma: float, rng: random.Random) -> float:
    """Draw seconds from a log-normal with this mean; the mean itself where sigma is 0."""
    return mean_s * math.exp(sigma * rng.gauss(0.0, 1.0) - sigma * sigma / 2) if sigma else mean_s
