"""Who is struck when and how in `bench chaos`: drawn from a seed, so that it can be drawn again. Pure."""

import random
import signal
from collections.abc import Sequence
from dataclasses import dataclass

SHARES = {
    "generator": 0.32,
    "scorer": 0.20,
    "reward": 0.11,
    "store": 0.10,
    "queue": 0.10,
    "learner": 0.08,
    "node": 0.07,
    "driver": 0.015,
    "checkpoint": 0.005,
}
"""Of all blows, by target. A node is its Ray processes with all actors on it; `checkpoint` is the driver,
while one is being written.
"""
DRIVERS = ("driver", "checkpoint")
FROZEN_SHARE = 0.25
"""Of the blows that stop a process rather than kill it; a driver, which nobody watches, is only killed."""
QUIET_STEPS = 4
"""At the beginning, so that the run is under way, and at the end, so that it can be seen to recover."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Blow:
    """Due once `after_step` steps were done, repeated ones counted; `which`, in [0, 1), picks a process."""

    after_step: int
    target: str
    signal: signal.Signals
    which: float


def draw_blows(seed: int, kills: int, steps: int, targets: Sequence[str] = tuple(SHARES)) -> tuple[Blow, ...]:
    """Spread blows over a run's steps, each of the targets as often as its share says, but once at least.

    Raises ValueError for a target that there is not, for fewer kills than targets, and where the run has too
    few steps to begin and end in quiet.
    """
    for target in targets:
        if target not in SHARES:
            raise ValueError(f"targets must be of {', '.join(SHARES)}, got {target!r}")
    if kills < len(targets):
        raise ValueError(f"kills must be at least {len(targets)}, one for each target, got {kills}")
    last = steps - QUIET_STEPS
    if last <= QUIET_STEPS:
        raise ValueError(f"steps must be more than {2 * QUIET_STEPS}, got {steps}")
    rng = random.Random(seed)
    drawn = _dealt(kills, targets)
    rng.shuffle(drawn)
    due = sorted(rng.randint(QUIET_STEPS, last) for _ in drawn)
    return tuple(
        Blow(after_step=step, target=target, signal=_signal(target, rng), which=rng.random())
        for step, target in zip(due, drawn, strict=True)
    )


def _dealt(kills: int, targets: Sequence[str]) -> list[str]:
    whole = sum(SHARES[target] for target in targets)
    counts = {target: max(1, int(SHARES[target] / whole * kills)) for target in targets}
    # What rounding left over or took too much is the most frequent one's.
    most = max(targets, key=lambda target: counts[target])
    counts[most] += kills - sum(counts.values())
    return [target for target, count in counts.items() for _ in range(count)]


def _signal(target: str, rng: random.Random) -> signal.Signals:
    frozen = rng.random() < FROZEN_SHARE and target not in DRIVERS
    return signal.SIGSTOP if frozen else signal.SIGKILL
