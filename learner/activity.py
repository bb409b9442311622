"""What a rank is doing and since when, for whoever asks while it does it. Called by `worker` and `engine`."""

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

    def describe(self) -> str:
        """The text and the seconds since it began."""
        with self._lock:
            return f"{self._doing} (for {time.monotonic() - self._since_s:.1f} s)"
