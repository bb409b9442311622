"""Replay queue and weight store as Ray actors: who dies takes nothing with it."""

import os
import signal
import time
import uuid
from pathlib import Path

os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"
os.environ["RAY_AUTH_MODE"] = "disabled"

import numpy as np
import pytest
import ray
import torch

from pgpo_async.actors.queue_actor import QueueActor
from pgpo_async.actors.staging import NodeStaging
from pgpo_async.actors.store_actor import StoreActor
from pgpo_async.actors.store_client import StorePublish, stage_newest
from pgpo_async.config.pipeline import WeightsConfig
from pgpo_async.config.schema import RunConfig
from pgpo_async.config.training import FilterConfig, TrainConfig
from pgpo_async.contracts import LeaseError, Prompt, Rollout, RolloutGroup, VersionSpan, decode, encode
from pgpo_async.learner.publisher import WeightPublisher
from pgpo_async.orchestration.admission import Admission
from pgpo_async.policy.weight_files import read_version, tensor_checksum

TIMEOUT_S = 120.0  # for a busy machine; idle, each call takes milliseconds
torch.set_num_threads(1)


@pytest.fixture(scope="module", autouse=True)
def cluster():
    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=200 << 20, log_to_driver=False)
    yield
    ray.shutdown()


def get(ref):
    return ray.get(ref, timeout=TIMEOUT_S)


class Numbered:
    def prompt(self, index):
        return Prompt(
            prompt_id=f"p{index}",
            question="?",
            answer="!",
            images=(bytes([index % 256]) * 200_000,),
            index=index,
        )


@ray.remote(num_cpus=0)
class Generator:
    """Commits some groups, holds other prompts, and can be killed like a process."""

    def work(self, queue, holder, num_commits, num_held):
        committed = []
        for _ in range(num_commits):
            reservation = get(queue.reserve.remote(holder, 60.0))[0]
            group = group_of(reservation)
            payload = encode(group)
            assert get(queue.commit.remote(group.group_id, holder, payload, group.header())) == "queued"
            committed.append(group.group_id)
        held = [get(queue.reserve.remote(holder, 60.0))[0].group_id for _ in range(num_held)]
        return committed, held, os.getpid()

    def wait_for_a_prompt(self, queue, holder):
        return get(queue.reserve.remote(holder, 60.0))[0]


def group_of(reservation):
    rollouts = tuple(
        Rollout(
            response_token_ids=np.arange(4, dtype=np.int32),
            behaviour_logprobs=np.full(4, -0.5, dtype=np.float32),
            version_spans=(VersionSpan(version=0, start=0, end=4),),
            finish_reason="stop",
            text="x",
            reward=reward,
        )
        for reward in (0.0, 1.0)
    )
    return RolloutGroup(
        group_id=reservation.group_id,
        prompt=reservation.prompt,
        prompt_token_ids=np.arange(9, dtype=np.int32),
        rollouts=rollouts,
    )


def test_a_generator_killed_half_way_loses_no_group_and_no_prompt():
    train = TrainConfig(max_lag=1, groups_per_step=3)
    config = RunConfig(train=train).model_copy(
        update={"algorithm": RunConfig().algorithm.model_copy(update={"filter": FilterConfig(key="reward")})}
    )
    queue = ray.remote(num_cpus=0, max_concurrency=100)(QueueActor).remote(
        config, Admission(1, 3), Numbered()
    )
    doomed = Generator.remote()
    committed, held, pid = get(doomed.work.remote(queue, "gen-0", 3, 3))
    waiting = doomed.wait_for_a_prompt.remote(queue, "gen-0")
    time.sleep(1.0)  # it waits inside the queue, since all six slots are held
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(ray.exceptions.ActorDiedError):
        get(waiting)
    assert get(queue.release_holder.remote("gen-0")) == 3

    leases = get(queue.lease_for_scoring.remote("scorer", 10, 10.0))
    assert [lease.group_id for lease in leases] == committed
    for lease in leases:
        group = decode(get(lease.ref))
        assert group.group_id == lease.group_id
        assert len(group.prompt.images[0]) == 200_000
        assert get(queue.commit_scores.remote(lease.group_id, "scorer", encode(group))) == "queued"

    batch = get(queue.lease_batch.remote("learner", 0, 3, 10.0))
    assert [decode(get(lease.ref)).group_id for lease in batch] == committed
    assert get(queue.finish_step.remote(committed, "learner")).stats.accounting.trained == 3
    with pytest.raises(LeaseError):
        get(queue.finish_step.remote(committed, "learner"))

    again = [get(queue.reserve.remote("gen-1", 60.0))[0] for _ in held]
    assert [(r.group_id, r.attempt) for r in again] == [(group_id, 1) for group_id in held]
    stats = get(queue.stats.remote())
    assert stats.accounting.balanced
    assert (stats.accounting.drawn, stats.accounting.trained, stats.accounting.pending) == (6, 3, 3)
    assert stats.num_bytes == 0
    assert stats.slots_available == 3

    waits = [
        queue.lease_batch.remote("learner", 1, 3, 60.0),
        queue.lease_for_scoring.remote("scorer", 1, 60.0),
    ]
    get(queue.close.remote())
    assert get(waits) == [None, []]
    ray.kill(queue)


@ray.remote(num_cpus=0)
class Publisher:
    def __init__(self, store):
        self._publisher = WeightPublisher(StorePublish(store, TIMEOUT_S), 100_000, full_every=10)

    def publish(self, version):
        self._publisher.submit(version, tensors(version))
        self._publisher.flush(TIMEOUT_S)
        return self._publisher.sent.share

    def die(self):
        os.kill(os.getpid(), signal.SIGKILL)


def tensors(version):
    """Some elements change from version to version."""
    weights = {f"layer.{i}": torch.full((100, 100), 1.0 + i) for i in range(5)}
    weights["layer.3"][:version] = 0.5
    return weights


def test_weights_outlive_their_learner_from_publication_to_the_staged_copy():
    config = WeightsConfig(keep_versions=2)
    store = ray.remote(num_cpus=0, max_concurrency=100)(StoreActor).remote(config)
    learner = Publisher.remote(store)
    assert get(store.wait_turn.remote("generator-0", "generator", -1, 0.1)) is None
    newer = store.wait_turn.remote("generator-0", "generator", 0, TIMEOUT_S)
    run_id = f"test-{uuid.uuid4().hex}"
    staging = NodeStaging(run_id)
    try:
        assert get(learner.publish.remote(0)) == 1.0
        first = stage_newest(store, staging, config, -1)
        shares = [get(learner.publish.remote(version)) for version in (1, 2)]
        assert max(shares) < 0.05, "what changed, not all"
        assert get(newer) in (1, 2)
        learner.die.remote()
        with pytest.raises(ray.exceptions.ActorDiedError):
            get(learner.publish.remote(3))

        _, routes = get(store.pull_newest.remote(0, [0]))
        assert [route.base for route in routes] == [0] * len(routes)
        built = stage_newest(store, staging, config, first.version)
        with NodeStaging(f"{run_id}-other") as other_node:
            fetched = stage_newest(store, other_node, config, -1)
            for staged in (built, fetched):
                assert staged.version == 2
                for name, tensor in read_version(Path(staged.folder), verify=True):
                    assert tensor_checksum(tensor) == tensor_checksum(tensors(2)[name])
            assert other_node.remove()
        assert stage_newest(store, staging, config, 2) is None
    finally:
        assert staging.remove()
    get(store.close.remote())
    ray.kill(store)
