"""Groups as the queue lends them, read: encoded bytes, or references of them. Called by `worker`."""

from collections.abc import Sequence
from typing import Any

import ray

from pgpo_async.contracts import ScoredGroup, WaitTimeout, decode


def fetch(payloads: Sequence[Any], timeout_s: float) -> list[bytes]:
    """The encoded groups, in order. Raises WaitTimeout, and what Ray does where one is lost."""
    refs = [item for item in payloads if isinstance(item, ray.ObjectRef)]
    try:
        values = iter(ray.get(refs, timeout=timeout_s) if refs else ())
    except ray.exceptions.GetTimeoutError as error:
        raise WaitTimeout(f"{len(refs)} groups from the queue", timeout_s) from error
    return [next(values) if isinstance(item, ray.ObjectRef) else item for item in payloads]


def scored(data: bytes, *, needed: bool) -> ScoredGroup:
    """A group that can be trained on. Raises ValueError if a scorer should have seen it and has not."""
    group = decode(data)
    if isinstance(group, ScoredGroup):
        return group
    if needed:
        raise ValueError(f"group {group.group_id} must be scored before it is trained on")
    return ScoredGroup.unscored(group)
