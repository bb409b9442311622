"""The learner's next batch, leased and prepared while the step before it runs.

Owns one call to the queue and the thread that waits for it. What it brings is to be trained at the version
that the running step leads to, and is not too old for it. Used by `run_loop`, from one thread.
"""

import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import ray

from pgpo_async.orchestration.cluster import Cluster


class BatchAhead:
    """At most one batch at a time: `begin` before a step, then `call` or `give_back`."""

    def __init__(self, cluster: Cluster, holder: str, num_groups: int) -> None:
        self._cluster = cluster
        self._holder = holder
        self._num_groups = num_groups
        self._call: Any = None
        self._thread: threading.Thread | None = None

    def begin(self, step: int, version: int, timeout_s: float) -> None:
        """Ask for the batch of the `step`-th step, from 0, on weights `version`; the ranks read it as soon as
        it is there.
        """
        queue = self._cluster.queue
        call = queue.lease_batch.remote(self._holder, version, self._num_groups, timeout_s, True)
        self._call = call
        self._thread = threading.Thread(
            target=self._prepare, args=(call, step, timeout_s), name="batch-ahead", daemon=True
        )
        self._thread.start()

    def _prepare(self, call: Any, step: int, timeout_s: float) -> None:
        with suppress(Exception):  # told to whoever asks for the call, or trains on its batch
            leases = ray.get(call, timeout=2 * timeout_s)
            if leases:
                self._cluster.the_learner.prepare(leases, step)

    def call(self) -> Any:
        """Return the call that is under way, or has ended, and forget it; None if there is none."""
        call, self._call = self._call, None
        return call

    def wait_prepared(self) -> None:
        """Wait until the ranks have been told of the batch that `call` brought."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def give_back(self, timeout_s: float) -> None:
        """Return the batch to the queue: the step before it failed, or there will be no other."""
        call = self.call()
        if call is None:
            return
        try:
            leases: Sequence[Any] | None = ray.get(call, timeout=timeout_s)
            self.wait_prepared()
            if leases:
                ids = [lease.group_id for lease in leases]
                ray.get(self._cluster.queue.abandon.remote(ids, self._holder), timeout=timeout_s)
        except ray.exceptions.RayError:
            # The queue is gone, and with it the lease: whoever called says why the run ends.
            return

    def drop(self) -> None:
        """Forget the batch: the queue goes back to where it is nobody's. Does not wait."""
        self._call = self._thread = None
