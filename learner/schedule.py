"""The learning rate as a pure function of the step: no scheduler state, so a resumed run is never off by one.

Owns the formula only. Called by `engine` before each optimizer step.
"""

import math

from pgpo_async.config.training import OptimizerConfig


def learning_rate(step: int, config: OptimizerConfig, num_steps: int) -> float:
    """The rate of optimizer step `step`, counted from 0, of a run of `num_steps`.

    Warm-up w: lr (step + 1) / (w + 1), on the line from 0 that reaches lr at step w (the first step is not
    wasted on a rate of 0). Then lr (constant), or the half cosine from lr at step w down to
    `min_lr_ratio` lr at `num_steps`, where it stays.

    Raises ValueError if `step` is negative.
    """
    if step < 0:
        raise ValueError(f"step must not be negative, got {step}")
    if step < config.warmup_steps:
        return config.lr * (step + 1) / (config.warmup_steps + 1)
    if config.schedule == "constant":
        return config.lr
    progress = min(1.0, (step - config.warmup_steps) / max(1, num_steps - config.warmup_steps))
    share = config.min_lr_ratio + (1 - config.min_lr_ratio) * 0.5 * (1 + math.cos(math.pi * progress))
    return config.lr * share
