"""Advisory file locks (flock) with timeouts. The kernel drops them when their process dies, however it dies.

A lock belongs to an open file, not to a path: whoever may find its path removed or replaced checks `is_at`
after locking. Linux only, and a local file system (shared memory is one).
"""

import fcntl
import os
import time
from pathlib import Path

from pgpo_async.contracts import WaitTimeout

POLL_S = 0.02


class FileLock:
    """One open lock file. Not shared with child processes that are spawned; forked ones hold it too."""

    def __init__(self, path: Path) -> None:
        """Open the file, making it if need be. Raises FileNotFoundError if its folder is gone."""
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def try_lock(self, *, shared: bool) -> bool:
        """Lock now if that is possible; whether it was."""
        try:
            fcntl.flock(self._fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def lock(self, *, shared: bool, timeout_s: float, waiting_for: str) -> None:
        """Lock, waiting at most `timeout_s`. Raises WaitTimeout that names what was waited for."""
        began = time.monotonic()
        while not self.try_lock(shared=shared):
            waited_s = time.monotonic() - began
            if waited_s >= timeout_s:
                raise WaitTimeout(waiting_for, waited_s)
            time.sleep(POLL_S)

    def is_at(self, path: Path) -> bool:
        """Whether the open file is still the one at `path`."""
        try:
            there = os.stat(path)
        except FileNotFoundError:
            return False
        here = os.fstat(self._fd)
        return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)

    def close(self) -> None:
        """Unlock and close; may be called again."""
        if self._fd >= 0:
            # Unlocked by name: a forked child may hold the same open file.
            fcntl.flock(self._fd, fcntl.LOCK_UN)
            os.close(self._fd)
            self._fd = -1
