"""One look at a whole run, and what it means: who works, who waits for what, who is stuck. Pure.

Made by `observer`; `board_feed` makes metrics of it, `status_file` what `pgpo-async status` shows.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pgpo_async.actors.queue_types import QueueStats
from pgpo_async.orchestration.pulses import Reading

IDLE = {
    "generator": ("an admission slot", "start", "run"),
    "scorer": ("generated groups", "start", "run"),
    "learner": ("idle",),
    "reward": ("groups to verify",),
}
"""What an actor that has nothing to do says of itself."""

WAIT_REASONS = {
    "an admission slot": "slot",
    "room": "groups",
    "bytes": "bytes",
    "the prompt source": "source",
    "a generated group": "generation",
    "the turn of generation": "generation",
    "group ": "order",
}
"""How what a side of the queue waits for begins, and the word that is counted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Observation:
    """`doing` is the driver's, for `doing_s`. `restarts` and `wanted` are by role."""

    readings: tuple[Reading, ...]
    doing: str
    doing_s: float
    restarts: Mapping[str, int] = field(default_factory=dict)
    wanted: Mapping[str, int] = field(default_factory=dict)
    time_s: float = field(default_factory=time.time)

    def answers(self, role: str) -> dict[str, Mapping[str, Any]]:
        """What the actors of a role last said, by name."""
        return {r.name: r.answer for r in self.readings if r.role == role and r.answer is not None}

    @property
    def stats(self) -> QueueStats | None:
        """The queue's figures, None before its first answer."""
        answer = self.answers("queue").get("queue")
        return None if answer is None else answer["stats"]

    @property
    def store(self) -> Mapping[str, Any] | None:
        """What the weight store said."""
        return self.answers("store").get("store")

    def stuck(self) -> list[Reading]:
        """Who does not answer, longest silence first."""
        return sorted((r for r in self.readings if r.state == "silent"), key=lambda r: -r.silent_s)


def doing_of(reading: Reading) -> str:
    """What an actor is at, in words."""
    if reading.state == "starting":
        return "starting"
    answer = reading.answer
    if answer is None:
        return "has not answered yet"
    if reading.role == "generator":
        return f"{answer['prompts_in_flight']} prompts in flight, waits for {answer['waiting_for']}"
    if reading.role == "learner":
        return f"{answer['doing']} (for {answer['for_s'] + reading.age_s:.1f} s)"
    if reading.role in ("scorer", "reward"):
        idle = answer["waiting_for"] in IDLE[reading.role]
        return f"waits for {answer['waiting_for']}" if idle else str(answer["waiting_for"])
    if reading.role == "store":
        return "empty" if answer["latest"] is None else f"version {answer['latest']}"
    return "keeps its books"


def state_of(reading: Reading) -> str:
    """One of the words of `pipeline_metrics.ACTORS`."""
    if reading.state != "answers" or reading.answer is None:
        return "silent" if reading.state == "silent" else "starting"
    said = reading.answer.get("doing" if reading.role == "learner" else "waiting_for")
    if said not in IDLE.get(reading.role, ()):
        return "working"
    return "working" if reading.answer.get("prompts_in_flight") else "waiting"


def wait_reason(text: str) -> str:
    """The word that is counted for what a side of the queue says it waits for."""
    for beginning, reason in WAIT_REASONS.items():
        if text.startswith(beginning):
            return reason
    return "scores" if "scored groups" in text else "other"
