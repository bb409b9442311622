"""The whole pipeline on one machine: real Ray, vLLM, DeepSpeed, and the shipped tiny Qwen2.5-VL.

Its tests share a cluster with one vLLM engine and go in file order: the engine
as it starts, the loop, then what updates in flight must not break. Two learner ranks; a prompt file with
every kind of unusable row; a reward function that sometimes raises and sometimes never returns.
"""

import json
import threading
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import ray
import torch
from rich.console import Console

from pgpo_async.actors.engine import Sampling
from pgpo_async.actors.process_mark import RUN_ID_VARIABLE
from pgpo_async.actors.store_client import StorePublish
from pgpo_async.algorithms.off_policy import mismatch_kl
from pgpo_async.config import load_config
from pgpo_async.contracts import BucketPayload, Prompt
from pgpo_async.data.sources import open_source
from pgpo_async.demo.shapes import shapes_example
from pgpo_async.orchestration.cluster import Cluster
from pgpo_async.orchestration.leftovers import processes_of
from pgpo_async.orchestration.roll_call import statuses
from pgpo_async.orchestration.run_folder import RunFolder
from pgpo_async.orchestration.run_loop import RunLoop
from pgpo_async.orchestration.telemetry import Telemetry
from pgpo_async.policy.loading import load_policy
from pgpo_async.policy.weight_files import write_buckets

NUM_STEPS = 12
GROUPS_PER_STEP = 8
REWARD = """
import time
from pgpo_async.rewards.verifier import Verifier

verifier = Verifier(0.9, 0.1)

def reward(response, prompt):
    if prompt.index % 40 == 13:
        raise RuntimeError("a reward function that raises")
    if prompt.index % 40 == 27:
        time.sleep(3600)
    return verifier.score([response], prompt)[0].parts
"""


def write_prompts(folder: Path) -> Path:
    """Shapes prompts as JSONL, with one row in ten unusable: corrupt, too long, or without an answer."""
    rows = []
    for i in range(200):
        example = shapes_example("train", 0, i)
        (folder / f"{i}.png").write_bytes(b"not an image" if i % 30 == 7 else example.image_png)
        problem = example.question * (60 if i % 30 == 17 else 1)
        answer = None if i % 30 == 27 else example.answer
        rows.append({"images": [f"{i}.png"], "problem": problem, "answer": answer})
    path = folder / "prompts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def mixed_prompts(num: int) -> list[Prompt]:
    """One image, none, and two: held-out prompts of several lengths."""
    prompts = []
    for i in range(num):
        example, other = shapes_example("heldout", 5, i), shapes_example("heldout", 6, i)
        images = [(example.image_png,), (), (example.image_png, other.image_png)][i % 3]
        question = example.question if i % 3 < 2 else f"<image>{example.question}<image>"
        prompts.append(
            Prompt(prompt_id=f"mixed-{i}", question=question, answer=example.answer, images=images)
        )
    return prompts


@pytest.fixture(scope="module")
def loop(tmp_path_factory, local_ray_environment):
    folder = tmp_path_factory.mktemp("loop")
    (folder / "reward.py").write_text(REWARD)
    overrides = [
        f"output_dir={folder / 'runs'}",
        f"data.source={write_prompts(folder)}",
        f"reward.function={folder / 'reward.py'}:reward",
        "reward.timeout_s=3",
        "model.max_images_per_prompt=2",
        "learner.replicas=2",
        "learner.zero_stage=2",
        f"train.num_steps={NUM_STEPS}",
        f"train.groups_per_step={GROUPS_PER_STEP}",
        "generator.prompts_in_flight=24",
        "trace=true",
    ]
    config = load_config("configs/local.yaml", overrides)
    assert config.algorithm.shaper.name == "pgpo"
    run_folder = RunFolder(config)
    cluster = Cluster(config, run_folder.run_id)
    try:
        cluster.start(print)
        yield LoopFixture(config, run_folder, cluster, overrides)
    finally:
        left_behind = cluster.stop()
        assert left_behind == [], left_behind


