"""The weight store and its long-poll, without Ray."""

import asyncio
import dataclasses

import pytest

from pgpo_async.actors.store_actor import StoreActor
from pgpo_async.actors.weight_store import WeightStore
from pgpo_async.config.pipeline import WeightsConfig
from pgpo_async.contracts import (
    BucketEntry,
    BucketPayload,
    BucketRoute,
    WeightError,
    WeightManifest,
    content_hash,
)


def version_of(version, *files):
    entries = tuple(
        BucketEntry(name=f"b{i}", num_bytes=len(data), checksum=content_hash(data), tensors=())
        for i, data in enumerate(files)
    )
    return WeightManifest(version=version, buckets=entries), [BucketPayload(data=data) for data in files]


def changed(version, base, *files):
    """A version whose buckets all come as changes; the store does not read them."""
    manifest, _ = version_of(version, *files)
    return manifest, [BucketPayload(data=b"%d>%d" % (base, version), base=base) for _ in files]


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
    manifest, routes = store.pull(3)
    assert routes == [BucketRoute(base=None, refs=[2]), BucketRoute(base=None, refs=[3])]
    assert [objects[ref] for route in routes for ref in route.refs] == [b"one3", b"two"]
    assert store.num_bytes == 2 * manifest.num_bytes
    with pytest.raises(WeightError, match=r"must be one of \[3, 4\], got 0"):
        store.pull(0)


def routed(store, objects, version, have=()):
    _, routes = store.pull(version, have)
    return [(route.base, [objects[ref] for ref in route.refs]) for route in routes]


def test_a_receiver_is_led_from_the_newest_version_that_it_has_or_from_a_whole_file(objects):
    store = WeightStore(2, objects)
    store.publish(*version_of(1, b"whole"))
    for version in (2, 3, 5):
        store.publish(*changed(version, store.latest, b"other"))
    assert routed(store, objects, 5) == [(None, [b"whole", b"1>2", b"2>3", b"3>5"])]
    assert routed(store, objects, 5, [0, 4]) == [(None, [b"whole", b"1>2", b"2>3", b"3>5"])]
    assert routed(store, objects, 5, [1, 2]) == [(2, [b"2>3", b"3>5"])]
    assert routed(store, objects, 3, [5, 1]) == [(1, [b"1>2", b"2>3"])]
    assert routed(store, objects, 5, [5]) == [(5, [])]


def test_only_what_leads_to_a_held_version_is_kept_each_bucket_by_itself(objects):
    store = WeightStore(2, objects)
    store.publish(*version_of(0, b"left", b"right"))
    store.publish(*changed(1, 0, b"LEFT", b"RIGHT"))
    manifest, (whole, _) = version_of(2, b"Left", b"Right")
    store.publish(manifest, [whole, BucketPayload(data=b"1>2", base=1)])
    assert store.num_bytes == len(b"left" + b"right" + 2 * b"0>1" + b"Left" + b"1>2")
    store.publish(*changed(3, 2, b"lEFT", b"rIGHT"))
    assert routed(store, objects, 3) == [
        (None, [b"Left", b"2>3"]),
        (None, [b"right", b"0>1", b"1>2", b"2>3"]),
    ]
    assert store.num_bytes == len(b"right" + b"0>1" + b"Left" + b"1>2" + 2 * b"2>3")
    with pytest.raises(WeightError, match=r"must be one of \[2, 3\], got 1"):
        store.pull(1)
    for version in (4, 5):
        store.publish(*version_of(version, b"LEFT", b"RIGHT"))
    assert store.num_bytes == 2 * len(b"LEFT" + b"RIGHT")


def test_a_change_of_what_is_not_held_is_refused(objects):
    store = WeightStore(2, objects)
    for version in (0, 1, 2):
        store.publish(*version_of(version, b"same"))
    with pytest.raises(WeightError, match=r"of versions \[1, 2\], got a change of version 0"):
        store.publish(*changed(3, 0, b"same"))
    with pytest.raises(WeightError, match="or change one of its size"):
        store.publish(*changed(3, 2, b"longer"))
    assert store.publish(*changed(3, 1, b"same")) == 3


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
        store.publish(manifest, [first, BucketPayload(data=b"sec0nd")])
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
    assert routed(store, objects, 1) == [(None, [b"new"]), (None, [b"rest"])]


def test_receivers_wait_for_a_newer_version_and_pull_the_newest(objects):
    async def scenario():
        actor = StoreActor(WeightsConfig(update_share=1.0), store=objects)
        assert await actor.wait_turn("g0", "generator", -1, 0.02) is None
        assert await actor.pull_newest(-1) is None
        names = ("g0", "g1", "g2")
        waits = [asyncio.create_task(actor.wait_turn(name, "generator", 0, 5.0)) for name in names]
        first, (zero,) = version_of(0, b"zero")
        await actor.publish(first, zero.data)
        await asyncio.sleep(0.02)
        assert not any(wait.done() for wait in waits)
        second, (two,) = version_of(2, b"two")
        await actor.publish(second, two.data)
        assert await asyncio.gather(*waits) == [2, 2, 2]
        manifest, (route,) = await actor.pull_newest(0)
        assert (manifest.version, objects[route.refs[0]]) == (2, b"two")
        await actor.add_bucket(3, manifest.buckets[0], b"2>3", 2)
        await actor.publish(dataclasses.replace(manifest, version=3))
        _, (route,) = await actor.pull_newest(0, [2])
        assert (route.base, [objects[ref] for ref in route.refs]) == (2, [b"2>3"])
        assert await actor.pull_newest(3) is None
        last = asyncio.create_task(actor.wait_turn("g0", "generator", 3, 60.0))
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
