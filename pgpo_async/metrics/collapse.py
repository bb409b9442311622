"""Collapse, told early: the reward falls while the entropy rises.

Either alone is no alarm: a harder stretch of data lowers the reward, exploration raises the entropy. Together
they are what a policy looks like that unlearns. Called by the run loop after each step.
"""

from collections import deque
from statistics import fmean

WINDOW = 8
"""Steps that are compared with as many before them."""
REWARD_FALL = 0.05
"""By how much the mean reward must have fallen."""
ENTROPY_RISE = 0.15
"""By which share the mean entropy must have risen."""


class CollapseDetector:
    """Compares the last `window` steps with those before; warns once, and again after as many steps."""

    def __init__(
        self, *, window: int = WINDOW, reward_fall: float = REWARD_FALL, entropy_rise: float = ENTROPY_RISE
    ) -> None:
        self._rewards: deque[float] = deque(maxlen=2 * window)
        self._entropies: deque[float] = deque(maxlen=2 * window)
        self._window = window
        self._reward_fall = reward_fall
        self._entropy_rise = entropy_rise

    def add(self, step: int, *, reward: float, entropy: float) -> str | None:
        """Take in a step; return a warning that names it where reward and entropy went the wrong ways.

        Steps without a figure (nan) are left out.
        """
        if reward != reward or entropy != entropy:
            return None
        self._rewards.append(reward)
        self._entropies.append(entropy)
        if len(self._rewards) < 2 * self._window:
            return None
        reward_before, reward_now = self._halves(self._rewards)
        entropy_before, entropy_now = self._halves(self._entropies)
        fell = reward_before - reward_now >= self._reward_fall
        rose = entropy_now >= entropy_before * (1 + self._entropy_rise)
        if not (fell and rose):
            return None
        self._rewards.clear()
        self._entropies.clear()
        return (
            f"step {step}: reward fell from {reward_before:.3f} to {reward_now:.3f} while entropy rose from "
            f"{entropy_before:.3f} to {entropy_now:.3f} nats: the policy may be collapsing; a lower "
            "learner.optimizer.lr or train.max_lag, or an earlier checkpoint, may help"
        )

    def _halves(self, values: deque[float]) -> tuple[float, float]:
        listed = list(values)
        return fmean(listed[: self._window]), fmean(listed[self._window :])
