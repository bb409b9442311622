"""What happened to a run and when: `events.jsonl`, each line with its kind.

Owns the kinds and the words by which they are told apart, which the driver writes for people. An event of no
known words is a note. Called by `run_data`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np

from pgpo_async.report.run_files import JsonLines, as_number
from pgpo_async.report.step_table import StepTable

MAX_TEXT_CHARACTERS = 4000
"""Of an event; the rest is left out."""


class Kind(StrEnum):
    """What an event is about."""

    DEATH = "death"
    RESTART = "restart"
    ROLLBACK = "rolled back"
    RESUME = "resumed"
    SKIPPED = "skipped step"
    WARNING = "warning"
    NOTE = "note"


MARKED = (Kind.DEATH, Kind.RESTART, Kind.ROLLBACK, Kind.RESUME, Kind.SKIPPED, Kind.WARNING)
"""Kinds that are shown in charts."""

_WORDS: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    (Kind.SKIPPED, re.compile(r"\bupdated nothing\b")),
    (Kind.RESUME, re.compile(r"^resumed\b")),
    (Kind.ROLLBACK, re.compile(r"\bgoes on after step \d+ of \d+\b")),
    (Kind.RESTART, re.compile(r"\bworks in the place of one that died\b|\bworks again in another process\b")),
    (Kind.WARNING, re.compile(r"^warning\b")),
    (
        Kind.DEATH,
        re.compile(
            r"\bfailed\b|\bdied\b|\bis killed\b|\bis silent\b|\bcannot be reached\b|\bbegins again\b|"
            r"\branks again\b|\bhas lost version\b|, which was leaving, ended\b"
        ),
    ),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One line; `time_s` since the epoch, None where the line has none that can be read."""

    time_s: float | None
    text: str
    kind: Kind


def kind_of(text: str) -> Kind:
    """Return what an event's text is about."""
    return next((kind for kind, words in _WORDS if words.search(text)), Kind.NOTE)


def read_events(path: Path) -> tuple[list[Event], int]:
    """Return the events in the file's order, and how many lines could not be read."""
    lines = JsonLines(path)
    events = []
    num_without_text = 0
    for row in lines:
        text = row.get("event")
        if not isinstance(text, str):
            num_without_text += 1
            continue
        time_s = as_number(row.get("time_s"))
        events.append(Event(time_s=time_s, text=text[:MAX_TEXT_CHARACTERS], kind=kind_of(text)))
    return events, lines.num_unreadable + num_without_text


def steps_at(table: StepTable, times_s: Sequence[float]) -> list[int]:
    """Return the step that was under way at each time: the first that ended then or later, else the last.

    Empty where no step has a time.
    """
    ends_s = table.column("time_s")
    known = np.flatnonzero(np.isfinite(ends_s))
    if not len(known):
        return []
    # Of steps that were done again times may go back: what counts is when a step was first passed.
    passed_s = np.maximum.accumulate(ends_s[known])
    found = np.minimum(np.searchsorted(passed_s, times_s), len(known) - 1)
    return [int(step) for step in table.steps[known[found]]]
