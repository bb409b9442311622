"""The books of the replay queue: how every prompt drawn ended (DESIGN 5.1), and what the run folder keeps.

Counts and records only: it holds no group and decides nothing. Only `replay_queue` and `prompt_draw` write
in it.
"""

from collections import Counter, deque
from collections.abc import Mapping

from pgpo_async.actors.queue_types import Drop, Quarantined
from pgpo_async.contracts import Accounting, GroupHeader

MAX_RECORDS = 10_000
"""Records kept for `take_quarantined`; beyond it the oldest go (they stay counted)."""


class Ledger:
    """Counts of prompts by how they ended; starts from an earlier run's accounting where given."""

    def __init__(self, start: Accounting | None = None) -> None:
        start = start or Accounting()
        self._drawn = start.drawn
        self._ended: Counter[str] = Counter(
            trained=start.trained, filtered=start.filtered, stale=start.stale, quarantined=start.quarantined
        )
        self._reasons: Counter[str] = Counter(start.quarantined_by_reason)
        self._records: deque[Quarantined] = deque(maxlen=MAX_RECORDS)
        self._lags: Counter[int] = Counter()
        self._mixed_rollouts = 0
        self._num_generated = 0
        self._generated: dict[str, float] = {}

    @property
    def lag_histogram(self) -> Mapping[int, int]:
        """Trained groups by lag, in steps."""
        return dict(sorted(self._lags.items()))

    @property
    def mixed_rollouts_trained(self) -> int:
        """Trained responses that more than one weight version wrote."""
        return self._mixed_rollouts

    def draw(self) -> None:
        """Count a prompt drawn for the first time."""
        self._drawn += 1

    def generate(self, header: GroupHeader) -> None:
        """Note a generated group, whatever becomes of it."""
        self._num_generated += 1
        # The parts first: a part that a user calls "reward" does not hide the whole.
        values = {**header.mean_parts, "reward": header.mean_reward}
        values["response_tokens"] = header.num_response_tokens / max(header.num_rollouts, 1)
        for name, value in values.items():
            self._generated[name] = self._generated.get(name, 0.0) + value

    def take_generated(self) -> dict[str, float]:
        """Return means over the groups noted since the last call; see `ReplayQueue.take_generated`."""
        num, sums = self._num_generated, self._generated
        self._num_generated, self._generated = 0, {}
        means = {name: value / num for name, value in sums.items()}
        return {**means, "num_groups": float(num)} if num else {}

    def end(self, how: Drop) -> None:
        """Count a group that will not train."""
        self._ended[how] += 1

    def train(self, header: GroupHeader, lag: int) -> None:
        """Count a group trained at a lag."""
        self._ended["trained"] += 1
        self._lags[lag] += 1
        self._mixed_rollouts += header.num_mixed_rollouts

    def quarantine(self, record: Quarantined) -> None:
        """Count a prompt's quarantine by its reason and keep the record."""
        self._ended["quarantined"] += 1
        self._reasons[record.reason] += 1
        self._records.append(record)

    def take_records(self) -> list[Quarantined]:
        """Return the records kept since the last call."""
        records = list(self._records)
        self._records.clear()
        return records

    def accounting(self, num_pending: int) -> Accounting:
        """Return the books; they must balance with the prompts now pending, at every moment."""
        accounting = Accounting(
            drawn=self._drawn,
            trained=self._ended["trained"],
            filtered=self._ended["filtered"],
            stale=self._ended["stale"],
            quarantined=self._ended["quarantined"],
            pending=num_pending,
            quarantined_by_reason=dict(self._reasons),
        )
        assert accounting.balanced, f"a prompt is lost or counted twice: {accounting}"
        return accounting
