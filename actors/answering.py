"""Answers to prompts outside the queue (held-out ones), many at a time. Called by `generator`."""

import asyncio
from collections.abc import Sequence

from pgpo_async.actors.engine import Sampling
from pgpo_async.actors.group_maker import GroupMaker
from pgpo_async.contracts import Prompt, PromptError, RewardError, RolloutGroup
from pgpo_async.metrics.busy import BusyClock


async def answer_all(
    maker: GroupMaker, prompts: Sequence[Prompt], sampling: Sampling, *, num_at_once: int, rewarded: bool
) -> tuple[list[RolloutGroup], list[tuple[str, str]]]:
    """Return the groups in the prompts' order, and (prompt id, reason) of those that failed."""
    room = asyncio.Semaphore(num_at_once)
    busy = BusyClock()  # not part of the training's busy time
    failures: list[tuple[str, str]] = []

    async def one(prompt: Prompt) -> RolloutGroup | None:
        async with room:
            try:
                return await maker.make(
                    f"answer-{prompt.prompt_id}", prompt, sampling, busy, rewarded=rewarded
                )
            except (PromptError, RewardError) as error:
                failures.append((prompt.prompt_id, error.reason))
                return None

    groups = await asyncio.gather(*(one(prompt) for prompt in prompts))
    return [group for group in groups if group is not None], failures
