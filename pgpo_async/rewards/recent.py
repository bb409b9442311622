"""Verdicts given before, so that a group of like answers is compared once.

Owns the bounds. One lives in each process that verifies; called by `verifier`.
"""

from collections import OrderedDict

MAX_COUNT = 1 << 16
MAX_BYTES = 16 << 20
_ENTRY_BYTES = 200
"""What an entry costs beside its texts, about."""


class RecentVerdicts:
    """The last verdicts by (answer, reference), least recently asked for first out. Not thread-safe."""

    def __init__(self, max_count: int = MAX_COUNT, max_bytes: int = MAX_BYTES) -> None:
        self.hits = 0
        self._max_count = max_count
        self._max_bytes = max_bytes
        self._num_bytes = 0
        self._verdicts: OrderedDict[tuple[str, str], float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._verdicts)

    @property
    def num_bytes(self) -> int:
        """What is held, about: a character counts as four bytes."""
        return self._num_bytes

    def get(self, answer: str, reference: str) -> float | None:
        """Return the verdict if it is still held, and count the hit."""
        verdict = self._verdicts.get((answer, reference))
        if verdict is not None:
            self._verdicts.move_to_end((answer, reference))
            self.hits += 1
        return verdict

    def put(self, answer: str, reference: str, verdict: float) -> None:
        """Hold a verdict and let go of the oldest beyond the bounds; a larger one is not held."""
        size = _size(answer, reference)
        if size > self._max_bytes or (answer, reference) in self._verdicts:
            return
        self._verdicts[answer, reference] = verdict
        self._num_bytes += size
        while len(self._verdicts) > self._max_count or self._num_bytes > self._max_bytes:
            (key, _) = self._verdicts.popitem(last=False)
            self._num_bytes -= _size(*key)


def _size(answer: str, reference: str) -> int:
    return 4 * (len(answer) + len(reference)) + _ENTRY_BYTES
