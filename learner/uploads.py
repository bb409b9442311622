"""Sends checkpoints to their URL while training goes on.

Owns one thread and at most two checkpoints: the one being sent and the newest that waits (an older one
waiting is left out, and that is said). Not how they are sent (`mirror`). What goes wrong is kept as a line
for the next save to tell; it stops nothing. Used by `worker` and `saving` on rank 0.
"""

import threading
import time
from pathlib import Path

from pgpo_async.config.training import TrainConfig
from pgpo_async.contracts import WaitTimeout
from pgpo_async.learner import mirror


class Uploads:
    """`submit` returns at once. The thread ends with the process, in the middle of an upload too."""

    def __init__(self, url: str, *, keep_last: int, keep_best: int) -> None:
        self._url, self._keep_last, self._keep_best = url, keep_last, keep_best
        self._changed = threading.Condition()
        self._waiting: tuple[Path, str] | None = None
        self._sending: str | None = None
        self._problems: list[str] = []
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="checkpoint-uploads", daemon=True)
        self._thread.start()

    @classmethod
    def of(cls, train: TrainConfig) -> "Uploads | None":
        """As a run asks for; None where it has no URL."""
        if train.checkpoint_url is None:
            return None
        return cls(train.checkpoint_url, keep_last=train.keep_checkpoints, keep_best=train.keep_best)

    @property
    def tags(self) -> tuple[str, ...]:
        """Checkpoints that are still needed here: being sent, or waiting."""
        with self._changed:
            waiting = None if self._waiting is None else self._waiting[1]
            return tuple(tag for tag in (self._sending, waiting) if tag is not None)

    def check(self) -> None:
        """Raise ConfigError if the URL cannot be one of a file system."""
        mirror.check(self._url)

    def submit(self, folder: Path, tag: str) -> None:
        """Queue a checkpoint, in place of one that still waits."""
        with self._changed:
            assert not self._closed, "submit after close"
            if self._waiting is not None:
                self._problems.append(
                    f"checkpoint {self._waiting[1]} is not at {self._url}: uploads are slower than saves, "
                    "raise train.save_every"
                )
            self._waiting = (folder, tag)
            self._changed.notify_all()

    def take_problems(self) -> tuple[str, ...]:
        """What went wrong since the last call, a line each."""
        with self._changed:
            problems, self._problems = self._problems, []
            return tuple(problems)

    def finish(self, timeout_s: float) -> None:
        """Wait until everything submitted is sent or has failed. Raises WaitTimeout."""
        started_s = time.monotonic()
        with self._changed:
            done = self._changed.wait_for(lambda: self._sending is None and self._waiting is None, timeout_s)
            if not done:
                raise WaitTimeout(
                    f"checkpoint {self._sending} to arrive at {self._url}", time.monotonic() - started_s
                )

    def close(self) -> None:
        """Stop after the checkpoint being sent; one that waits is left out. Does not wait for the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _run(self) -> None:
        while (item := self._next()) is not None:
            problem = None
            try:
                mirror.upload(*item, self._url)
                mirror.prune(self._url, self._keep_last, self._keep_best)
            except Exception as error:  # whatever a file system's library raises
                problem = f"checkpoint {item[1]} could not be uploaded to {self._url}: {error!r}"
            with self._changed:
                self._sending = None
                if problem is not None:
                    self._problems.append(problem)
                self._changed.notify_all()

    def _next(self) -> tuple[Path, str] | None:
        with self._changed:
            # Woken by submit or close; nobody waits for this thread, so it may wait without end.
            self._changed.wait_for(lambda: self._closed or self._waiting is not None)
            if self._closed:
                return None
            item, self._waiting = self._waiting, None
            assert item is not None
            self._sending = item[1]
            return item
