"""From one prompt to one rewarded group: encode, sample, reward.

Owns the order of the three and what each failure is called; raises PromptError or RewardError, which
quarantine the group. Knows neither queue nor weights. Called by `generator`.
"""

import asyncio
import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

from ray.exceptions import RayActorError

from pgpo_async.actors.engine import RolloutEngine, SampledGroup, Sampling
from pgpo_async.config.pipeline import RewardConfig
from pgpo_async.contracts import Prompt, PromptError, RewardError, RewardTimeout, Rollout, RolloutGroup
from pgpo_async.data.chat import ChatEncoder
from pgpo_async.metrics.busy import BusyClock
from pgpo_async.metrics.spans import Spans
from pgpo_async.rewards.length import overlong_penalty

# The reward actor kills what is late by itself, but groups queue up before it: this bound is for an actor
# that answers nobody any more.
REWARD_WAIT_S = 1800.0


class GroupMaker:
    """Makes groups with one engine; rewards go round its reward actors."""

    def __init__(
        self,
        name: str,
        engine: RolloutEngine,
        chat: ChatEncoder,
        rewards: Sequence[Any],
        config: RewardConfig,
        spans: Spans,
    ) -> None:
        self._name = name
        self._config = config
        self._engine = engine
        self._chat = chat
        self._rewards = itertools.cycle(rewards)
        self._spans = spans

    async def make(
        self, group_id: str, prompt: Prompt, sampling: Sampling, busy: BusyClock, *, rewarded: bool = True
    ) -> RolloutGroup:
        """Return the group; `busy` counts the time in the engine. Raises PromptError, RewardError."""
        sampled = await self._sample(group_id, prompt, sampling, busy)
        rollouts = sampled.rollouts
        if rewarded:
            rollouts = self._less_overlong(await self._reward(rollouts, prompt), sampling.max_tokens)
        return RolloutGroup(
            group_id=group_id,
            prompt=prompt,
            prompt_token_ids=sampled.prompt_token_ids,
            rollouts=rollouts,
            generator=self._name,
        )

    async def _sample(
        self, group_id: str, prompt: Prompt, sampling: Sampling, busy: BusyClock
    ) -> SampledGroup:
        chat = await asyncio.to_thread(self._chat.encode, prompt)
        with busy.working(), self._spans.span("generate", group=group_id):
            sampled = await self._engine.sample(
                chat.prompt_token_ids, chat.images, sampling, prompt_id=prompt.prompt_id, request_id=group_id
            )
        if len(sampled.prompt_token_ids) != chat.num_prompt_tokens:
            raise PromptError(
                f"vLLM sees {len(sampled.prompt_token_ids)} prompt tokens, the trainer "
                f"{chat.num_prompt_tokens}: their image processors disagree",
                reason="image_token_mismatch",
                prompt_id=prompt.prompt_id,
            )
        return sampled

    async def _reward(self, rollouts: Sequence[Rollout], prompt: Prompt) -> tuple[Rollout, ...]:
        texts = [rollout.text for rollout in rollouts]
        try:
            with self._spans.span("reward"):
                call = next(self._rewards).score.remote(texts, prompt)
                rewards = await asyncio.wait_for(call, REWARD_WAIT_S)
        except TimeoutError:
            raise RewardTimeout(f"the reward actor did not answer within {REWARD_WAIT_S:.0f} s") from None
        except RayActorError as error:
            raise RewardError(f"the reward actor died: {error}", reason="reward_actor_died") from error
        return tuple(
            dataclasses.replace(rollout, reward=reward.total, reward_parts=dict(reward.parts))
            for rollout, reward in zip(rollouts, rewards, strict=True)
        )

    def _less_overlong(self, rollouts: tuple[Rollout, ...], max_tokens: int) -> tuple[Rollout, ...]:
        buffer_tokens = self._config.overlong_buffer_tokens
        if not buffer_tokens:
            return rollouts
        shares = [
            overlong_penalty(len(r.response_token_ids), max_tokens=max_tokens, buffer_tokens=buffer_tokens)
            for r in rollouts
        ]
        return tuple(
            dataclasses.replace(
                rollout,
                reward=rollout.reward + self._config.overlong_penalty * share,
                reward_parts={**rollout.reward_parts, "overlong": share},
            )
            for rollout, share in zip(rollouts, shares, strict=True)
        )
