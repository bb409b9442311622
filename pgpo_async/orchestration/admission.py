"""Admission slots: the first of the three bounds on lag (DESIGN 5.2, 6), and the age rule of the second.

Owns who holds a slot, in which order they came and why slots came back. Does not know prompts, payloads,
leases or time; the replay queue calls it, and the planner's simulation.

What the slot rule proves
-------------------------
N = groups_per_step, L = max_lag, W = order_window, S slots; a slot is held from the reservation of a prompt
until the group's end, through its training until the acknowledgement that raises the learner's version.

1. *In a window.* At most W younger groups are trained before a group: the learner passes over groups that are
   not ready until one of them has been overtaken W times, then waits for it. A group admitted at version v
   has at most S - 1 groups before it, so at most S - 1 + W are trained before it: it is in step
   v + (S - 1 + W) // N at the latest. With S = (L + 1) N - W that is v + L: the window is paid for in slots.
   W = 0 is strict first in, first out. If the weights were d versions old at the admission, the lag is at
   most L + d. All of this is reached: the bound is tight. Hence `oldest_useful_version`: weights at least
   that new keep the lag within L even where publication takes d > 0 versions.
2. *Without a window* S = (L + 1) N and whatever is ready may train. Each step ages the slots it does not
   train, of which there are at most S - N = L N. Every step trains N groups, so the MEAN lag of all groups
   trained is at most L (plus the mean d), whatever the order and however long a straggler takes. The lag of
   ONE group is not bounded by slots: what is too old is cancelled in flight (`over_age`) before an update,
   its prompt drawn again, and refused at the pop; it is never trained.

`tests/unit/orchestration/test_admission.py` checks all of it over random schedules.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Literal, get_args

from pgpo_async.contracts import LeaseError

ReleaseReason = Literal["trained", "filtered", "stale", "quarantined", "returned", "cancelled"]
"""Why a slot came back. `returned` and `cancelled` (too old in flight): the prompt will be charged again."""

ChargeReason = Literal["drawn", "again"]
"""Why a slot was taken: for a new prompt, or for one that had been given back."""

_RELEASES: tuple[str, ...] = get_args(ReleaseReason)
_CHARGES: tuple[str, ...] = get_args(ChargeReason)


class Admission:
    """Slots, each held by one group: `(max_lag + 1) * groups_per_step`, less the window if there is one."""

    def __init__(self, max_lag: int, groups_per_step: int, order_window: int | None = None) -> None:
        if max_lag < 0:
            raise ValueError(f"max_lag must be at least 0, got {max_lag}")
        if groups_per_step < 1:
            raise ValueError(f"groups_per_step must be at least 1, got {groups_per_step}")
        if order_window is not None and not 0 <= order_window <= max_lag * groups_per_step:
            raise ValueError(
                f"order_window must be between 0 and max_lag * groups_per_step "
                f"({max_lag * groups_per_step}), got {order_window}"
            )
        self.max_lag = max_lag
        self.groups_per_step = groups_per_step
        self.order_window = order_window
        # In the order of admission; how many younger groups were trained before each.
        self._overtaken: dict[str, int] = {}
        self._charged: Counter[str] = Counter()
        self._released: Counter[str] = Counter()

    @property
    def num_slots(self) -> int:
        """All slots, held or not."""
        return (self.max_lag + 1) * self.groups_per_step - (self.order_window or 0)

    @property
    def available(self) -> int:
        """Slots that can be charged now."""
        return self.num_slots - len(self._overtaken)

    @property
    def charged(self) -> Mapping[str, int]:
        """Slots ever taken, by reason: together those held plus all of `released`."""
        return {reason: self._charged[reason] for reason in _CHARGES}

    @property
    def released(self) -> Mapping[str, int]:
        """Slots ever given back, by reason."""
        return {reason: self._released[reason] for reason in _RELEASES}

    @property
    def lag_bound(self) -> int | None:
        """Largest lag of any group by slots and order alone, with fresh weights; None: of the mean only."""
        if self.order_window is None:
            return None
        return (self.num_slots - 1 + self.order_window) // self.groups_per_step

    def restart(self, charged: Mapping[str, int], released: Mapping[str, int]) -> None:
        """Begin with all slots free and these counts, which are equal in sum (ValueError)."""
        if sum(charged.values()) != sum(released.values()):
            raise ValueError(f"as many slots must be released as charged, got {charged} and {released}")
        self._overtaken.clear()
        self._charged, self._released = Counter(charged), Counter(released)

    def charge(self, group_id: str, reason: ChargeReason = "drawn") -> None:
        """Take a slot for a group. Raises LeaseError if it has one already or none is free."""
        if reason not in _CHARGES:
            raise ValueError(f"reason must be one of {_CHARGES}, got {reason!r}")
        if group_id in self._overtaken:
            raise LeaseError(f"group {group_id} must not hold a slot when it is charged one, but it does")
        if self.available == 0:
            raise LeaseError(f"no admission slot is free for group {group_id}: all {self.num_slots} are held")
        self._overtaken[group_id] = 0
        self._charged[reason] += 1

    def release(self, group_id: str, reason: ReleaseReason) -> None:
        """Give a group's slot back. Raises LeaseError if it holds none (released twice, or never charged)."""
        if reason not in _RELEASES:
            raise ValueError(f"reason must be one of {_RELEASES}, got {reason!r}")
        if group_id not in self._overtaken:
            raise LeaseError(f"group {group_id} must hold a slot to release it as {reason}, but holds none")
        if reason == "trained" and self.order_window is not None:
            for older in self._overtaken:
                if older == group_id:
                    break
                self._overtaken[older] += 1
        del self._overtaken[group_id]
        self._released[reason] += 1

    def must_wait_for(self, batch: Collection[str]) -> str | None:
        """Return the oldest group that `batch` may not overtake (any more), None if it may be trained.

        One batch at a time: what it overtakes counts once its groups are released as trained.
        """
        if self.order_window is None:
            return None
        chosen = set(batch)
        num_younger = len(chosen)
        for group_id, overtaken in self._overtaken.items():
            if group_id in chosen:
                num_younger -= 1
            elif overtaken + num_younger > self.order_window:
                return group_id
        return None

    def over_age(self, version: int, started: Mapping[str, int]) -> list[str]:
        """Return the groups in flight that no step can train any more.

        `version` is the learner's, `started` the weights that each group's first token came from.
        """
        return [group_id for group_id, oldest in started.items() if version - oldest > self.max_lag]

    def oldest_useful_version(self, version: int, num_ahead: int) -> int:
        """Return the oldest weights a group may be generated with and still train in order within max_lag.

        `version` is the learner's, `num_ahead` the slots held by other groups: the group is trained at
        `version + (num_ahead + order_window) // groups_per_step` at the latest. Never above `version`, never
        below 0.
        """
        assert 0 <= num_ahead < self.num_slots, (num_ahead, self.num_slots)
        num_before = num_ahead + (self.order_window or 0)
        return max(0, version + num_before // self.groups_per_step - self.max_lag)
