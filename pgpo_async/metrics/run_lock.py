"""Whether a run is under way: its driver holds a lock in the folder, which the kernel drops with it.

Only asks: the lock is taken by `orchestration.run_folder`. Imports nothing heavy, for `pgpo-async status` is
to answer at once.
"""

import fcntl
import os
from pathlib import Path

LOCK_NAME = ".lock"
"""Locked as long as the run's driver lives."""


def is_locked(folder: Path) -> bool:
    """Whether a driver that lives on this machine has the run."""
    try:
        descriptor = os.open(folder / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        # Shared and given back at once: readers do not see each other, a driver that starts hardly ever.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return False
    finally:
        os.close(descriptor)
    return False
