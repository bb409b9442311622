"""When generators and trainer disagree too much to go on, and why that is likely so. Pure.

Owns the limits and the words. What is done about it is `intake_guard`'s.
"""

from collections.abc import Mapping

from pgpo_async.config.training import GuardConfig

SLOPE_OFF = 0.1
"""A slope of log-probs on log-probs as far from 1 is no rounding."""


class MismatchGuard:
    """Fed with each step's metrics of the learner, in order."""

    def __init__(self, config: GuardConfig) -> None:
        self._config = config
        self._in_a_row = 0
        self._agreed_until: int | None = None

    def note(self, step: int, metrics: Mapping[str, float]) -> str | None:
        """Note the `step`-th step; return what is wrong, with its likely cause, where it is too much."""
        kl, capped = metrics.get("fresh_mismatch_kl", 0.0), metrics.get("is_capped_share", 0.0)
        bad_kl, bad_tail = kl > self._config.max_mismatch_kl, capped > self._config.max_capped_share
        if not (bad_kl or bad_tail):
            self._in_a_row = 0
            self._agreed_until = step
            return None
        self._in_a_row += 1
        if self._in_a_row < self._config.patience:
            return None
        self._in_a_row = 0
        if bad_kl:
            what = (
                f"mismatch KL {kl:.3g} between the generators' and the trainer's log-probs of the same "
                f"weights, more than train.guard.max_mismatch_kl, {self._config.max_mismatch_kl:g}"
            )
            return f"{what}: {self._why_they_differ(metrics.get('fresh_slope', 1.0))}"
        return (
            f"{capped:.0%} of the importance weights are cut off, more than train.guard.max_capped_share, "
            f"{self._config.max_capped_share:.0%}, while the engines agree on the same weights: the policy "
            "moves too far within train.max_lag; lower learner.optimizer.lr, or train.max_lag"
        )

    def _why_they_differ(self, slope: float) -> str:
        if abs(slope - 1.0) > SLOPE_OFF:
            return (
                f"likely another temperature, or other sampling settings (the generators' log-probs are "
                f"{slope:.2f} times the trainer's); check generation.temperature, generation.top_p and "
                "generator.engine"
            )
        if self._agreed_until is not None:
            return (
                f"likely a stale cache or a missed weight update, since they agreed until step "
                f"{self._agreed_until}"
            )
        return (
            "likely precision, or another model in the engine, since they never agreed; compare model.dtype "
            "with generator.engine (dtype, quantization, kv_cache_dtype)"
        )
