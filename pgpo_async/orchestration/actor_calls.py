"""Placing an actor as its role asks, and waiting for calls to several."""

import time
from collections.abc import Sequence
from typing import Any

import ray

from pgpo_async.config.pipeline import RoleConfig
from pgpo_async.contracts import ConfigError, StageFailed, WaitTimeout
from pgpo_async.contracts.errors import plain

SIGNS = "signs"
"""The concurrency group in which an actor gives signs of life while all its threads are at work."""


def place(
    actor: type, role: RoleConfig, name: str, max_concurrency: int, *, signs: bool = False, **options: Any
) -> Any:
    """The actor's class with its role's resources and other options of Ray's, ready for `remote`."""
    remote = ray.remote(concurrency_groups={SIGNS: 1})(actor) if signs else ray.remote(actor)
    # No retries: a repeated generation would silently use newer weights (DESIGN section 4).
    return remote.options(
        name=name,
        num_cpus=role.cpus,
        num_gpus=role.gpus,
        resources=role.resources or None,
        max_concurrency=max_concurrency,
        **{"max_restarts": 0, "max_task_retries": 0, "label_selector": role.labels or None, **options},
    )


def was_killed(error: BaseException | None) -> bool:
    """Whether a call failed since its process was ended from outside, and not by its own constructor."""
    own = getattr(error, "args", ())
    return isinstance(error, ray.exceptions.RayActorError) and not any(
        isinstance(argument, ray.exceptions.RayTaskError) for argument in own
    )


def await_all(pending: dict[Any, str], timeout_s: float, what: str) -> None:
    """Wait for calls, first failure first. Raises StageFailed with the actor's name, or WaitTimeout."""
    deadline = time.monotonic() + timeout_s
    refs: Sequence[Any] = list(pending)
    while refs:
        ready, refs = ray.wait(refs, num_returns=1, timeout=max(deadline - time.monotonic(), 0.0))
        if not ready:
            names = ", ".join(pending[ref] for ref in refs)
            raise WaitTimeout(f"{names} {what}", timeout_s)
        try:
            ray.get(ready[0])
        except Exception as error:
            if isinstance(plain(error), ConfigError):
                raise plain(error) from None
            name = pending[ready[0]]
            raise StageFailed(f"{name} failed {what}: {plain(error)}", role=name.split("-")[0]) from error
