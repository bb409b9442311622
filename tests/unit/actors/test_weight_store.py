"""The weight store and its long-poll, without Ray."""

import asyncio
import dataclasses

import pytest

from pgpo_async.actors.store_actor import StoreActor
from pgpo_async.actors.weight_store import WeightStore
from pgpo_async.config.pipeline import WeightsConfig
from pgpo_async.contracts import BucketEntry, WeightError, WeightManifest, content_hash


def version_of(version, *files):
    entries = tuple(
        BucketEntry(name=f"b{i}", num_bytes=len(data), checksum=content_hash(data), tensors=())
        for i, data in enumerate(files)
    )
    return WeightManifest(version=version, buckets=entries), list(files)


class Store(dict):
    def put(self, data):
        self[len(self)] = data
        return len(self) - 1


@pytest.fixture
def objects():
    return Store()


def test_the_newest_versions_can_be_pulled_and_older_ones_are_dropped(objects):
    store = WeightStore(2, objects)
    assert store.latest is None
    for version in (0, 3, 4):
        store.publish(*version_of(version, b"one%d" % version, b"two"))
    assert store.latest == 4
    manifest, refs = store.pull(3)
    assert [objects[ref] for ref in refs] == [b"one3", b"two"]
    assert store.bucket_ref(3, "b1") == refs[1]
    assert store.num_bytes == 2 * manifest.num_bytes
    with pytest.raises(WeightError, match=r"must be one of \[3, 4\], got 0"):
        store.pull(0)
    with pytest.raises(WeightError, match="must be one of"):
        store.bucket_ref(4, "b2")


def test_versions_must_increase(objects):
    store = WeightStore(2, objects)
    store.publish(*version_of(2, b"x"))
    for version in (1, 2):
        with pytest.raises(WeightError, match=f"must be above the last, 2, got {version}"):
            store.publish(*version_of(version, b"x"))


def test_a_version_is_published_whole_or_not_at_all(objects):
    store = WeightStore(2, objects)
    manifest, (first, second) = version_of(1, b"first", b"second")
    with pytest.raises(WeightError, match="must be 6 bytes with checksum"):
        store.publish(manifest, [first, b"sec0nd"])
    with pytest.raises(WeightError, match="must have 2 buckets, got 1"):
        store.publish(manifest, [first])
    assert store.latest is None
    store.add_bucket(1, manifest.buckets[0], first)
    with pytest.raises(WeightError, match="got no bucket b1"):
        store.publish(manifest)
    store.add_bucket(1, manifest.buckets[1], second)
    assert store.publish(manifest) == 1


def test_a_bucket_left_by_a_publication_that_was_cut_off_does_not_enter_another(objects):
    store = WeightStore(2, objects)
    cut_off, (old, _) = version_of(1, b"old", b"rest")
    store.add_bucket(1, cut_off.buckets[0], old)
    manifest, (new, rest) = version_of(1, b"new", b"rest")
    store.add_bucket(1, manifest.buckets[1], rest)
    with pytest.raises(WeightError, match="got no bucket b0"):
        store.publish(manifest)
    store.publish(manifest, [new, rest])
    assert objects[store.bucket_ref(1, "b0")] == b"new"


def test_receivers_wait_for_a_newer_version_and_pull_the_newest(objects):
    async def scenario():
        actor = StoreActor(WeightsConfig(), store=objects)
        assert await actor.wait_newer(-1, 0.02) is None
        assert await actor.pull_newest(-1) is None
        waits = [asyncio.create_task(actor.wait_newer(0, 5.0)) for _ in range(3)]
        await actor.publish(*version_of(0, b"zero"))
        await asyncio.sleep(0.02)
        assert not any(wait.done() for wait in waits)
        await actor.publish(*version_of(2, b"two"))
        assert await asyncio.gather(*waits) == [2, 2, 2]
        manifest, refs = await actor.pull_newest(0)
        assert (manifest.version, objects[refs[0]]) == (2, b"two")
        assert await actor.pull_newest(2) is None
        last = asyncio.create_task(actor.wait_newer(2, 60.0))
        await asyncio.sleep(0.02)
        await actor.close()
        assert await last is None

    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_a_manifest_that_differs_from_the_buckets_that_came_is_refused(objects):
    store = WeightStore(2, objects)
    manifest, (data,) = version_of(1, b"x")
    store.add_bucket(1, manifest.buckets[0], data)
    other = dataclasses.replace(manifest.buckets[0], checksum="0")
    with pytest.raises(WeightError, match="got no bucket b0"):
        store.publish(WeightManifest(version=1, buckets=(other,)))