class LoopFixture:
    """The running cluster and what several tests ask of it."""

    def __init__(self, config, run_folder, cluster, overrides):
        self.config = config
        self.overrides = overrides
        self.run_folder = run_folder
        self.cluster = cluster
        self.generator = cluster.generators[0]
        self.scorer = cluster.scorers[0]
        self.pids = {status["pid"] for status in statuses(cluster.working())}
        self.policy = load_policy(config.model.path, dtype="float32")
        # What a fresh engine answers with the shipped weights, to hold later updates against.
        self.fresh = self.answer(mixed_prompts(12), version=0, temperature=0.0)

    def answer(self, prompts, *, version, temperature, num_samples=1):
        sampling = Sampling(num_samples=num_samples, temperature=temperature, top_p=1.0, max_tokens=32)
        call = self.generator.answer.remote(prompts, sampling, version=version, rewarded=False)
        groups, failures = ray.get(call, timeout=120)
        assert failures == []
        return sorted(groups, key=lambda group: int(group.prompt.prompt_id.split("-")[1]))

    def publish(self, version, weights):
        manifest, files = write_buckets(version, weights.items(), 400_000)
        StorePublish(self.cluster.store, 60.0)(manifest, [BucketPayload(data=data) for data in files])
        return manifest

    def load(self, version):
        ray.get(self.generator.load_version.remote(version), timeout=60)

    def disturbed(self, names, seed):
        """The shipped weights with some tensors changed a lot."""
        generator = torch.Generator().manual_seed(seed)
        return {
            name: tensor + torch.randn(tensor.shape, generator=generator) * tensor.std()
            if names in name and tensor.ndim > 1
            else tensor.clone()
            for name, tensor in self.policy.hf_state_dict().items()
        }

    def mismatch(self, groups):
        """Mean k3 between vLLM's log-probs and the sighted ones of the scorer at its newest weights."""
        ray.get(self.scorer.load_newest.remote(), timeout=60)
        scored = ray.get(self.scorer.score.remote(groups), timeout=120)
        behaviour = [r.behaviour_logprobs for g in groups for r in g.rollouts]
        proximal = [row for s in scored for row in s.proximal_logprobs]
        flat = [torch.from_numpy(np.concatenate(rows))[None] for rows in (behaviour, proximal)]
        return float(mismatch_kl(*flat, torch.ones_like(flat[0], dtype=torch.bool)))


def answers(groups):
    return [[r.response_token_ids.tolist() for r in g.rollouts] for g in groups]


def test_vllm_and_the_scorer_agree_on_every_token_at_lag_0(loop):
    groups = loop.answer(mixed_prompts(24), version=0, temperature=1.0, num_samples=4)
    lengths = {len(r.response_token_ids) for g in groups for r in g.rollouts}
    assert sum(len(g.rollouts) for g in groups) >= 64
    assert len(lengths) > 3, "mixed lengths"
    assert len({len(g.prompt.images) for g in groups}) == 3
    assert loop.mismatch(groups) < 1e-4


def test_a_run_trains_in_flight_within_its_lag_and_accounts_for_every_prompt(loop):
    train = loop.config.train
    telemetry = Telemetry(loop.config, loop.run_folder, loop.cluster, Console())
    run = RunLoop(loop.config, loop.cluster, loop.run_folder, telemetry, lambda: False)
    run.run()
    loop.cluster.learner.flush(60.0)
    assert run.steps_done == NUM_STEPS

    stats = ray.get(loop.cluster.queue.stats.remote(), timeout=30)
    assert stats.accounting.balanced
    assert stats.accounting.trained == NUM_STEPS * GROUPS_PER_STEP
    assert sum(stats.lag_histogram.values()) == stats.accounting.trained
    assert 0 < max(stats.lag_histogram) <= train.max_lag
    assert stats.mixed_rollouts_trained > 0, "some rollouts carry two versions"
    (status,) = (s for s in statuses(loop.cluster.working()) if s["name"] == "generator-0")
    assert status["num_updates"] >= 5

    steps = [json.loads(line) for line in (loop.run_folder.path / "metrics.jsonl").read_text().splitlines()]
    assert [step["step"] for step in steps] == list(range(1, NUM_STEPS + 1))
    assert all(np.isfinite(step["learner/loss"]) and step["learner/grad_norm"] > 0 for step in steps)
    assert all(step["learner/weight_mean"] == pytest.approx(1.0, abs=1e-5) for step in steps), "mass"
    pids = {s["pid"] for s in statuses(loop.cluster.working())}
    assert len(pids) == 2, "generator and scorer are processes of their own"

    telemetry.tracing.collect(loop.cluster)
    telemetry.tracing.close()
    events = json.loads(loop.run_folder.timeline.read_text())
    actors = {e["pid"]: e["args"]["name"] for e in events if e["name"] == "process_name"}
    seen = {(actors[e["pid"]], e["name"]) for e in events if e["ph"] == "X"}
    assert {
        ("driver", "wait for a batch"),
        ("driver", "train"),
        ("generator-0", "generate"),
        ("generator-0", "update pause"),
        ("scorer-0", "score"),
        ("learner-0", "step"),
        ("learner-1", "step"),
        ("learner-0", "snapshot"),
        ("learner-0", "publish"),
    } <= seen


