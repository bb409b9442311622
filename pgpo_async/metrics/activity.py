"""What a process is doing and since when, for whoever asks while it does it: a learner's rank, the driver."""

import threading
import time


class Activity:
    """One line of text, set by the thread that works and read by the one that answers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._doing, self._since_s = "starting", time.monotonic()

    def set(self, doing: str) -> None:
        """Begin something else."""
        with self._lock:
            self._doing, self._since_s = doing, time.monotonic()

    @property
    def doing(self) -> str:
        """The text alone."""
        with self._lock:
            return self._doing

    def now(self) -> tuple[str, float]:
        """The text and the seconds since it began."""
        with self._lock:
            return self._doing, time.monotonic() - self._since_s

    def describe(self) -> str:
        """Both in a line."""
        doing, for_s = self.now()
        return f"{doing} (for {for_s:.1f} s)"
