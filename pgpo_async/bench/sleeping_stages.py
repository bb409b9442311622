"""Stages that take their time and do nothing in it: the pipeline around them is the real one.

The actors are the run's own classes, with their queue, admission, leases, weight turns, staging and
publishing; only the model's work is a sleep of a given length (`ServiceTimes`). So orchestration is measured
without the engines' noise, and nothing here may be used to train. Called by `bench overlap` and its tests.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pgpo_async.actors.engine import RolloutEngine, SampledGroup, Sampling
from pgpo_async.actors.generator import Generator
from pgpo_async.actors.group_maker import GroupMaker
from pgpo_async.actors.scorer import NO_MISMATCH, Scorer
from pgpo_async.bench.sleeping_learner import SleepingLearner
from pgpo_async.bench.sleeping_times import read_times
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
from pgpo_async.orchestration.roles import Roles
from pgpo_async.orchestration.service_times import draw_s

NUM_TOKENS = 16
PROMPT_TOKENS = tuple(range(8))


class SleepingEngine(RolloutEngine):
    """Answers after a while; an update stops all answers for `load_s`."""

    def __init__(self, config: RunConfig, model_path: str, *, seed: int) -> None:
        super().__init__(config, model_path, seed=seed)
        self.times = read_times(config)
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
        self._times = read_times(config)
        assert isinstance(self._engine, SleepingEngine)
        self._engine.times = self._times

    def _load_chat(self) -> Any:
        return _Chat()

    def _make_maker(self) -> None:
        self._maker = _Maker(
            self._name, self._engine, self._chat, self._rewards, self._config.reward, self._spans
        )
        self._maker.filtered_share = self._times.filtered_share


class _SleepingScores:
    """Says after a while that every token weighs 1."""

    def __init__(self, config: RunConfig, name: str) -> None:
        self._times = read_times(config)
        self._rng = random.Random(name)
        self._step_groups = config.train.groups_per_step

    def score(self, groups: Sequence[RolloutGroup], _version: int) -> list[ScoredGroup]:
        """Take these groups' share of a step's time."""
        share = len(groups) / self._step_groups
        time.sleep(draw_s(self._times.score_s * share, self._times.score_sigma, self._rng))
        return [ScoredGroup.unscored(group) for group in groups]

    def take(self, _folder: Path, _manifest: WeightManifest) -> None:
        """Leave the staged version where it is."""

    def mismatch(self) -> dict[str, float]:
        """There is none."""
        return NO_MISMATCH


class SleepingScorer(Scorer):
    """A scorer whose model sleeps."""

    def _load_model(self, _device: str) -> Any:
        return _SleepingScores(self._config, self._name)


SLEEPING = Roles(generator=SleepingGenerator, scorer=SleepingScorer, learner=SleepingLearner)
"""For `Cluster`; `write_times` first."""
