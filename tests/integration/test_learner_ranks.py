"""The learner with real DeepSpeed in real Ray actors, on the demo model in float32.

Starting ranks is what costs time, so each group of ranks runs one script (`_run`), whose record the tests
read. Every group trains the same steps from the same weights; only ranks, stage and micro-batches differ.
"""

import os
import signal
import threading
import time
from dataclasses import dataclass, replace

os.environ.update(RAY_ENABLE_UV_RUN_RUNTIME_ENV="0", RAY_AUTH_MODE="disabled")

import numpy as np
import psutil
import pytest
import ray
import torch
from safetensors.torch import load as load_safetensors
from support.learner_probe import (
    GRAD_CLIP,
    MODEL,
    ONE_PASS,
    SMALL_PASSES,
    WriteTo,
    as_leases,
    ask_all_ranks,
    ask_ranks,
    learner_config,
    scored_demo_group,
    start_ranks,
)

from pgpo_async.contracts import LeaseError, ScoredGroup, StageFailed, WeightError
from pgpo_async.learner import checkpoint
from pgpo_async.learner.group import LearnerGroup
from pgpo_async.policy.inputs import Collator
from pgpo_async.policy.loading import load_policy, load_processor

pytestmark = pytest.mark.timeout(900)

METHODS = ("vppo", "tor", "papo")
"""Two that see the whole step, one with a second pass; each trains the last batch once more."""


@dataclass
class Record:
    metrics: list
    gradients: list
    published: dict
    weights_at_publish: dict
    weights_before_nan: dict
    weights_after_nan: dict
    nan_metrics: dict
    final_weights: dict
    by_method: dict


