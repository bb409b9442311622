"""Where every drawn prompt ended (DESIGN 5.1): the sums that must add up."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class Accounting:
    """Counts of prompts; `stale` and `quarantined` also by reason."""

    drawn: int = 0
    trained: int = 0
    filtered: int = 0
    stale: int = 0
    quarantined: int = 0
    pending: int = 0
    quarantined_by_reason: Mapping[str, int] = field(default_factory=dict)

    @property
    def balanced(self) -> bool:
        """Whether every drawn prompt is in exactly one place."""
        ended = self.trained + self.filtered + self.stale + self.quarantined
        return (
            self.drawn == ended + self.pending
            and sum(self.quarantined_by_reason.values()) == self.quarantined
        )

    def as_dict(self) -> dict[str, int]:
        """Return the counts under the names of `summary.json`."""
        return {
            "drawn": self.drawn,
            "trained": self.trained,
            "filtered": self.filtered,
            "stale": self.stale,
            "quarantined": self.quarantined,
            "pending": self.pending,
        }
