"""Signs of life: what an actor last said of itself, and when its silence or standstill is too long. Pure."""

from typing import NamedTuple

from pgpo_async.config.pipeline import SupervisionConfig


class Beat(NamedTuple):
    """`age_s` since it was sent; `stalled_s` for which the actor has had work and finished none."""

    age_s: float
    doing: str
    stalled_s: float


def silence(beat: Beat | None, heard_s: float, limits: SupervisionConfig) -> str | None:
    """Say why an actor must be taken for hung, None if it need not.

    `heard_s`: for how long both it has worked and somebody has listened.
    """
    age_s = heard_s if beat is None else beat.age_s
    if heard_s > limits.silence_s and age_s > limits.silence_s:
        last = f", when it was waiting for {beat.doing}" if beat else ""
        return f"is silent since {age_s:.0f} s{last}"
    if beat is not None and beat.stalled_s > limits.stall_s:
        return f"has work and finished none for {beat.stalled_s:.0f} s, waiting for {beat.doing}"
    return None
