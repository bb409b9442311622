import gc
import threading
import weakref

import pytest
import torch

from pgpo_async.contracts import BucketEntry, WaitTimeout, WeightError
from pgpo_async.learner.deltas import DeltaPayloads
from pgpo_async.learner.publisher import WeightPublisher


def weights(value):
    return {"a": torch.full((4,), float(value)), "b": torch.full((2, 2), float(value))}


class SlowStore:
    """Takes a version only when `go` is set."""

    def __init__(self):
        self.versions, self.go, self.began = [], threading.Event(), threading.Event()

    def __call__(self, manifest, payloads):
        self.began.set()
        assert self.go.wait(10)
        assert [b.num_bytes for b in manifest.buckets] == [len(payload.data) for payload in payloads]
        self.versions.append(manifest.version)


@pytest.fixture
def store():
    store = SlowStore()
    yield store
    store.go.set()


def test_submit_does_not_wait_and_the_newest_waiting_version_wins(store):
    publisher = WeightPublisher(store, bucket_bytes=16)
    publisher.submit(1, weights(1))
    assert store.began.wait(10)
    for version in (2, 3, 4):
        publisher.submit(version, weights(version))
    assert store.versions == []
    store.go.set()
    publisher.flush(10)
    assert store.versions == [1, 4]
    assert publisher.newest_sent == 4
    publisher.close()


def test_memory_of_a_version_is_offered_again_only_after_it_was_sent(store):
    publisher = WeightPublisher(store, bucket_bytes=16)
    first, second = weights(1), weights(2)
    publisher.submit(1, first)
    assert store.began.wait(10)
    assert publisher.spare() is None
    publisher.submit(2, second)
    publisher.submit(3, weights(3))
    assert publisher.spare() is second, "the version that was passed over"
    store.go.set()
    publisher.flush(10)
    assert publisher.spare() is not None
    assert publisher.spare() is None, "handed out once"
    publisher.close()


def test_a_failed_publication_shows_at_the_next_call_and_the_thread_lives_on():
    def fail_once(manifest, buckets):
        if manifest.version == 1:
            raise OSError("store is full")

    publisher = WeightPublisher(fail_once, bucket_bytes=1 << 20)
    publisher.submit(1, weights(1))
    with pytest.raises(WeightError, match="version 1 could not be published: OSError"):
        publisher.flush(10)
    publisher.submit(2, weights(2))
    publisher.flush(10)
    assert publisher.newest_sent == 2
    publisher.close()


def test_a_version_that_got_lost_is_sent_again_whole():
    sent = []
    publisher = WeightPublisher(
        lambda manifest, payloads: sent.append((manifest.version, [p.base for p in payloads])),
        bucket_bytes=1 << 20,
        full_every=10,
    )
    for version in (1, 2):
        publisher.submit(version, weights(1))
        publisher.flush(10)
    publisher.submit(2, weights(1), again=True)
    publisher.flush(10)
    publisher.submit(3, weights(1))
    publisher.flush(10)
    assert sent == [(1, [None]), (2, [1]), (2, [None]), (3, [2])]
    with pytest.raises(WeightError, match="above the last submitted, 3, got 2"):
        publisher.submit(2, weights(1), again=True)
    publisher.close()


def test_flush_ends_with_what_it_waited_for(store):
    publisher = WeightPublisher(store, bucket_bytes=16)
    publisher.submit(7, weights(1))
    assert store.began.wait(10)
    with pytest.raises(WaitTimeout, match="weight version 7"):
        publisher.flush(0.05)
    store.go.set()
    publisher.flush(10)
    publisher.close()


def test_versions_must_rise(store):
    store.go.set()
    publisher = WeightPublisher(store, bucket_bytes=16)
    publisher.submit(2, weights(1))
    with pytest.raises(WeightError, match="version must be above the last submitted, 2, got 2"):
        publisher.submit(2, weights(1))
    publisher.close()


def test_one_version_in_full_every_is_sent_whole_and_the_others_as_what_changed():
    sent = []
    publisher = WeightPublisher(lambda _, payloads: sent.append(payloads), 1 << 20, full_every=3)
    values = {"a": torch.arange(4000.0).bfloat16(), "b": torch.arange(1000.0)}
    assert publisher.sent is None
    shares = []
    for version in range(0, 14, 2):
        values["a"][version] += 1000
        publisher.submit(version, {name: tensor.clone() for name, tensor in values.items()})
        publisher.flush(10)
        shares.append(publisher.sent.share)
    publisher.close()
    assert [payload.base for (payload,) in sent] == [None, 0, 2, None, 6, 8, None]
    assert [share == 1 for share in shares] == [True, False, False, True, False, False, True]
    assert max(shares[1:3]) < 0.05


def test_a_bucket_that_changed_much_is_sent_whole_beside_those_that_did_not():
    sent = []
    publisher = WeightPublisher(lambda _, payloads: sent.append(payloads), 4000, full_every=10)
    for version in range(3):
        publisher.submit(version, {"same": torch.zeros(1000), "new": torch.full((1000,), float(version))})
        publisher.flush(10)
    publisher.close()
    assert [[payload.base for payload in payloads] for payloads in sent] == [
        [None, None],
        [0, None],
        [1, None],
    ]


def test_no_file_outlives_the_one_that_replaces_it():
    # Only the file of the last version and that of the bucket at work may be in memory.
    deltas = DeltaPayloads(10)
    entry = BucketEntry(name="b", num_bytes=1000, checksum="", tensors=())
    files = [Tracked(1000) for _ in range(3)]
    alive = [weakref.ref(file) for file in files]
    for version in range(3):
        deltas.sent(version, [deltas.payload(entry, files.pop(0))])
    gc.collect()
    assert [ref() is None for ref in alive] == [True, True, False]
    deltas.forget()
    gc.collect()
    assert alive[2]() is None


class Tracked(bytearray):
    """A file that can be asked whether it is still there."""