def test_whatever_cannot_be_used_is_quarantined_with_its_reason_and_stops_nothing(loop):
    loop.run_folder.close()
    records = pq.read_table(loop.run_folder.path / "quarantine.parquet").to_pylist()
    reasons = {record["reason"] for record in records}
    assert {"corrupt_image", "prompt_too_long", "missing_answer", "reward_error", "reward_timeout"} <= reasons
    errors = {record["reason"]: record["error"] for record in records}
    assert "256" in errors["prompt_too_long"]
    assert "data.max_prompt_tokens" in errors["prompt_too_long"]
    assert "a reward function that raises" in errors["reward_error"]
    stages = {record["reason"]: record["stage"] for record in records}
    assert {stages[reason] for reason in ("corrupt_image", "missing_answer")} == {"read"}
    assert (stages["prompt_too_long"], stages["reward_timeout"]) == ("generate", "reward")
    assert all(record["question"] for record in records), "with their input"
    assert all(record["images"] for record in records if record["reason"].startswith("reward_"))
    stats = ray.get(loop.cluster.queue.stats.remote(), timeout=30)
    assert sum(stats.accounting.quarantined_by_reason.values()) == stats.accounting.quarantined
    assert stats.accounting.quarantined == len(records)


def test_after_the_run_the_engine_holds_the_learners_weights_to_the_bit(loop):
    loop.load(NUM_STEPS)
    manifest, _ = ray.get(loop.cluster.store.pull.remote(NUM_STEPS), timeout=30)
    folder = Path("/dev/shm") / f"pgpo_async-{loop.run_folder.run_id}" / f"v{NUM_STEPS:08d}"
    held = ray.get(loop.generator.weight_checksums.remote(str(folder)), timeout=60)
    assert held == manifest.tensor_checksums()
    trained = loop.policy.hf_state_dict()
    assert set(held) == set(trained)
    assert loop.mismatch(loop.answer(mixed_prompts(6), version=NUM_STEPS, temperature=1.0)) < 1e-4


def test_greedy_answers_after_updates_in_flight_are_those_of_a_fresh_engine(loop):
    loop.publish(100, loop.disturbed("language_model.layers", seed=1))
    during = []
    asking = threading.Thread(
        target=lambda: during.extend(
            loop.answer(mixed_prompts(48), version=0, temperature=1.0, num_samples=8)
        )
    )
    asking.start()
    loop.load(100)
    asking.join()
    changed = loop.answer(mixed_prompts(12), version=100, temperature=0.0)
    assert answers(changed) != answers(loop.fresh), "the disturbed weights answer otherwise"

    loop.publish(101, loop.policy.hf_state_dict())
    restored = loop.answer(mixed_prompts(12), version=101, temperature=0.0)
    assert answers(restored) == answers(loop.fresh)
    for group, fresh in zip(restored, loop.fresh, strict=True):
        for now, then in zip(group.rollouts, fresh.rollouts, strict=True):
            np.testing.assert_allclose(now.behaviour_logprobs, then.behaviour_logprobs, atol=1e-5)


def test_an_image_asked_before_and_after_an_update_gives_the_new_weights_embedding(loop):
    prompts = [prompt for prompt in mixed_prompts(12) if prompt.images]
    loop.answer(prompts, version=101, temperature=0.0)
    loop.publish(102, loop.disturbed("visual", seed=2))
    assert loop.mismatch(loop.answer(prompts, version=102, temperature=1.0)) < 1e-4

    # The same once more with the reset of the caches taken out: the check above can fail.
    ray.get(loop.generator.__ray_call__.remote(take_out_cache_reset), timeout=30)
    loop.publish(103, loop.disturbed("visual", seed=3))
    assert loop.mismatch(loop.answer(prompts, version=103, temperature=1.0)) > 1e-3


def take_out_cache_reset(generator):
    async def nothing(_llm):
        return None

    generator._engine._weights._forget_old_embeddings = nothing


