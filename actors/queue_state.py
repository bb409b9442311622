"""The replay queue's books at one moment: what a checkpoint keeps, so that no prompt is lost.

Plain numbers, as JSON too. Made and read by the replay queue; the journal and the checkpoint carry it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pgpo_async.contracts import Accounting


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueState:
    """`cursor` is the next index to draw; `pending` the drawn indices that had not ended: they come first.

    `accounting` counts them as pending. `lags` counts trained groups by lag; `slots_charged` and
    `slots_released` are admission's counters by reason, with pending prompts' slots given back.
    """

    cursor: int = 0
    pending: tuple[int, ...] = ()
    accounting: Accounting = field(default_factory=Accounting)
    lags: Mapping[int, int] = field(default_factory=dict)
    mixed_rollouts: int = 0
    slots_charged: Mapping[str, int] = field(default_factory=dict)
    slots_released: Mapping[str, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "QueueState":
        """Inverse of `as_json`, also after JSON has made texts of the keys and lists of the tuples."""
        return cls(
            cursor=values["cursor"],
            pending=tuple(values["pending"]),
            accounting=Accounting(**values["accounting"]),
            lags={int(lag): count for lag, count in values["lags"].items()},
            mixed_rollouts=values["mixed_rollouts"],
            slots_charged=dict(values["slots_charged"]),
            slots_released=dict(values["slots_released"]),
        )
