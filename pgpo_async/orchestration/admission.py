"""Admission slots: the first of the three bounds on lag (DESIGN 5.2, 6).

Owns who holds a slot and why slots came back. Does not know prompts, payloads, leases or time; the replay
queue calls it, and nothing else does.

What the slot rule proves
-------------------------
N = groups_per_step, L = max_lag, S = (L + 1) N slots; a slot is held from the reservation of a prompt until
the group's end, through its training until the acknowledgement that raises the learner's version.

1. *In order.* Let the learner take groups in the order they were admitted, waiting for the oldest. A group
   admitted at version v has at most S - 1 groups before it, so it is in one of the next L + 1 batches and is
   trained at version v + L at the latest. If its weights were d versions old when it was admitted, its lag
   is at most L + d. Both are reached: the bound is tight. Hence `oldest_useful_version`: weights at least
   that new keep the lag within L even where publication takes d > 0 versions.
2. *In any order.* Each step ages the slots it does not train, of which there are at most S - N = L N. Every
   step trains N groups, so the MEAN lag of all groups trained is at most L (plus the mean d), whatever the
   order and however long a straggler takes.
3. *Not bounded.* The lag of ONE group popped out of order. A straggler keeps one slot while the others go
   round; nothing here ends it. The check at the pop does: such a group is stale, counted, never trained.

`tests/unit/orchestration/test_admission.py` checks 1 and 2 over random schedules and shows 3.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Literal, get_args

from pgpo_async.contracts import LeaseError

ReleaseReason = Literal["trained", "filtered", "stale", "quarantined", "returned"]
"""Why a slot came back. `returned`: the prompt was given back and will be charged again."""

_REASONS: tuple[str, ...] = get_args(ReleaseReason)


class Admission:
    """`(max_lag + 1) * groups_per_step` slots, each held by one group."""

    def __init__(self, max_lag: int, groups_per_step: int) -> None:
        if max_lag < 0:
            raise ValueError(f"max_lag must be at least 0, got {max_lag}")
        if groups_per_step < 1:
            raise ValueError(f"groups_per_step must be at least 1, got {groups_per_step}")
        self.max_lag = max_lag
        self.groups_per_step = groups_per_step
        self._held: set[str] = set()
        self._num_charged = 0
        self._released: Counter[str] = Counter()

    @property
    def num_slots(self) -> int:
        """All slots, held or not."""
        return (self.max_lag + 1) * self.groups_per_step

    @property
    def available(self) -> int:
        """Slots that can be charged now."""
        return self.num_slots - len(self._held)

    @property
    def num_charged(self) -> int:
        """Slots ever charged; equals those held plus the sum of `released`."""
        return self._num_charged

    @property
    def released(self) -> Mapping[str, int]:
        """Slots ever given back, by reason."""
        return {reason: self._released[reason] for reason in _REASONS}

    def charge(self, group_id: str) -> None:
        """Take a slot for a group. Raises LeaseError if it has one already or none is free."""
        if group_id in self._held:
            raise LeaseError(f"group {group_id} must not hold a slot when it is charged one, but it does")
        if self.available == 0:
            raise LeaseError(f"no admission slot is free for group {group_id}: all {self.num_slots} are held")
        self._held.add(group_id)
        self._num_charged += 1

    def release(self, group_id: str, reason: ReleaseReason) -> None:
        """Give a group's slot back. Raises LeaseError if it holds none (released twice, or never charged)."""
        if reason not in _REASONS:
            raise ValueError(f"reason must be one of {_REASONS}, got {reason!r}")
        if group_id not in self._held:
            raise LeaseError(f"group {group_id} must hold a slot to release it as {reason}, but holds none")
        self._held.remove(group_id)
        self._released[reason] += 1

    def oldest_useful_version(self, version: int, num_ahead: int) -> int:
        """Return the oldest weights a group may be generated with and still train in order within max_lag.

        `version` is the learner's, `num_ahead` the slots held by other groups: the group is trained at
        `version + num_ahead // groups_per_step` at the latest. Never above `version`, never below 0.
        """
        assert 0 <= num_ahead < self.num_slots, (num_ahead, self.num_slots)
        return max(0, version + num_ahead // self.groups_per_step - self.max_lag)