def test_every_role_is_a_process_of_its_own_and_all_are_found_by_the_run_id(loop):
    found = processes_of(loop.run_folder.run_id, RUN_ID_VARIABLE)
    roles = {process.cmdline()[0] for process in found if process.cmdline()}
    for role in ("Generator", "Scorer", "LearnerWorker", "QueueActor", "StoreActor", "RewardWorker"):
        assert any(name.startswith(f"ray::{role}") for name in roles), (role, roles)


OWN_SHAPER = """
from dataclasses import dataclass
from pgpo_async.algorithms.shaping import BaseShaper, Shaped

@dataclass(frozen=True)
class Own(BaseShaper):
    name = "own"
    needs = frozenset({"blind", "hidden_similarity"})
    by: float = 1.0

    def shape(self, signals):
        near = signals.require("similarity_BT", self.name)
        return Shaped(weights_BT=self.by * (1 + near) * signals.mask_BT, metrics={"near": near.mean()})
"""


@pytest.mark.parametrize("method", ["vppo", "papo", "tor", "pepo", "own"])
def test_another_run_on_the_same_processes_begins_with_the_shipped_weights(loop, method, tmp_path):
    cluster = loop.cluster
    ray.get(loop.generator.__ray_call__.remote(bring_cache_reset_back), timeout=30)
    changes = [f"algorithm.shaper.name={method}", "train.num_steps=3", "train.diagnostics_every=1"]
    if method == "pepo":
        changes += ["algorithm.kl_coef=0.01", "algorithm.dependency={estimator: exact, measure: always}"]
    if method == "own":
        (tmp_path / "own.py").write_text(OWN_SHAPER)
        changes[0] = f"algorithm.shaper={{name: '{tmp_path / 'own.py'}:Own', params: {{by: 2.0}}}}"
    config = load_config("configs/local.yaml", [*loop.overrides, *changes, "data.seed=7"])
    assert config.uses_scorers == (method != "papo")
    assert cluster.can_renew(config)
    assert not cluster.can_renew(load_config("configs/local.yaml", [*loop.overrides, "scorer.replicas=2"]))
    folder = RunFolder(config)
    cluster.renew(config, folder.run_id, print)

    again = loop.answer(mixed_prompts(12), version=0, temperature=0.0)
    assert answers(again) == answers(loop.fresh)
    run = RunLoop(config, cluster, folder, Telemetry(config, folder, cluster, Console()), lambda: False)
    run.run()
    cluster.learner.flush(60.0)
    assert run.steps_done == 3
    stats = ray.get(cluster.queue.stats.remote(), timeout=30)
    assert stats.accounting.balanced
    assert stats.accounting.trained == 3 * GROUPS_PER_STEP
    assert {s["pid"] for s in statuses(cluster.working())} <= loop.pids
    steps = [json.loads(line) for line in (folder.path / "metrics.jsonl").read_text().splitlines()]
    assert [step["step"] for step in steps] == [1, 2, 3]
    assert all(step["learner/grad_norm"] > 0 and step["learner/grad_variance"] > 0 for step in steps)
    # Masks and entropies come out of the scorer, the ranks of all tokens out of the learner.
    assert ("learner/shaper/weight_max" in steps[0]) == (method in ("vppo", "tor"))
    assert all((step["learner/dependency_mean"] > 0) == (method in ("vppo", "pepo", "own")) for step in steps)
    # The reference is the model at the start: the policy has left it after a step.
    assert (steps[-1]["learner/reference_kl"] > 1e-6) == (method == "pepo")
    if method == "own":
        assert steps[0]["learner/weight_max"] > 2
    after = loop.answer(mixed_prompts(12), version=3, temperature=0.0)
    logprobs = [
        np.concatenate([r.behaviour_logprobs for g in gs for r in g.rollouts]) for gs in (again, after)
    ]
    assert len(logprobs[0]) != len(logprobs[1]) or np.abs(logprobs[0] - logprobs[1]).max() > 1e-4


def bring_cache_reset_back(generator):
    vars(generator._engine._weights).pop("_forget_old_embeddings", None)


def test_held_out_prompts_are_not_among_the_training_prompts():
    train = {open_source("builtin:shapes", split="train", seed=0).prompt(i).images for i in range(200)}
    held_out = {open_source("builtin:shapes", split="heldout", seed=0).prompt(i).images for i in range(200)}
    assert not train & held_out
