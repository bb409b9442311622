"""Resuming from checkpoints of another number of ranks, on the demo model, with real DeepSpeed in Ray actors.

One rank and two are started once: another stage or precision is another run of theirs. Each way round, the
one group goes on from the other's checkpoint with the same batches, and must find the same losses.
"""

import os
from dataclasses import dataclass

os.environ.update(RAY_ENABLE_UV_RUN_RUNTIME_ENV="0", RAY_AUTH_MODE="disabled")

import pytest
import ray
import torch
from support.learner_probe import (
    MODEL,
    WriteTo,
    as_leases,
    ask_ranks,
    learner_config,
    scored_demo_group,
    start_ranks,
)

from pgpo_async.contracts import WeightError
from pgpo_async.learner import checkpoint, mirror
from pgpo_async.learner.group import LearnerGroup
from pgpo_async.policy.inputs import Collator
from pgpo_async.policy.loading import load_policy, load_processor

pytestmark = pytest.mark.timeout(600)

ABOUT = {"version": 7, "state": {}, "value": None}


@dataclass
class Groups:
    """The same learner on one rank and on two."""

    one: LearnerGroup
    two: LearnerGroup


@pytest.fixture(scope="module")
def groups(tmp_path_factory):
    torch.set_num_threads(1)
    ray.init(num_cpus=4, include_dashboard=False, object_store_memory=200 << 20, log_to_driver=False)
    folder = tmp_path_factory.mktemp("published")
    one, two = (start_ranks(learner_config(ranks, 1), folder / str(ranks)) for ranks in (1, 2))
    yield Groups(one, two)
    for group in (one, two):
        group.kill()
    ray.shutdown()


@pytest.fixture(scope="module")
def batches(groups):
    policy, processor = load_policy(MODEL, dtype="float32"), load_processor(MODEL)
    collator = Collator(processor, policy.config)
    made = [scored_demo_group(i, i % 3 != 1, policy, processor, collator) for i in range(6)]
    return [made[:3], made[3:], made[1:4], made[2:5], made[::2]]


def begin(group, folder, stage, dtype="float32", **train):
    """A fresh model on the same ranks."""
    ranks = len(group._workers)
    group.renew(learner_config(ranks, stage, dtype, **train), WriteTo(str(folder / f"published-{ranks}")))


def train(group, batches, steps):
    found = [group.train_step(as_leases(batches[step % len(batches)]), step) for step in steps]
    return [metrics[name] for metrics in found for name in ("loss", "grad_norm")]


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


# What is loaded is equal to the last bit at every stage and in both precisions; what is then computed from it
# can only be compared in float32, since ranks cut a step into other sums.
@pytest.mark.parametrize(
    ("stage", "dtype"), [(1, "float32"), (2, "float32"), (3, "float32"), (3, "bfloat16")]
)
def test_one_rank_goes_on_from_two_and_two_from_one(groups, batches, tmp_path, stage, dtype):
    first, second = tmp_path / "by two (c++)", tmp_path / "by-one"
    begin(groups.one, tmp_path, stage, dtype)
    begin(groups.two, tmp_path, stage, dtype)
    train(groups.two, batches, [0, 1])
    groups.two.save(str(first), "step-2", 2, **ABOUT)
    saved = ask_ranks(groups.two, "training_state")
    expected = train(groups.two, batches, [2, 3])

    loaded = groups.one.load(str(first))
    assert (loaded.step, loaded.version, loaded.world_size) == (2, 7, 2)
    assert_equal(ask_ranks(groups.one, "training_state"), saved)
    found = train(groups.one, batches, [2, 3])
    if dtype == "float32":
        assert found == pytest.approx(expected, rel=1e-5)

    groups.one.save(str(second), "step-4", 4, **ABOUT)
    saved = ask_ranks(groups.one, "training_state")
    expected = train(groups.one, batches, [4, 5])
    begin(groups.two, tmp_path, stage, dtype)
    assert groups.two.load(str(second)).world_size == 1
    assert_equal(ask_ranks(groups.two, "training_state"), saved)
    found = train(groups.two, batches, [4, 5])
    if dtype == "float32":
        assert found == pytest.approx(expected, rel=1e-5)
    left = {path.name for folder in (first, second) for path in folder.iterdir() if path.is_dir()}
    assert left == {"step-2", "step-4"}, "nothing is left of the conversions"


def test_a_broken_newest_checkpoint_is_passed_over_a_broken_one_asked_for_is_not(groups, batches, tmp_path):
    group, folder = groups.one, tmp_path / "checkpoints"
    begin(group, tmp_path, 2, keep_checkpoints=3)
    group.save(str(folder), "step-0", 0, **ABOUT)
    train(group, batches, [0])
    group.save(str(folder), "step-1", 1, **ABOUT)
    expected = train(group, batches, [1])
    group.save(str(folder), "step-2", 2, **ABOUT)
    victim = next((folder / "step-2").glob("*optim_states.pt"))
    data = victim.read_bytes()
    victim.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))

    with pytest.raises(WeightError, match="does not match its checksum"):
        group.load(str(folder), "step-2")
    loaded = group.load(str(folder))
    assert loaded.tag == "step-1"
    (reason,) = loaded.skipped
    assert victim.name in reason
    assert train(group, batches, [1]) == expected
    # The run gets there again, under the same tag.
    group.save(str(folder), "step-2", 2, **ABOUT)
    assert group.load(str(folder)).skipped == ()
    begin(group, tmp_path, 1)
    with pytest.raises(WeightError, match="must be of ZeRO stage 1, got 2"):
        group.load(str(folder))


def test_a_run_goes_on_from_the_copy_behind_a_url(groups, batches, tmp_path):
    url = f"file://{tmp_path}/remote"
    begin(groups.one, tmp_path, 1, checkpoint_url=url, keep_checkpoints=1, keep_best=1)
    for step, value in enumerate([0.9, 0.1, 0.2]):
        train(groups.one, batches, [step])
        about = {**ABOUT, "state": {"drawn": step}, "value": value}
        assert groups.one.save(str(tmp_path / "here"), f"step-{step + 1}", step + 1, **about) == ()
        assert groups.one.finish_uploads(30.0) == ()
    expected = train(groups.one, batches, [3])
    for folder in (tmp_path / "here", tmp_path / "remote"):
        assert sorted(p.name for p in folder.iterdir() if p.is_dir()) == ["step-1", "step-3"]
    newest = mirror.latest_remote(url)
    mirror.download(url, newest.tag, tmp_path / "there")
    assert groups.one.load(str(tmp_path / "there")) == newest
    assert checkpoint.read_state(tmp_path / "there", newest.tag) == {"drawn": 2}
    assert train(groups.one, batches, [3]) == expected


def test_a_url_that_does_not_answer_stops_nothing_and_is_told_at_the_next_save(groups, batches, tmp_path):
    (tmp_path / "remote").write_text("a file where a folder must be")
    begin(groups.one, tmp_path, 1, checkpoint_url=f"file://{tmp_path}/remote")
    here = str(tmp_path / "here")
    assert groups.one.save(here, "step-1", 1, **ABOUT) == ()
    (problem,) = groups.one.finish_uploads(30.0)
    assert "checkpoint step-1 could not be uploaded" in problem
    train(groups.one, batches, [0])
    groups.one.save(here, "step-2", 2, **ABOUT)
