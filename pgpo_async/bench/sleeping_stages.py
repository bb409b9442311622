"""Stages that take their time and do nothing in it: the pipeline around them is the real one.

The actors are the run's own classes, with their queue, admission, leases, weight turns, staging and
publishing; only the model's work is a sleep of a given length (`ServiceTimes`). So orchestration is measured
without the engines' noise, and nothing here may be used to train. Called by `bench overlap` and its tests.
"""

import asyncio
import json
import random
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pgpo_async.actors.engine import RolloutEngine, SampledGroup, Sampling
from pgpo_async.actors.generator import Generator
from pgpo_async.actors.group_maker import GroupMaker
from pgpo_async.actors.scorer import Scorer
from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import (
    Prompt,
    Rollout,
    RolloutGroup,
    ScoredGroup,
    VersionSpan,
    WeightManifest,
)
from pgpo_async.data.chat import ChatPrompt
from pgpo_async.learner import checkpoint
from pgpo_async.learner.checkpoint import CheckpointInfo
from pgpo_async.learner.payloads import fetch
from pgpo_async.learner.publisher import Publish
from pgpo_async.learner.worker import LearnerWorker
from pgpo_async.orchestration.roles import Roles
from pgpo_async.orchestration.service_times import ServiceTimes, draw_s

NUM_TOKENS = 16
PROMPT_TOKENS = tuple(range(8))
WEIGHT_ELEMENTS = 1 << 16
"""Of the only tensor that is published."""
TIMES_FILE = "service_times.json"
"""In the run's output folder, which all actors of a machine can read."""


def write_times(config: RunConfig, times: ServiceTimes) -> None:
    """Say how long the stages of a run take; before its actors are made, or renewed."""
    config.output_path.mkdir(parents=True, exist_ok=True)
    (config.output_path / TIMES_FILE).write_text(json.dumps(asdict(times)))


def _read_times(config: RunConfig) -> ServiceTimes:
    return ServiceTimes(**json.loads((config.output_path / TIMES_FILE).read_text()))


class SleepingEngine(RolloutEngine):
    """Answers after a while; an update stops all answers for `load_s`."""

    def __init__(self, config: RunConfig, model_path: str, *, seed: int) -> None:
        super().__init__(config, model_path, seed=seed)
        self.times = _read_times(config)
        self._rng = random.Random(seed)
        self._stood_still_s = 0.0

    async def start(self, version: int = 0) -> None:
        """Nothing to load."""
        self.version = version

    async def sample(
        self,
        prompt_token_ids: Sequence[int],
        images: Sequence[Any],
        sampling: Sampling,
        *,
        prompt_id: str,
        request_id: str,
    ) -> SampledGroup:
        """Return made-up responses, which carry the versions that were served meanwhile."""
        began_with, done_s = self.version, 0.0
        left_s = draw_s(self.times.generate_s, self.times.generate_sigma, self._rng)
        while left_s > 0:
            still_s, began_s = self._stood_still_s, time.perf_counter()
            await asyncio.sleep(left_s)
            # What an update took is not work done: the rest is still to be generated.
            done_s = time.perf_counter() - began_s - (self._stood_still_s - still_s)
            left_s -= max(done_s, 1e-6)
        spans = _spans(began_with, self.version)
        rollout = Rollout(
            response_token_ids=np.arange(NUM_TOKENS, dtype=np.int32),
            behaviour_logprobs=np.full(NUM_TOKENS, -1.0, np.float32),
            version_spans=spans,
            finish_reason="stop",
            text="asleep",
        )
        return SampledGroup(
            prompt_token_ids=np.asarray(prompt_token_ids, np.int32),
            rollouts=(rollout,) * sampling.num_samples,
        )

    async def load_weights(self, folder: str, version: int) -> float:
        """Stand still."""
        async with self._updating:
            began_s = time.perf_counter()
            await asyncio.sleep(self.times.load_s)
            self.version = version
            pause_s = time.perf_counter() - began_s
            self._stood_still_s += pause_s
            return pause_s

    def close(self) -> None:
        """Nothing to stop."""


def _spans(first: int, last: int) -> tuple[VersionSpan, ...]:
    if first == last:
        return (VersionSpan(version=first, start=0, end=NUM_TOKENS),)
    half = NUM_TOKENS // 2
    return (
        VersionSpan(version=first, start=0, end=half),
        VersionSpan(version=last, start=half, end=NUM_TOKENS),
    )


class _Chat:
    """Stands for the chat encoder: all prompts look the same to an engine that sleeps."""

    def encode(self, _prompt: Prompt) -> ChatPrompt:
        return ChatPrompt(prompt_token_ids=PROMPT_TOKENS, images=(), num_prompt_tokens=len(PROMPT_TOKENS))


class _Maker(GroupMaker):
    """Half of a group's responses are right, or all where the group is to be filtered."""

    filtered_share = 0.0

    async def _reward(self, rollouts: Sequence[Rollout], prompt: Prompt) -> tuple[Rollout, ...]:
        filtered = random.Random(prompt.index).random() < self.filtered_share
        return tuple(_rewarded(rollout, float(filtered or i % 2)) for i, rollout in enumerate(rollouts))


