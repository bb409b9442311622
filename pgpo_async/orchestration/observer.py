"""Looks at the whole run every few seconds, from a thread of its own: metrics, `status.json`, Ray's mirror.

It waits for no actor and acts on none (that is `supervisor`'s), so it goes on while everything else hangs,
and the learner's loop does not know of it. What a look costs is measured by `bench metrics`.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from pgpo_async.metrics.activity import Activity
from pgpo_async.metrics.busy import BusyClock
from pgpo_async.metrics.busy_shares import BusyShares
from pgpo_async.orchestration.observation import Observation
from pgpo_async.orchestration.pulses import Pulses, Reading
from pgpo_async.orchestration.roll_call import Member

logger = logging.getLogger(__name__)

Show = Callable[[Observation, BusyShares], None]


class Observer:
    """`members` names who takes part now, `facts` what else a look holds; each of `shows` is given it."""

    def __init__(
        self,
        *,
        members: Callable[[], Sequence[Member]],
        facts: Callable[[], dict[str, Any]],
        activity: Activity,
        learning: BusyClock,
        shows: Sequence[Show],
        every_s: float,
    ) -> None:
        self._members = members
        self._facts = facts
        self._activity = activity
        self._learning = learning
        self._shows = shows
        self._every_s = every_s
        self._pulses = Pulses()
        self._busy = BusyShares()
        self._ended = threading.Event()
        self._paused = threading.Event()
        self._looking = threading.Lock()
        self._thread = threading.Thread(target=self._watch, name="observer", daemon=True)
        self._complained = False
        self.looked_s = time.monotonic()
        self.last: Observation | None = None

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; returns when the last look has ended, or hangs."""
        self._ended.set()
        if self._thread.is_alive():  # it may never have begun
            self._thread.join(timeout=self._every_s + 10.0)

    def pause(self, paused: bool) -> None:
        """Do not look for a while, or again."""
        (self._paused.set if paused else self._paused.clear)()

    def shares(self) -> dict[str, float]:
        """How busy each stage was since this was last asked."""
        return self._busy.since_last()

    def look(self) -> None:
        """Look now."""
        with self._looking:
            doing, doing_s = self._activity.now()
            readings = tuple(self._pulses.look(self._members()))
            seen = Observation(readings=readings, doing=doing, doing_s=doing_s, **self._facts())
            self._note_busy(readings)
            for show in self._shows:
                show(seen, self._busy)
            self.last, self.looked_s = seen, time.monotonic()

    def _watch(self) -> None:
        while not self._ended.is_set():
            if not self._paused.is_set():
                try:
                    self.look()
                except Exception:
                    # A look that fails (Ray is going down, a disk is full) must not end the looking.
                    if not self._complained and not self._ended.is_set():
                        logger.warning("a look at the run failed; later ones may not", exc_info=True)
                        self._complained = True
            self._ended.wait(self._every_s)

    def _note_busy(self, readings: Sequence[Reading]) -> None:
        for stage, role in (("generate", "generator"), ("score", "scorer")):
            said = {r.name: r.answer["busy_s"] for r in readings if r.role == role and r.answer is not None}
            self._busy.add(stage, said)
        self._busy.add("learn", {"learner": self._learning.total_s})
        self._busy.mark()
