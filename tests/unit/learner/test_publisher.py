import threading

import pytest
import torch

from pgpo_async.contracts import WaitTimeout, WeightError
from pgpo_async.learner.publisher import WeightPublisher


def weights(value):
    return {"a": torch.full((4,), float(value)), "b": torch.full((2, 2), float(value))}


class SlowStore:
    """Takes a version only when `go` is set."""

    def __init__(self):
        self.versions, self.go, self.began = [], threading.Event(), threading.Event()

    def __call__(self, manifest, buckets):
        self.began.set()
        assert self.go.wait(10)
        assert [b.num_bytes for b in manifest.buckets] == [len(data) for data in buckets]
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