@pytest.fixture(scope="module")
def cluster():
    torch.set_num_threads(1)
    ray.init(num_cpus=4, include_dashboard=False, object_store_memory=200 << 20, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def batches(cluster):
    """Payloads of each step: mixed images and text; one with and one without image; mixed again."""
    policy, processor = load_policy(MODEL, dtype="float32"), load_processor(MODEL)
    collator = Collator(processor, policy.config)
    with_image = [True, False, True, True, False, True]
    made = [scored_demo_group(i, image, policy, processor, collator) for i, image in enumerate(with_image)]
    return [made[:3], made[3:5], made[1:6]]


def _with_nan(groups):
    spoiled = groups[-1]
    rows = [row.copy() for row in spoiled.token_weights]
    rows[0][0] = np.nan
    fields = {name: getattr(spoiled, name) for name in ScoredGroup.__slots__}
    return [*groups[:-1], ScoredGroup(**{**fields, "token_weights": tuple(rows)})]


def _run(group, batches, folder, *, small_passes, with_nan):
    metrics, gradients, nan_metrics, before, after = [], [], {}, {}, {}
    for step, groups in enumerate(batches):
        ask_ranks(group, "set_budget", SMALL_PASSES if small_passes and step >= 1 else ONE_PASS)
        if step == 2 and with_nan:
            before = ask_ranks(group, "weights")
            nan_metrics = group.train_step(as_leases(_with_nan(groups)), step)
            after = ask_ranks(group, "weights")
        metrics.append(group.train_step(as_leases(groups), step))
        gradients.append(ask_ranks(group, "gradients"))
        if step == 1:
            group.publish(2)
            at_publish = ask_ranks(group, "weights")
    assert group.flush(30.0) == 2
    final_weights = ask_ranks(group, "weights")
    by_method = {}
    for method in METHODS:
        ask_ranks(group, "set_shaper", method)
        trained = group.train_step(as_leases(batches[-1]), 2)
        by_method[method] = trained, ask_ranks(group, "gradients")
    ask_ranks(group, "set_shaper", "pgpo")
    return Record(
        metrics=metrics,
        gradients=gradients,
        published=_published(folder / "2"),
        weights_at_publish=at_publish,
        weights_before_nan=before,
        weights_after_nan=after,
        nan_metrics=nan_metrics,
        final_weights=final_weights,
        by_method=by_method,
    )


def _published(home):
    tensors = {}
    for path in sorted(home.iterdir()):
        tensors.update(load_safetensors(path.read_bytes()))
    return tensors


@pytest.fixture(scope="module")
def reference(cluster, batches, tmp_path_factory):
    """One rank, one micro-batch a step, no NaN on the way; in the end a stopped process."""
    folder = tmp_path_factory.mktemp("published")
    group = start_ranks(learner_config(1, 1), folder)
    yield _run(group, batches, folder, small_passes=False, with_nan=False), group
    group.kill()


class Pair:
    """Two ranks, made once: starting them takes longer than a test, and another run can go on with them."""

    def __init__(self):
        self.group = None

    def begin(self, config, folder):
        if self.group is None or not self.group._workers:
            self.group = start_ranks(config, folder)
        else:
            self.group.renew(config, WriteTo(str(folder)))
        return self.group


@pytest.fixture(scope="module")
def pair(cluster):
    pair = Pair()
    yield pair
    if pair.group is not None:
        pair.group.shutdown()


@pytest.fixture(scope="module", params=[1, 2, 3], ids=["zero1", "zero2", "zero3"])
def two_ranks(request, pair, batches, tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    group = pair.begin(learner_config(2, request.param), folder)
    return _run(group, batches, folder, small_passes=True, with_nan=True), group


def _assert_close(found, expected, *, relative=1e-5):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        error = (found[name] - value).norm() / value.norm().clamp(min=1e-12)
        assert error < relative or (found[name] - value).abs().max() < 1e-9, f"{name} differs by {error:.1e}"


def test_loss_and_gradients_do_not_depend_on_ranks_or_micro_batches(two_ranks, reference):
    found, expected = two_ranks[0], reference[0]
    assert [m["num_micro_batches"] for m in expected.metrics] == [1, 1, 1]
    # Step 1 gives one rank an image and the other none, step 2 gives them three groups and two.
    assert all(m["num_micro_batches"] > 1 for m in found.metrics[1:])
    for mine, whole in zip(found.metrics, expected.metrics, strict=True):
        times = {name for name in mine if name.endswith("_s")}
        for name in set(mine) - times - {"num_micro_batches"}:
            assert mine[name] == pytest.approx(whole[name], rel=1e-5, abs=1e-7), name
    for mine, whole in zip(found.gradients, expected.gradients, strict=True):
        difference = torch.cat([(mine[name] - value).flatten() for name, value in whole.items()])
        assert difference.norm() / torch.cat([v.flatten() for v in whole.values()]).norm() < 1e-5
        # A single small tensor may be a little further off: the weights of later steps differ by rounding.
        _assert_close(mine, whole, relative=2e-5)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_gives_the_same_numbers_whatever_the_ranks_and_micro_batches(
    two_ranks, reference, method
):
    (found, gradients), (expected, whole) = (r[0].by_method[method] for r in (two_ranks, reference))
    assert expected["num_micro_batches"] == 1 < found["num_micro_batches"]
    assert expected["grad_norm"] > 0
    names = {name for name in found if not name.endswith("_s")} - {"num_micro_batches"}
    assert ("shaper/weight_max" in names) == (method != "papo")
    for name in names:
        assert found[name] == pytest.approx(expected[name], rel=2e-5, abs=1e-7), name
    _assert_close(gradients, whole, relative=3e-5)


def test_parameters_are_equal_at_every_zero_stage(two_ranks, reference):
    found, expected = two_ranks[0], reference[0]
    norms = [m["grad_norm"] for m in expected.metrics]
    assert max(norms) > GRAD_CLIP, f"clipping must have had work to do, norms were {norms}"
    moved = [name for name, value in expected.final_weights.items() if name.startswith("model.visual")]
    assert moved
    for name in moved:
        assert expected.gradients[0][name].norm() > 0, f"{name} must be trained"
    _assert_close(found.final_weights, expected.final_weights)


def test_published_weights_are_the_engines_at_that_step(two_ranks):
    record = two_ranks[0]
    assert record.published.keys() == record.weights_at_publish.keys()
    for name, value in record.weights_at_publish.items():
        assert torch.equal(record.published[name], value), name
    changed = [n for n, v in record.final_weights.items() if not torch.equal(v, record.published[n])]
    assert changed, "the step after publication must not reach the published copy"


def test_a_nan_on_one_rank_skips_the_step_on_all(two_ranks):
    record = two_ranks[0]
    assert record.nan_metrics["skipped_step"] == 1
    assert np.isnan(record.nan_metrics["loss"])
    for name, value in record.weights_before_nan.items():
        assert torch.equal(record.weights_after_nan[name], value), name
    assert [m["skipped_step"] for m in record.metrics] == [0, 0, 0]


def test_a_group_that_cannot_be_read_drops_the_step_and_leaves_the_ranks_working(two_ranks, batches):
    group = two_ranks[1]
    before = ask_ranks(group, "weights")
    leases = as_leases(batches[0])
    leases[-1].ref = leases[-1].ref[:100] if isinstance(leases[-1].ref, bytes) else b"torn"
    with pytest.raises(LeaseError, match=r"rank \d: ValueError: not an encoded group"):
        group.train_step(leases, 3)
    after = ask_ranks(group, "weights")
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_a_version_that_is_not_new_is_refused_and_the_ranks_live_on(two_ranks):
    group = two_ranks[1]
    with pytest.raises(WeightError, match="version must be above the last submitted, 2, got 2"):
        group.publish(2)
    group.publish(3)
    assert group.flush(30.0) == 3
    assert [line.split(" (")[0] for line in group.status(30.0)] == [f"rank {i} is at: idle" for i in range(2)]


def test_a_run_goes_on_from_its_checkpoint_as_if_it_had_never_stopped(two_ranks, batches, tmp_path):
    group: LearnerGroup = two_ranks[1]
    config = group._config
    folder = str(tmp_path / "checkpoints")
    assert group.load(folder) is None
    about = {"version": 8, "state": {"drawn": [1, 2]}, "value": 0.5}
    assert group.save(folder, "step-3", 3, **about) == ()
    draws = ask_all_ranks(group, "draws")
    with pytest.raises(ValueError, match="tag must be new"):
        group.save(folder, "step-3", 3, **about)
    export = tmp_path / "export"
    group.export_hf(str(export))
    saved = ask_ranks(group, "weights")
    expected = group.train_step(as_leases(batches[0]), 3)
    expected_weights = ask_ranks(group, "weights")

    exported = dict(load_policy(str(export), dtype="float32").hf_named_parameters())
    assert all(torch.equal(exported[name], value) for name, value in saved.items())
    assert load_processor(str(export)).image_processor is not None

    # At stage 2, whose files are as stage 1's, the same ranks go back: starting others takes long.
    other = group if config.learner.zero_stage == 2 else start_ranks(config, tmp_path)
    try:
        _tamper_and_refuse(other, tmp_path / "checkpoints")
        loaded = other.load(folder)
        assert (loaded.tag, loaded.step, loaded.version, loaded.value) == ("step-3", 3, 8, 0.5)
        assert checkpoint.read_state(tmp_path / "checkpoints", loaded.tag) == about["state"]
        assert ask_all_ranks(other, "draws") == draws
        ask_ranks(other, "set_budget", SMALL_PASSES)
        metrics = other.train_step(as_leases(batches[0]), 3)
        assert metrics["loss"] == expected["loss"]
        assert metrics["grad_norm"] == expected["grad_norm"]
        found = ask_ranks(other, "weights")
        assert all(torch.equal(found[name], value) for name, value in expected_weights.items())
        if other is not group:
            _kill_one_rank_in_a_step(other, batches)
    finally:
        if other is not group:
            other.kill()


def _tamper_and_refuse(group, folder):
    victim = sorted((folder / "step-3").glob("*optim_states.pt"))[1]
    data = victim.read_bytes()
    victim.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(WeightError, match="does not match its checksum"):
        group.load(str(folder))
    victim.write_bytes(data)


def _kill_one_rank_in_a_step(group, batches):
    pids = [ray.get(worker.status.remote(), timeout=10)["pid"] for worker in group._workers]
    leases = as_leases(batches[0] * 20)
    started_s = time.monotonic()
    ray.get(group._workers[1].set_budget.remote(100), timeout=10)  # keeps the other rank busy for long
    signal_at = _kill_later(pids[1])
    with pytest.raises(StageFailed, match="rank 1"):
        group.train_step(leases, 4)
    signal_at.join()
    assert time.monotonic() - started_s < 20
    with pytest.raises(StageFailed, match="ended"):
        group.train_step(leases, 4)
    assert _gone(pids), "the other ranks must not stay behind"


def _kill_later(pid):
    thread = threading.Timer(0.5, os.kill, (pid, signal.SIGKILL))
    thread.start()
    return thread


def _gone(pids, within_s=15.0):
    psutil.wait_procs([psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)], within_s)
    return all(not psutil.pid_exists(pid) for pid in pids)


def test_a_stopped_rank_fails_the_step_after_its_time_limit(reference, batches):
    group = reference[1]
    pid = ray.get(group._workers[0].status.remote(), timeout=10)["pid"]
    group._timeout_s = 2.0
    os.kill(pid, signal.SIGSTOP)
    started_s = time.monotonic()
    with pytest.raises(StageFailed, match=r"longer than 2 s: rank 0 does not answer") as failure:
        group.train_step(as_leases(batches[0]), 3)
    assert time.monotonic() - started_s < 10
    assert failure.value.role == "learner"
    assert _gone([pid])


def test_an_image_that_breaks_in_the_step_ends_it_on_all_ranks_with_the_reason(pair, batches, tmp_path):
    group = pair.begin(learner_config(2, 1), tmp_path)
    torn = _with_image(batches[0][0], batches[0][0].group.prompt.images[0][:-40])
    with pytest.raises(StageFailed, match="must be decodable"):
        group.train_step(as_leases([torn, *batches[0][1:]]), 0)


def _with_image(scored, image):
    """A group whose image has a good header: only the decoding, in the step, finds it torn."""
    prompt = replace(scored.group.prompt, images=(image,))
    fields = {name: getattr(scored, name) for name in ScoredGroup.__slots__}
    return ScoredGroup(**{**fields, "group": replace(scored.group, prompt=prompt)})
