"""Generators of a simulated run: engines in virtual time, as `actors.generator` drives real ones.

Owns what an engine does with prompts and weights. The queue it asks is the real one. Made by `simulation`.
"""

import random
from dataclasses import dataclass
from functools import partial

from pgpo_async.actors.queue_types import Reservation
from pgpo_async.contracts import GroupHeader
from pgpo_async.orchestration.planning.simulated_stages import Shop
from pgpo_async.orchestration.planning.virtual_time import Event, WorkTime
from pgpo_async.orchestration.service_times import draw_s

FRESH_WEIGHTS_S = 60.0
"""Longest a prompt waits for weights that are fresh enough, as in `actors.generator`."""


@dataclass(kw_only=True, slots=True)
class _Group:
    """One prompt in an engine. `version` is that of its first token, None before it has begun."""

    group_id: str
    min_version: int
    left_s: float
    filtered: bool
    given_up: bool = False
    version: int | None = None
    ends_s: float = 0.0
    event: Event | None = None


class SimulatedGenerator:
    """One engine with `prompts_in_flight` groups side by side, on the weights it last loaded."""

    def __init__(self, name: str, shop: Shop, work: WorkTime, rng: random.Random) -> None:
        self.name = name
        self.version = 0
        self.alive = True
        self._shop = shop
        self._work = work
        self._rng = rng
        self._groups: dict[str, _Group] = {}
        self._loading: Event | None = None

    @property
    def loading(self) -> bool:
        """Whether the engine stands still to take new weights."""
        return self._loading is not None

    def reserve(self) -> bool:
        """Take one more prompt if there is room here and in the queue; whether it did."""
        shop = self._shop
        if not self.alive or len(self._groups) >= shop.config.generator.prompts_in_flight:
            return False
        reservation = shop.queue.reserve(self.name)
        if reservation is None:
            return False
        group = self._groups[reservation.group_id] = self._drawn(reservation)
        if not self._start(group):
            # As in the actor: a learner that stopped publishing must not stop generation.
            group.event = shop.line.after(FRESH_WEIGHTS_S, partial(self._give_up, group))
        return True

    def _drawn(self, reservation: Reservation) -> _Group:
        times = self._shop.times
        return _Group(
            group_id=reservation.group_id,
            min_version=reservation.min_version,
            left_s=draw_s(times.generate_s, times.generate_sigma, self._rng),
            filtered=self._rng.random() < times.filtered_share,
        )

    def _give_up(self, group: _Group) -> None:
        group.given_up = True
        self._start(group)

    def _start(self, group: _Group) -> bool:
        if self.loading or not (group.given_up or group.min_version <= self.version):
            return False
        if group.event is not None:
            group.event.cancel()
        group.version = self.version
        self._run(group)
        return True

    def _run(self, group: _Group) -> None:
        self._work.change(+1)
        group.ends_s = self._shop.line.now_s + group.left_s
        group.event = self._shop.line.after(group.left_s, partial(self._finish, group))

    def _pause(self, group: _Group) -> None:
        assert group.event is not None
        self._work.change(-1)
        group.event.cancel()
        group.left_s = max(0.0, group.ends_s - self._shop.line.now_s)

    def _finish(self, group: _Group) -> None:
        self._work.change(-1)
        del self._groups[group.group_id]
        header = _header(group, self.version)
        how = self._shop.queue.commit(group.group_id, self.name, self._shop.payload, header)
        self._shop.num_ready += how == "queued" and not self._shop.config.uses_scorers

    def begin_load(self, version: int) -> None:
        """Cancel what is too old for any step, stop the engine and take newer weights."""
        started = {g.group_id: g.version for g in self._groups.values() if g.version is not None}
        for group in list(self._running()):
            self._pause(group)
        for group_id in self._shop.queue.over_age(self.name, started):
            self._shop.queue.cancel(group_id, self.name)
            del self._groups[group_id]
        self._loading = self._shop.line.after(self._shop.times.load_s, partial(self._loaded, version))

    def _loaded(self, version: int) -> None:
        self._loading = None
        self.version = version
        for group in self._groups.values():
            if group.version is None:
                self._start(group)
            else:
                self._run(group)

    def _running(self) -> list[_Group]:
        return [group for group in self._groups.values() if group.version is not None]

    def die(self) -> None:
        """Lose everything in flight; the queue is told at once."""
        self.alive = False
        for group in self._groups.values():
            if group.version is not None and not self.loading:
                self._work.change(-1)
            if group.event is not None:
                group.event.cancel()
        self._groups.clear()
        if self._loading is not None:
            self._loading.cancel()
            self._loading = None
        self._shop.queue.release_holder(self.name)

    def come_back(self, version: int) -> None:
        """Be there again, with the weights published last."""
        self.alive, self.version = True, version


def _header(group: _Group, newest: int) -> GroupHeader:
    """Return the header of a group that has its samples; all right (1.0) is without signal."""
    assert group.version is not None
    reward = 1.0 if group.filtered else 0.5
    return GroupHeader(
        group_id=group.group_id,
        num_rollouts=1,
        num_prompt_tokens=1,
        num_response_tokens=1,
        oldest_version=group.version,
        newest_version=newest,
        num_mixed_rollouts=int(newest > group.version),
        mean_reward=reward,
        mean_parts={"accuracy": reward},
    )
