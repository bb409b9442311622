"""Who takes part in a run, and questions to all of them: what they do, what they traced.

Owns no state. `members` names everybody, those that are being started too; `observer` asks them regularly,
the rest here is asked where a run ends.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

import ray

from pgpo_async.metrics.spans import Span
from pgpo_async.orchestration.actor_calls import SIGNS
from pgpo_async.orchestration.replicas import Replicas

ANSWER_S = 120.0


class Member(NamedTuple):
    """An actor of a run. `ask` makes the call to its `status`; None while it is being started."""

    name: str
    role: str
    ask: Any
    for_s: float = 0.0
    """Since it is being started."""


class Company(Protocol):
    """What `members` needs to know of a cluster."""

    @property
    def queue(self) -> Any: ...  # noqa: D102
    @property
    def store(self) -> Any: ...  # noqa: D102
    @property
    def rewards(self) -> list[Any]: ...  # noqa: D102
    def working(self) -> list[Replicas]: ...  # noqa: D102
    def ranks(self) -> dict[str, Any]: ...  # noqa: D102


def members(company: Company) -> list[Member]:
    """Everybody, queue and store first."""
    # Not made again by Ray where the process dies meanwhile: an old answer is of no use.
    once = {"max_task_retries": 0}
    found = [
        Member(role, role, actor.status.options(**once).remote)
        for role, actor in (("queue", company.queue), ("store", company.store))
        if actor is not None
    ]
    for replicas in company.working():
        for place in replicas.places():
            ask = None if place.starts else place.actor.status.remote
            found.append(Member(place.name, replicas.role, ask, place.for_s))
    ranks = company.ranks()
    found += [Member(name, "learner", rank.status.remote) for name, rank in ranks.items()]
    if not ranks:
        found.append(Member("learner", "learner", None))  # they start together
    aside = {**once, "concurrency_group": SIGNS}
    return found + [
        Member(f"reward-{number}", "reward", reward.status.options(**aside).remote)
        for number, reward in enumerate(company.rewards)
    ]


def statuses(working: Iterable[Replicas]) -> list[dict[str, Any]]:
    """Ask every generator and scorer what it does; one that died meanwhile is left out."""
    calls = [call for replicas in working for call in replicas.ask("status")]
    ray.wait(calls, num_returns=len(calls), timeout=ANSWER_S)
    return [status for call in calls if (status := _answer(call)) is not None]


def take_spans(working: Iterable[Replicas]) -> dict[str, list[Span]]:
    """Return what generators and scorers traced since the last call, by their names."""
    calls = {call: name for r in working for call, name in r.named(lambda a: a.take_spans.remote()).items()}
    ray.wait(list(calls), num_returns=len(calls), timeout=ANSWER_S)
    return {name: _answer(call) or [] for call, name in calls.items()}


def _answer(call: Any) -> Any:
    try:
        return ray.get(call, timeout=0)
    except ray.exceptions.RayError:
        return None