def _rewarded(rollout: Rollout, reward: float) -> Rollout:
    return Rollout(
        response_token_ids=rollout.response_token_ids,
        behaviour_logprobs=rollout.behaviour_logprobs,
        version_spans=rollout.version_spans,
        finish_reason=rollout.finish_reason,
        text=rollout.text,
        reward=reward,
        reward_parts={"accuracy": reward},
    )


class SleepingGenerator(Generator):
    """A generator whose engine sleeps."""

    engine_class = SleepingEngine

    def _begin(self, config: RunConfig, run_id: str, *, queue: Any, store: Any) -> None:
        super()._begin(config, run_id, queue=queue, store=store)
        self._times = _read_times(config)
        assert isinstance(self._engine, SleepingEngine)
        self._engine.times = self._times

    def _load_chat(self) -> Any:
        return _Chat()

    def _make_maker(self) -> None:
        self._maker = _Maker(
            self._name, self._engine, self._chat, self._rewards, self._config.reward, self._spans
        )
        self._maker.filtered_share = self._times.filtered_share


class SleepingScorer(Scorer):
    """A scorer that sleeps, and says that every token weighs 1."""

    def start(self) -> None:
        """Nothing to load."""
        self._times = _read_times(self._config)
        self._rng = random.Random(self._name)
        self._waiting_for = "run"

    def score(self, groups: Sequence[RolloutGroup]) -> list[ScoredGroup]:
        """Take these groups' share of a step's time."""
        share = len(groups) / self._config.train.groups_per_step
        time.sleep(draw_s(self._times.score_s * share, self._times.score_sigma, self._rng))
        return [ScoredGroup.unscored(group) for group in groups]

    def load_newest(self) -> int:
        """Stage the newest version, and leave it there."""
        staged = self._stager.stage(self._version)
        if staged is not None:
            self._version = staged.version
            self._num_updates += 1
        return self._version


class SleepingLearner(LearnerWorker):
    """A rank that sleeps; its weights are one tensor, published as any others are."""

    def _begin(self, config: RunConfig, publish: Publish | None) -> None:
        self._times = _read_times(config)
        super()._begin(config, None if publish is None else _Late(publish, self._times.publish_s))
        self._rng = random.Random(config.seed)

    def _start(self, master_addr: str, master_port: int) -> float:
        return 0.0

    def _renew(self) -> float:
        return 0.0

    def _train_step(
        self, payloads: Sequence[Any], step: int, version: int, normalizer: float
    ) -> dict[str, float]:
        groups = self._ready_work(payloads, step, version, normalizer)
        with self._spans.span("step", step=step):
            time.sleep(draw_s(self._times.learn_s, self._times.learn_sigma, self._rng))
        return {"loss": 0.0, "grad_norm": 1.0, "num_groups": float(len(groups))}

    def _work_of(self, payloads: Sequence[Any], step: int, version: int, normalizer: float) -> Any:
        # Reading the groups is a learner's own work, and so part of its seconds.
        with self._spans.span("fetch", step=step):
            return fetch(payloads, self._timeout_s)

    def _publish(self, version: int) -> dict[str, float]:
        if self._publisher is not None:
            self._publisher.submit(version, {"weight": torch.full((WEIGHT_ELEMENTS,), float(version))})
        return {"publish_blocked_s": 0.0}

    def save(self, folder: str, info: CheckpointInfo) -> tuple[str, ...]:
        """Write a checkpoint as any other, but for what it holds."""
        home = checkpoint.partial(Path(folder), info.tag)
        (home / f"rank-{self._rank}.json").write_text(json.dumps({"step": info.step}))
        if self._rank == 0:
            checkpoint.commit(Path(folder), info)
            checkpoint.prune(Path(folder), self._config.train.keep_checkpoints, self._config.train.keep_best)
        return ()

    def load(self, folder: str, tag: str | None = None) -> CheckpointInfo | None:
        """Check what a checkpoint holds."""
        found, _ = checkpoint.candidates(Path(folder), tag)
        for info in found:
            checkpoint.verify(Path(folder), info.tag)
            return info
        return None

    def export_hf(self, folder: str) -> None:
        """There is no model."""

    def shutdown(self) -> None:
        """Let go of the publisher."""
        if self._publisher is not None:
            self._publisher.close()


class _Late:
    """Publishes after a while."""

    def __init__(self, publish: Publish, after_s: float) -> None:
        self._publish = publish
        self._after_s = after_s

    def __call__(self, manifest: WeightManifest, payloads: Any) -> object:
        time.sleep(self._after_s)
        return self._publish(manifest, payloads)


SLEEPING = Roles(generator=SleepingGenerator, scorer=SleepingScorer, learner=SleepingLearner)
"""For `Cluster`; `write_times` first."""
