"""A follower stages before its turn, loads in it, and says what it serves; without Ray, without an engine."""

import asyncio
import contextlib

import pytest

from pgpo_async.actors import weight_follower
from pgpo_async.actors.store_actor import StoreActor
from pgpo_async.actors.weight_follower import WeightFollower
from pgpo_async.config.pipeline import WeightsConfig
from pgpo_async.contracts import WeightError, WeightManifest, WeightVersion
from pgpo_async.metrics.spans import Spans


class Remote:
    """An actor's handle: calls go to the object itself, as tasks."""

    def __init__(self, target):
        self._target = target

    def __getattr__(self, name):
        method = getattr(self._target, name)

        class Method:
            @staticmethod
            def remote(*args):
                return asyncio.ensure_future(method(*args))

        return Method


class Engine:
    """Notes when it loads."""

    def __init__(self, name, log, seconds=0.05):
        self.name, self.log, self.seconds, self.version = name, log, seconds, 0

    async def load_weights(self, _folder, version):
        self.log.append((self.name, "begin", version))
        await asyncio.sleep(self.seconds)
        self.version = version
        self.log.append((self.name, "end", version))
        return self.seconds


class Staging:
    @contextlib.contextmanager
    def reading(self, folder):
        yield folder


class Stager:
    """Stages whatever the store has newest, and notes it; `fails` times nothing comes of it."""

    def __init__(self, name, store, log, fails=0):
        self.name, self.store, self.log, self.fails = name, store, log, fails

    def stage(self, _than):
        if self.fails:
            self.fails -= 1
            self.log.append((self.name, "failed", None))
            return None
        version = self.store._weights.latest
        self.log.append((self.name, "staged", version))
        manifest = WeightManifest(version=version, buckets=())
        return WeightVersion(version=version, folder=f"v{version}", manifest=manifest)


@pytest.fixture
def scene(monkeypatch):
    log = []
    store = StoreActor(WeightsConfig(), store=object())
    monkeypatch.setattr(weight_follower, "Stager", lambda name, *_: Stager(name, store, log))

    async def nothing():
        log.append((None, "cancelled over age", None))

    def make(name, **engine):
        return WeightFollower(
            name,
            Engine(name, log, **engine),
            store=Remote(store),
            staging=Staging(),
            weights=WeightsConfig(load_timeout_s=0.5),
            spans=Spans(False),
            before_update=nothing,
        )

    return store, log, make


async def publish(store, version):
    await store.publish(WeightManifest(version=version, buckets=()))


def test_all_stage_at_once_and_load_one_after_another(scene):
    store, log, make = scene

    async def scenario():
        followers = [make(name) for name in ("g0", "g1", "g2")]
        tasks = [asyncio.create_task(follower.follow()) for follower in followers]
        await asyncio.sleep(0.02)
        await publish(store, 1)
        assert all([await follower.reach(1, 5.0) for follower in followers])
        await asyncio.sleep(0.02)
        assert await store.served() == {"g0": 1, "g1": 1, "g2": 1}
        for follower, task in zip(followers, tasks, strict=True):
            await follower.stop(task)

    asyncio.run(asyncio.wait_for(scenario(), 20))
    assert [event for _, event, _ in log if event == "staged"] == ["staged"] * 3
    loading = [(name, event) for name, event, _ in log if event in ("begin", "end")]
    assert [event for _, event in loading] == ["begin", "end"] * 3, "never two at once"
    assert max(i for i, (_, event, _) in enumerate(log) if event == "staged") < log.index(
        (*loading[2][:2], 1)
    ), "who waits for its turn has staged meanwhile"


def test_a_staging_that_fails_is_tried_again(scene, monkeypatch):
    store, log, make = scene
    monkeypatch.setattr(weight_follower, "Stager", lambda name, *_: Stager(name, store, log, fails=2))

    async def scenario():
        follower = make("g0")
        task = asyncio.create_task(follower.follow())
        await publish(store, 1)
        assert await follower.reach(1, 5.0)
        await follower.stop(task)

    asyncio.run(asyncio.wait_for(scenario(), 20))
    assert [event for _, event, _ in log][:3] == ["failed", "failed", "staged"]


def test_an_engine_that_does_not_end_loading_ends_the_generator_and_frees_the_turn(scene):
    store, _, make = scene

    async def scenario():
        stuck, other = make("g0", seconds=60.0), make("g1")
        task = asyncio.create_task(stuck.follow())
        await publish(store, 1)
        await asyncio.sleep(0.05)
        waiting = asyncio.create_task(other.follow())
        with pytest.raises(WeightError, match=r"weights.load_timeout_s, got no end after"):
            await task
        assert await other.reach(1, 5.0), "its turn is free again"
        await other.stop(waiting)

    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_a_version_loaded_out_of_turn_is_not_loaded_again(scene):
    store, log, make = scene

    async def scenario():
        follower = make("g0")
        await publish(store, 3)
        await follower.load_newest()
        task = asyncio.create_task(follower.follow())
        assert not await follower.reach(4, 0.1)
        await follower.stop(task)

    asyncio.run(asyncio.wait_for(scenario(), 20))
    assert [event for _, event, _ in log] == ["staged", "cancelled over age", "begin", "end"]
