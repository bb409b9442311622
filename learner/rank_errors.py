"""What ranks raised, which rank's failure was the cause, and what to say of it. Called by `group`."""

from collections.abc import Mapping
from typing import Any

import ray

from pgpo_async.contracts.errors import plain


def error_of(ref: Any) -> BaseException | None:
    """What a finished call raised, as it was raised over there; None where it returned."""
    try:
        ray.get(ref, timeout=2.0)
    except Exception as error:
        return plain(error)
    return None


def root_cause(errors: Mapping[int, BaseException]) -> tuple[int, BaseException]:
    """The rank and error to name: a dead process before what its peers say of the lost connection."""
    assert errors, "there must be an error to name"

    def order(item: tuple[int, BaseException]) -> tuple[bool, bool, int]:
        rank, error = item
        lost_peer = "Connection closed by peer" in str(error) or "Connection reset" in str(error)
        return not isinstance(error, ray.exceptions.RayActorError), lost_peer, rank

    return min(errors.items(), key=order)


def describe(rank: int, answer: Any | None) -> str:
    """A line for a rank's status reference; None where it has not come."""
    if answer is None:
        return f"rank {rank} does not answer (stopped, or its node is lost)"
    try:
        status = ray.get(answer, timeout=1.0)
        return f"rank {rank} is at: {status['doing']} (for {status['for_s']:.1f} s)"
    except ray.exceptions.RayError as error:
        return f"rank {rank} is gone: {type(error).__name__}"
