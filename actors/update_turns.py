"""Whose turn it is to load new weights: a few receivers of a role at a time, so that the others keep working.

Owns the turns and what version each receiver says it serves. Pure but for the clock it is given; the weight
store's actor asks it, on behalf of whoever waits longest first. Nobody is held up by a receiver: a turn that
takes too long is over for the others, whatever its holder does.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(slots=True)
class _Receiver:
    role: str
    version: int
    turn_ends_s: float = -math.inf


class UpdateTurns:
    """At most `share` of a role's receivers, but at least one, has a turn, each for `turn_s` seconds."""

    def __init__(self, share: float, turn_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        if not 0 < share <= 1:
            raise ValueError(f"share must be above 0 and at most 1, got {share}")
        self._share = share
        self._turn_s = turn_s
        self._clock = clock
        self._receivers: dict[str, _Receiver] = {}

    @property
    def served(self) -> Mapping[str, int]:
        """The version that each receiver last said it serves."""
        return {name: receiver.version for name, receiver in self._receivers.items()}

    def register(self, name: str, role: str, version: int) -> None:
        """Note a receiver and what it serves."""
        self._receivers.setdefault(name, _Receiver(role, version)).version = version

    def take(self, name: str, newest: int) -> bool:
        """Give a registered receiver a turn to load `newest`, if it needs one and one is free.

        It ends with `end`, or after `turn_s` seconds as far as the others are concerned.
        """
        mine = self._receivers[name]
        if mine.version >= newest:
            return False
        now = self._clock()
        others = [r for n, r in self._receivers.items() if r.role == mine.role and n != name]
        most = max(1, math.floor(self._share * (len(others) + 1)))
        if sum(receiver.turn_ends_s > now for receiver in others) >= most:
            return False
        mine.turn_ends_s = now + self._turn_s
        return True

    def end(self, name: str, version: int) -> None:
        """End a turn: the receiver serves `version` now. One forgotten meanwhile is ignored."""
        receiver = self._receivers.get(name)
        if receiver is not None:
            receiver.version = version
            receiver.turn_ends_s = -math.inf

    def forget(self, name: str) -> None:
        """Drop a receiver that died; its turn is free."""
        self._receivers.pop(name, None)
