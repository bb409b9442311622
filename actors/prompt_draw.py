"""Which prompt comes next: those given back first, then the source in its order.

Owns the cursor and the prompts given back. Does not know slots, leases or groups. Called by the replay
queue only.
"""

import dataclasses
import heapq
from dataclasses import dataclass

from pgpo_async.actors.ledger import Ledger
from pgpo_async.actors.queue_state import QueueState
from pgpo_async.actors.queue_types import PromptSource, Quarantined
from pgpo_async.contracts import Prompt, PromptError, StageFailed

MAX_BAD_ROWS = 1000
"""Unusable rows in a row after which the source is given up: it would be searched for ever."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Draw:
    """A drawn prompt. `attempt` counts earlier reservations, `num_losses` leases of it
    that were lost, `num_cancels` how often it was too old in flight.

    `prompt` is None only for what an earlier run left pending: it is read from the source again.
    """

    index: int
    prompt: Prompt | None
    attempt: int = 0
    num_losses: int = 0
    num_cancels: int = 0

    @property
    def group_id(self) -> str:
        """The name of the group this prompt becomes, the same at each attempt."""
        return f"g{self.index:08d}"


def index_of(group_id: str) -> int:
    """Inverse of `Draw.group_id`."""
    return int(group_id[1:])


class PromptDraw:
    """Draws prompts; counts each in the ledger once, however often it is given back."""

    def __init__(self, source: PromptSource, ledger: Ledger, state: QueueState) -> None:
        self._source = source
        self._ledger = ledger
        self.cursor = state.cursor
        # Sorted by index, so that the oldest prompt goes out first; an index is there at most once.
        self._returned: list[tuple[int, Draw]] = [
            (index, Draw(index=index, prompt=None)) for index in sorted(state.pending)
        ]
        self._bad_rows = 0
        self.waits_for_source = False

    @property
    def returned(self) -> tuple[int, ...]:
        """Indices of the prompts that were drawn and given back."""
        return tuple(index for index, _ in self._returned)

    def give_back(self, draw: Draw) -> None:
        """Put a prompt back at the head of the order."""
        heapq.heappush(self._returned, (draw.index, draw))

    def next(self) -> tuple[Draw, Prompt] | None:
        """Return the next usable prompt, quarantining unusable rows on the way.

        None while the source is still reading. Raises StageFailed after MAX_BAD_ROWS unusable rows, and
        whatever else the source raises: the cursor then stays, and the next call asks again.
        """
        while self._bad_rows < MAX_BAD_ROWS:
            draw = self._returned[0][1] if self._returned else Draw(index=self.cursor, prompt=None)
            try:
                prompt = draw.prompt or self._source.prompt(draw.index)
            except PromptError as error:
                self._take()
                self._quarantine(draw, error)
                continue
            self.waits_for_source = prompt is None
            if prompt is None:
                return None
            self._take()
            self._bad_rows = 0
            return dataclasses.replace(draw, prompt=prompt), prompt
        raise StageFailed(
            f"the prompt source must have usable rows, got {self._bad_rows} unusable ones in succession "
            f"before index {self.cursor} (see the quarantine records)",
            role="source",
        )

    def reach(self, index: int) -> bool:
        """Draw all prompts up to and with an index, as given back; whether that one is there now."""
        while self.cursor <= index:
            heapq.heappush(self._returned, (self.cursor, Draw(index=self.cursor, prompt=None)))
            self.cursor += 1
            self._ledger.draw()
        return self.has(index)

    def has(self, index: int) -> bool:
        """Whether a prompt is still to be drawn, or drawn again."""
        return index >= self.cursor or any(index == returned for returned, _ in self._returned)

    def take(self, index: int) -> Draw:
        """Take a prompt that was given back out of its turn."""
        place = next(i for i, (returned, _) in enumerate(self._returned) if returned == index)
        _, draw = self._returned.pop(place)
        heapq.heapify(self._returned)
        return draw

    def _take(self) -> None:
        if self._returned:
            heapq.heappop(self._returned)
        else:
            self.cursor += 1
            self._ledger.draw()

    def _quarantine(self, draw: Draw, error: PromptError) -> None:
        self._bad_rows += 1
        record = Quarantined(
            group_id=draw.group_id,
            index=draw.index,
            prompt_id=error.prompt_id,
            reason=error.reason,
            error=str(error),
            stage="read",
            prompt=error.prompt,
        )
        self._ledger.quarantine(record)
