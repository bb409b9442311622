"""A scorer's dealings with the replay queue, so that it never waits for a message where there is work.

The next groups are leased while the last ones are scored, if there is a backlog: otherwise a scorer takes
them when it is free, as many as there are by then. What was scored is on its way while the next pass runs.
Blocking; used by `scorer`.
"""

from collections.abc import Sequence
from typing import Any

import ray

from pgpo_async.actors.call_parts import in_parts
from pgpo_async.actors.queue_types import Lease
from pgpo_async.actors.ray_store import INLINE_BYTES
from pgpo_async.config.pipeline import ScorerConfig
from pgpo_async.contracts import LeaseError, ScoredGroup, encode
from pgpo_async.contracts.errors import plain

POLL_S = 2.0
CALL_TIMEOUT_S = 120.0


class ScoringLeases:
    """Of one scorer in one run: `ask`, `take`, score, `hand_in`, and at the end `close`."""

    def __init__(self, name: str, queue: Any, config: ScorerConfig) -> None:
        self._name = name
        self._queue = queue
        self._config = config
        self._asked: Any = None
        self._ready: list[Lease] = []
        self._ahead: Any = None
        self._handed_in: list[Any] = []

    def ask(self) -> None:
        """Ask for groups, unless some were leased ahead."""
        self._ready = self._leased_ahead()
        if not self._ready:
            self._asked = self._queue.lease_for_scoring.remote(
                self._name, self._config.groups_per_lease, POLL_S, self._config.linger_s
            )

    def take(self) -> list[Lease]:
        """Return what `ask` brought, nothing after a while without groups; and lease ahead."""
        leases = self._ready or _get(self._asked, POLL_S + self._config.linger_s)
        if leases:
            self._ahead = self._queue.lease_backlog.remote(self._name, self._config.groups_per_lease)
        return list(leases)

    def hand_in(self, leases: Sequence[Lease], outcomes: Sequence[ScoredGroup | Exception]) -> None:
        """Bring each group's scores, or say why there are none; returns before the queue has them.

        Raises what went wrong with those before.
        """
        self._settle()
        small: dict[str, bytes] = {}
        for lease, outcome in zip(leases, outcomes, strict=True):
            if isinstance(outcome, Exception):
                reason, text = "score_error", f"{type(outcome).__name__}: {outcome}"
                self._send(self._queue.quarantine.remote(lease.group_id, self._name, reason, text))
            elif len(whole := encode(outcome)) <= INLINE_BYTES:
                small[lease.group_id] = whole
            else:
                first, *more = in_parts(whole)
                self._send(self._queue.commit_scores.remote(lease.group_id, self._name, first, None, *more))
        if small:
            self._send(self._queue.commit_several_scores.remote(self._name, small))

    def give_back(self, leases: Sequence[Lease]) -> None:
        """Return groups unscored; those that are no longer on lease are another's."""
        for lease in leases:
            self._send(self._queue.abandon.remote([lease.group_id], self._name))
        self._settle()

    def close(self) -> None:
        """Wait until the queue has all that was scored, and give back what was leased ahead."""
        self._settle()
        self.give_back(self._leased_ahead())

    def _leased_ahead(self) -> list[Lease]:
        ahead, self._ahead = self._ahead, None
        return [] if ahead is None else list(_get(ahead))

    def _send(self, call: Any) -> None:
        self._handed_in.append(call)

    def _settle(self) -> None:
        calls, self._handed_in = self._handed_in, []
        for call in calls:
            try:
                _get(call)
            except Exception as error:
                # Too late: the lease was lost, and with it the group is another's.
                if not isinstance(plain(error), LeaseError):
                    raise


def _get(call: Any, waits_s: float = 0.0) -> Any:
    return ray.get(call, timeout=waits_s + CALL_TIMEOUT_S)
