"""Asks everybody for their status, never twice before an answer, and waits for nobody.

So one that is stopped, hung or dead costs nothing, and shows: its silence grows.
Whoever replaces it has a new name.
Used by `observer`, from its thread. Acts on nothing: that is `supervisor`'s.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import ray

from pgpo_async.orchestration.roll_call import Member

LINGER_S = 0.5
"""Longest that one look waits for the answers to its own questions."""
SILENT_S = 5.0
"""An actor that has not answered for so long is called silent."""

State = Literal["starting", "answers", "silent"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """What is known of one actor. `answer` is its last, `age_s` old; `silent_s` since it last answered."""

    name: str
    role: str
    state: State
    answer: Mapping[str, Any] | None
    age_s: float
    silent_s: float


@dataclass(slots=True)
class _Pulse:
    heard_s: float
    asked_s: float = 0.0
    call: Any = None
    answer: Mapping[str, Any] | None = None


class Pulses:
    """Of one run."""

    def __init__(self) -> None:
        self._pulses: dict[str, _Pulse] = {}

    def look(self, members: Sequence[Member]) -> list[Reading]:
        """Take the answers that came, ask again, and say how it stands with each."""
        self._pulses = {member.name: self._pulse(member) for member in members}
        self._take(0.0)
        for member in members:
            pulse = self._pulses[member.name]
            if member.ask is not None and pulse.call is None:
                pulse.call, pulse.asked_s = member.ask(), time.monotonic()
        self._take(LINGER_S)
        now_s = time.monotonic()
        return [self._reading(member, now_s) for member in members]

    def _pulse(self, member: Member) -> _Pulse:
        known = self._pulses.get(member.name)
        return known if known and member.ask is not None else _Pulse(time.monotonic() - member.for_s)

    def _take(self, timeout_s: float) -> None:
        calls = {pulse.call: pulse for pulse in self._pulses.values() if pulse.call is not None}
        if not calls:
            return
        for call in ray.wait(list(calls), num_returns=len(calls), timeout=timeout_s)[0]:
            pulse = calls[call]
            pulse.call = None
            try:
                pulse.answer = ray.get(call)
            except Exception:  # it died; whoever watches it says so
                continue
            pulse.heard_s = time.monotonic()

    def _reading(self, member: Member, now_s: float) -> Reading:
        pulse = self._pulses[member.name]
        since_s = now_s - pulse.heard_s
        is_late = pulse.call is not None and now_s - pulse.asked_s > SILENT_S
        state: State = "starting" if member.ask is None else "silent" if is_late else "answers"
        return Reading(
            name=member.name,
            role=member.role,
            state=state,
            answer=pulse.answer,
            age_s=since_s,
            silent_s=since_s if is_late else 0.0,
        )
