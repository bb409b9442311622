"""What the journal says of a replay queue that is gone, or that goes back to a checkpoint. Pure: a fold.

    kind          of a prompt's index, meta
    generated     a payload came; header
    scored        its payload took the place of the generated one; header
    trained       how a prompt ended; version it was trained at, lag, num_mixed
    filtered, stale, quarantined (reason)
    mark          a checkpoint's name, the queue's state then
    rewind        everything since a mark is undone; its version was `at` then, the same weights are `to` now

Draws and leases are not written: a prompt below the cursor without an end is pending, and nobody holds it.
Called by `queue_memory`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from pgpo_async.actors.journal import Place, Record
from pgpo_async.actors.queue_state import QueueState
from pgpo_async.contracts import GroupHeader, JournalError

PAYLOADS = ("generated", "scored")
ENDS = ("trained", "filtered", "stale", "quarantined")


class Shift(NamedTuple):
    """How versions are told since the learner went back: weights `at` are served as `to`, later ones too."""

    at: int
    to: int

    def __call__(self, version: int) -> int:
        """Return the version that weights count as now: newer ones as those that were gone back to."""
        return min(version, self.at) + self.to - self.at


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """What had become of a prompt that is to be drawn again: its payload's place, or how it had ended."""

    place: Place | None = None
    header: GroupHeader | None = None
    scored: bool = False
    ended: str = ""
    reason: str = ""
    shifts: tuple[Shift, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Recollection:
    """`state` to begin with, `kept` by index what need not be done again, `trained` since the mark."""

    state: QueueState = field(default_factory=QueueState)
    kept: Mapping[int, Kept] = field(default_factory=dict)
    trained: tuple[int, ...] = ()
    version: int = 0


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    place: Place
    record: Record


def header_meta(header: GroupHeader) -> dict[str, Any]:
    """Return a header as the journal's JSON."""
    return {name: getattr(header, name) for name in GroupHeader.__slots__}


def recollect(records: Iterable[tuple[Place, Record]], mark: str | None = None) -> Recollection:
    """Fold the journal: the queue as it was at the end, or as it is to be after going back to a mark.

    Raises JournalError for a mark that is not there.
    """
    lines = [_Line(number, place, record) for number, (place, record) in enumerate(records)]
    marks = {line.record.meta["name"]: line for line in lines if line.record.kind == "mark"}
    if mark is not None and mark not in marks:
        raise JournalError(f"the journal must hold the mark {mark!r}, got {sorted(marks) or 'none'}")
    state, marked, since = _base(lines, marks, mark)
    counted = [line for line in lines[since:] if line.record.kind in ENDS]
    indices = [line.record.index for line in lines[since:] if line.record.index >= 0]
    cursor = max([state.cursor, *(index + 1 for index in indices)])
    ended = {line.record.index for line in counted}
    pending = {*state.pending, *range(state.cursor, cursor)} - ended
    return Recollection(
        state=_counted(state, cursor, tuple(sorted(pending)), counted),
        kept=_kept(lines, marked, since, lambda index: index in pending or index >= cursor),
        trained=tuple(line.record.index for line in counted if line.record.kind == "trained"),
        version=_version(lines),
    )


def told_since(records: Iterable[tuple[Place, Record]], mark: str, version: int) -> int:
    """Return how the version that a mark was written at is told at the end."""
    told = version
    for _, record in records:
        if record.kind == "mark" and record.meta["name"] == mark:
            told = version
        elif record.kind == "rewind":
            told = Shift(record.meta["at"], record.meta["to"])(told)
    return told


def _base(lines: list[_Line], marks: Mapping[str, _Line], mark: str | None) -> tuple[QueueState, int, int]:
    """The last state written or gone back to, the line of its mark, the line from which ends count."""
    if mark is not None:
        line = marks[mark]
        return QueueState.from_json(line.record.meta["state"]), line.number, len(lines)
    for line in reversed(lines):
        if line.record.kind in ("mark", "rewind"):
            at = marks[line.record.meta["name"]]
            return QueueState.from_json(at.record.meta["state"]), at.number, line.number + 1
    return QueueState(), -1, 0


def _kept(lines: list[_Line], marked: int, since: int, wanted: Any) -> dict[int, Kept]:
    shifts = [
        (line.number, Shift(line.record.meta["at"], line.record.meta["to"]))
        for line in lines
        if line.record.kind == "rewind"
    ]
    kept: dict[int, Kept] = {}
    for line in lines:
        record = line.record
        if record.index < 0 or not wanted(record.index):
            continue
        if record.kind in PAYLOADS:
            kept[record.index] = Kept(
                place=line.place,
                header=GroupHeader(**record.meta["header"]),
                scored=record.kind == "scored",
                shifts=tuple(shift for number, shift in shifts if number > line.number),
            )
        elif record.kind == "stale":
            kept.pop(record.index, None)
        elif record.kind in ("filtered", "quarantined") and marked < line.number < since:
            kept[record.index] = Kept(ended=record.kind, reason=record.meta.get("reason", ""))
    return kept


def _counted(state: QueueState, cursor: int, pending: tuple[int, ...], ends: list[_Line]) -> QueueState:
    how = Counter(line.record.kind for line in ends)
    metas = [line.record.meta for line in ends]
    reasons = Counter(meta["reason"] for meta in metas if "reason" in meta)
    lags = Counter(meta["lag"] for meta in metas if meta.get("lag") is not None)
    books = state.accounting
    charged = Counter(state.slots_charged) + Counter(drawn=cursor - state.cursor)
    released = Counter(state.slots_released) + how
    # Whoever held a slot holds none now.
    released["returned"] += charged.total() - released.total()
    return QueueState(
        cursor=cursor,
        pending=pending,
        accounting=replace(
            books,
            drawn=books.drawn + cursor - state.cursor,
            pending=len(pending),
            quarantined_by_reason=dict(Counter(books.quarantined_by_reason) + reasons),
            **{name: getattr(books, name) + how[name] for name in ENDS},
        ),
        lags=dict(Counter(state.lags) + lags),
        mixed_rollouts=state.mixed_rollouts + sum(meta.get("num_mixed", 0) for meta in metas),
        slots_charged=dict(charged),
        slots_released=dict(released),
    )


def _version(lines: list[_Line]) -> int:
    version = 0
    for line in lines:
        meta = line.record.meta
        if line.record.kind == "trained":
            version = max(version, meta["version"] + 1)
        elif line.record.kind == "rewind":
            version = meta["to"]
        elif line.record.kind == "mark":
            version = max(version, meta["version"])
    return version
