"""The books of the replay queue: how every prompt drawn ended (DESIGN 5.1), and what the run folder keeps.

Counts and records only: it holds no group and decides nothing. Each end is in the journal (`queue_memory`)
before it is counted. Only `replay_queue` and `prompt_draw` write in it.
"""

import dataclasses
from collections import Counter, deque
from collections.abc import Mapping

from pgpo_async.actors.queue_memory import QueueMemory
from pgpo_async.actors.queue_state import QueueState
from pgpo_async.actors.queue_types import Drop, Quarantined
from pgpo_async.contracts import Accounting, GroupHeader

MAX_RECORDS = 10_000
"""Records kept for `take_quarantined`; beyond it the oldest go (they stay counted)."""
MAX_RECORD_BYTES = 64 << 20
"""Of the images in those records; beyond it a record goes without."""
MAX_ERROR_CHARACTERS = 10_000


class Ledger:
    """Counts of prompts by how they ended, from `state` on."""

    def __init__(self, state: QueueState, memory: QueueMemory) -> None:
        start = state.accounting
        self._memory = memory
        self._drawn = start.drawn
        self._ended: Counter[str] = Counter(
            trained=start.trained, filtered=start.filtered, stale=start.stale, quarantined=start.quarantined
        )
        self._reasons: Counter[str] = Counter(start.quarantined_by_reason)
        self._records: deque[Quarantined] = deque(maxlen=MAX_RECORDS)
        self._record_bytes = 0
        self._lags: Counter[int] = Counter(state.lags)
        self._mixed_rollouts = state.mixed_rollouts
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

    def end(self, index: int, how: Drop) -> None:
        """Count a group that will not train."""
        self._memory.ended(index, how)
        self._ended[how] += 1

    def train(self, index: int, version: int, header: GroupHeader | None) -> None:
        """Count a group trained at a version; its lag too, where the group is known."""
        lag = None if header is None else max(0, version - header.oldest_version)
        num_mixed = 0 if header is None else header.num_mixed_rollouts
        self._memory.trained(index, version=version, lag=lag, num_mixed=num_mixed)
        self._ended["trained"] += 1
        self._mixed_rollouts += num_mixed
        if lag is not None:
            self._lags[lag] += 1

    def quarantine(self, record: Quarantined) -> None:
        """Count a prompt's quarantine by its reason and keep the record."""
        self.quarantine_again(record.index, record.reason)
        self._records.append(self._bounded(record))

    def _bounded(self, record: Quarantined) -> Quarantined:
        record = dataclasses.replace(record, error=record.error[:MAX_ERROR_CHARACTERS])
        images = record.prompt.images if record.prompt is not None else ()
        num_bytes = sum(map(len, images))
        if self._record_bytes + num_bytes > MAX_RECORD_BYTES:
            assert record.prompt is not None
            bare = dataclasses.replace(record.prompt, images=())
            return dataclasses.replace(record, prompt=bare, images_elsewhere=True)
        self._record_bytes += num_bytes
        return record

    def quarantine_again(self, index: int, reason: str) -> None:
        """Count a quarantine whose record was taken before the queue went back to a checkpoint."""
        self._memory.quarantined(index, reason)
        self._ended["quarantined"] += 1
        self._reasons[reason] += 1

    def take_records(self) -> list[Quarantined]:
        """Return the records kept since the last call."""
        records = list(self._records)
        self._records.clear()
        self._record_bytes = 0
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
