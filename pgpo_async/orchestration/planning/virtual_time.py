"""Virtual time: a clock that jumps from event to event, and what was under way in between.

Knows no stage; `simulation` turns it, `simulated_stages` put their events on it.
"""

import heapq
from collections.abc import Callable

Action = Callable[[], None]


class Event:
    """Something that will happen, unless it is cancelled before."""

    __slots__ = ("_action",)

    def __init__(self, action: Action) -> None:
        self._action: Action | None = action

    def cancel(self) -> None:
        """Let it not happen; no error if it already has."""
        self._action = None

    def happen(self) -> None:
        """Run the action once."""
        action, self._action = self._action, None
        if action is not None:
            action()


class Timeline:
    """Events in the order of their time, then in the order they were planned."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._planned: list[tuple[float, int, Event]] = []
        self._num_planned = 0

    def after(self, delay_s: float, action: Action) -> Event:
        """Plan an action `delay_s` seconds from now."""
        assert delay_s >= 0, delay_s
        event = Event(action)
        heapq.heappush(self._planned, (self.now_s + delay_s, self._num_planned, event))
        self._num_planned += 1
        return event

    def advance(self) -> int:
        """Go to the next planned time and let happen what is due then; 0 if nothing is planned any more.

        What is planned meanwhile for the same moment happens at the next call.
        """
        if not self._planned:
            return 0
        self.now_s = self._planned[0][0]
        due = []
        while self._planned and self._planned[0][0] == self.now_s:
            due.append(heapq.heappop(self._planned)[2])
        for event in due:
            event.happen()
        return len(due)


class WorkTime:
    """Service seconds of a stage: each piece of work under way counts for itself."""

    def __init__(self, line: Timeline) -> None:
        self._line = line
        self._under_way = 0
        self._since_s = 0.0
        self._total_s = 0.0

    def change(self, by: int) -> None:
        """Count pieces begun (above 0) or ended (below 0) now."""
        self._total_s = self.total_s
        self._since_s = self._line.now_s
        self._under_way += by
        assert self._under_way >= 0, self._under_way

    @property
    def total_s(self) -> float:
        """Service seconds until now."""
        return self._total_s + self._under_way * (self._line.now_s - self._since_s)
