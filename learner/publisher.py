"""Sends snapshots of the weights on their way while training goes on.

Owns one thread and at most two snapshots: the one being sent and the newest that waits (an older one waiting
is dropped: receivers only ever want the newest). Not the files of the last version sent (`deltas`), how
weights are gathered (`weights`), nor where they go: that is the injected `publish`, since this room may not
import the weight store. Used by `worker` on rank 0.
"""

import threading
import time
from dataclasses import dataclass

from pgpo_async.contracts import BucketEntry, BucketPayload, Publish, WaitTimeout, WeightError, WeightManifest
from pgpo_async.learner.deltas import DeltaPayloads
from pgpo_async.metrics.spans import Spans
from pgpo_async.policy.weight_files import HostWeights, pack_buckets


@dataclass(frozen=True, kw_only=True, slots=True)
class Sent:
    """Of one version: the bytes that were handed over, and their share of its files' bytes."""

    num_bytes: float
    share: float


class WeightPublisher:
    """`submit` returns at once; an error of the thread is raised by the next `submit` or `flush`."""

    def __init__(
        self, publish: Publish, bucket_bytes: int, *, full_every: int = 1, spans: Spans | None = None
    ) -> None:
        self._publish = publish
        self._spans = spans or Spans(False)
        self._bucket_bytes = bucket_bytes
        self._deltas = DeltaPayloads(full_every)
        self._last: Sent | None = None
        self._changed = threading.Condition()
        self._waiting: tuple[int, HostWeights, bool] | None = None
        self._sending: int | None = None
        self._sent: int | None = None
        self._newest: int | None = None
        self._spare: HostWeights | None = None
        self._error: BaseException | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="weight-publisher", daemon=True)
        self._thread.start()

    @property
    def newest_sent(self) -> int | None:
        """The last version that was handed over whole."""
        with self._changed:
            return self._sent

    @property
    def sent(self) -> Sent | None:
        """What the last version sent came to; None before the first."""
        with self._changed:
            return self._last

    @property
    def _idle(self) -> bool:
        return self._waiting is None and self._sending is None

    def spare(self) -> HostWeights | None:
        """Memory of a snapshot that is no longer needed, to be overwritten by the next."""
        with self._changed:
            spare, self._spare = self._spare, None
            return spare

    def submit(self, version: int, weights: HostWeights, *, again: bool = False) -> None:
        """Queue a version, in place of one that still waits. `again`: it was sent, got lost, and goes whole.

        Raises WeightError if an earlier version could not be sent, or `version` is not newer than the last.
        """
        with self._changed:
            if again:
                self._error = None
            self._raise_error()
            assert not self._closed, "submit after close"
            if self._newest is not None and version <= self._newest - again:
                raise WeightError(f"version must be above the last submitted, {self._newest}, got {version}")
            self._newest = version
            if self._waiting is not None:
                self._spare = self._waiting[1]
            self._waiting = (version, weights, again)
            self._changed.notify_all()

    def flush(self, timeout_s: float) -> None:
        """Wait until every submitted version is sent. Raises WaitTimeout, WeightError as `submit`."""
        started_s = time.monotonic()
        with self._changed:
            done = self._changed.wait_for(lambda: self._error is not None or self._idle, timeout_s)
            self._raise_error()
            if not done:
                version = self._sending if self._sending is not None else "the next"
                raise WaitTimeout(f"weight version {version} to be published", time.monotonic() - started_s)

    def close(self) -> None:
        """Stop after the version being sent; one that waits is dropped. Does not wait for the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _run(self) -> None:
        while (item := self._next()) is not None:
            version, weights, again = item
            if again:
                self._deltas.forget()
            error: BaseException | None = None
            try:
                with self._spans.span("publish", version=version):
                    self._send(version, weights)
            except BaseException as caught:
                error = caught
            self._finish(version, weights, error)

    def _send(self, version: int, weights: HostWeights) -> None:
        entries: list[BucketEntry] = []
        payloads: list[BucketPayload] = []
        try:
            # A bucket at a time: each file replaces the one of the version before in memory.
            for entry, data in pack_buckets(weights.items(), self._bucket_bytes):
                entries.append(entry)
                payloads.append(self._deltas.payload(entry, data))
            manifest = WeightManifest(version=version, buckets=tuple(entries))
            self._publish(manifest, payloads)
        except BaseException:
            self._deltas.forget()
            raise
        self._deltas.sent(version, payloads)
        num_bytes = sum(len(payload.data) for payload in payloads)
        with self._changed:
            self._last = Sent(num_bytes=float(num_bytes), share=num_bytes / manifest.num_bytes)

    def _next(self) -> tuple[int, HostWeights, bool] | None:
        with self._changed:
            # Woken by submit or close; nobody waits for this thread, so it may wait without end.
            self._changed.wait_for(lambda: self._closed or self._waiting is not None)
            if self._closed:
                return None
            item, self._waiting = self._waiting, None
            assert item is not None
            self._sending = item[0]
            return item

    def _finish(self, version: int, weights: HostWeights, error: BaseException | None) -> None:
        with self._changed:
            self._sending, self._spare = None, weights
            if error is None:
                self._sent = version
            else:
                self._error = WeightError(f"weight version {version} could not be published: {error!r}")
                self._error.__cause__ = error
            self._changed.notify_all()

    def _raise_error(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error
