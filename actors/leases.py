"""Who holds which group until when. Knows nothing of groups; the replay queue asks it and acts on it."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class _Lease:
    holder: str
    deadline: float


class Leases:
    """At most one lease a group, each with a deadline `timeout_s` after it was granted or refreshed."""

    def __init__(self, timeout_s: float, clock: Callable[[], float]) -> None:
        if not timeout_s > 0:
            raise ValueError(f"lease_timeout_s must be above 0, got {timeout_s}")
        self._timeout_s = timeout_s
        self._clock = clock
        self._leases: dict[str, _Lease] = {}

    def __len__(self) -> int:
        return len(self._leases)

    def grant(self, group_id: str, holder: str) -> None:
        """Lend a group that nobody holds."""
        assert group_id not in self._leases, f"{group_id} is lent twice"
        self._leases[group_id] = _Lease(holder, self._clock() + self._timeout_s)

    def holder(self, group_id: str) -> str | None:
        """Return who holds a group, None if nobody does."""
        lease = self._leases.get(group_id)
        return lease.holder if lease else None

    def end(self, group_id: str) -> None:
        """Forget a group's lease; no error if it has none."""
        self._leases.pop(group_id, None)

    def refresh(self, holder: str) -> int:
        """Move the deadlines of all that a holder has; return how many that are."""
        held = self.of(holder)
        for group_id in held:
            self._leases[group_id].deadline = self._clock() + self._timeout_s
        return len(held)

    def of(self, holder: str) -> list[str]:
        """Return the groups a holder has, in the order they were granted."""
        return [group_id for group_id, lease in self._leases.items() if lease.holder == holder]

    def expired(self) -> list[str]:
        """Return the groups whose deadline has passed."""
        now = self._clock()
        return [group_id for group_id, lease in self._leases.items() if lease.deadline <= now]
