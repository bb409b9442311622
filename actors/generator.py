"""The generator actor: keeps one vLLM engine full of prompts and on the newest weights it can get.

Three loops share one event loop and never wait for each other:

    loop      consumes               produces                 waits for                freed by
    draw      reserved prompts       one task a prompt        a slot here and in the   a finished group, an
                                                              queue                    exit from the queue
    group     one prompt             a rewarded group         the engine, the reward   samples; a deadline
    follow    weight versions        loaded weights           a newer version          the learner's publish

A prompt enters as soon as another leaves; there is no batch. What happens to each group is said to the
queue: committed, quarantined with its reason, or given back. Made and watched by `orchestration`.
"""

import asyncio
import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pgpo_async.actors.call_parts import in_parts
from pgpo_async.actors.engine import RolloutEngine, Sampling
from pgpo_async.actors.group_maker import GroupMaker
from pgpo_async.actors.queue_types import Reservation
from pgpo_async.actors.staging import NodeStaging
from pgpo_async.actors.store_client import stage_newest
from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import (
    LeaseError,
    Prompt,
    PromptError,
    RewardError,
    RolloutGroup,
    encode,
)
from pgpo_async.contracts.errors import plain
from pgpo_async.data.chat import ChatEncoder
from pgpo_async.metrics.busy import BusyClock
from pgpo_async.policy.loading import load_processor, resolve_model_path

POLL_S = 2.0
# Longest a prompt waits here for weights that are fresh enough for it.
FRESH_WEIGHTS_S = 60.0

logger = logging.getLogger(__name__)


class Generator:
    """One engine, its prompts in flight, and its weight follower. An asynchronous Ray actor."""

    def __init__(
        self, name: str, config: RunConfig, run_id: str, *, queue: Any, store: Any, rewards: Sequence[Any]
    ) -> None:
        self._name = name
        self._rewards = rewards
        self._model_path = resolve_model_path(config.model.path)
        seed = config.seed * 1000 + int(name.rpartition("-")[2] or 0)
        self._engine = RolloutEngine(config, self._model_path, seed=seed)
        self._begin(config, run_id, queue=queue, store=store)

    def _begin(self, config: RunConfig, run_id: str, *, queue: Any, store: Any) -> None:
        self._config = config
        self._queue = queue
        self._store = store
        self._staging = NodeStaging(run_id)
        self._busy = BusyClock()
        self._stopping = asyncio.Event()
        self._loading = asyncio.Lock()
        self._waiting_for = "start"
        self._pauses_s: list[float] = []
        self._num_prompts = 0

    async def start(self) -> None:
        """Load processor and engine. Raises whatever vLLM raises, with its cause."""
        model = self._config.model
        processor = await asyncio.to_thread(
            load_processor, self._model_path, min_pixels=model.min_pixels, max_pixels=model.max_pixels
        )
        chat = ChatEncoder(processor, self._config.data, model)
        self._maker = GroupMaker(self._name, self._engine, chat, self._rewards, self._config.reward)
        await self._engine.start()
        self._waiting_for = "run"

    async def renew(self, config: RunConfig, run_id: str, *, queue: Any, store: Any) -> None:
        """Leave the run that has stopped and take part in another, with the same engine.

        Model, data, engine and rewards must be the same. The engine still holds the last run's weights: it
        is older than version 0, which the caller publishes and has it load.
        """
        self._staging.close()
        self._begin(config, run_id, queue=queue, store=store)
        self._engine.forget_versions(run_id)
        self._waiting_for = "run"

    async def run(self) -> None:
        """Generate until `stop`; raises the first failure that is not one prompt's own."""
        follower = asyncio.create_task(self._follow_weights())
        groups: set[asyncio.Task[None]] = set()
        try:
            while not self._stopping.is_set():
                await self._draw(groups)
                done = {task for task in {follower, *groups} if task.done()}
                for task in done:
                    task.result()
                groups -= done
        finally:
            # Not in the middle of an update: an engine with half of its new weights is of no more use.
            async with self._loading:
                follower.cancel()
            for task in groups:
                task.cancel()
            await asyncio.gather(follower, *groups, return_exceptions=True)

    async def _draw(self, groups: set[asyncio.Task[None]]) -> None:
        if len(groups) >= self._config.generator.prompts_in_flight:
            self._waiting_for = "the engine"
            await asyncio.wait(groups, return_when=asyncio.FIRST_COMPLETED, timeout=POLL_S)
            return
        self._waiting_for = "an admission slot"
        reservation = await self._queue.reserve.remote(self._name, POLL_S)
        if reservation is not None:
            self._num_prompts += 1
            groups.add(asyncio.create_task(self._make_group(reservation)))

    async def _make_group(self, reservation: Reservation) -> None:
        group_id, prompt = reservation.group_id, reservation.prompt
        try:
            await self._wait_for_version(reservation.min_version)
            sampling = self._sampling(self._config.generation.group_size, self._config.generation.temperature)
            group = await self._maker.make(group_id, prompt, sampling, self._busy)
            payload, *more = in_parts(encode(group))
            await self._queue.commit.remote(group_id, self._name, payload, group.header(), *more)
        except LeaseError as error:
            logger.warning("%s: group %s came too late: %s", self._name, group_id, error)
        except (PromptError, RewardError) as error:
            await self._queue.quarantine.remote(group_id, self._name, error.reason, str(plain(error)))
        except asyncio.CancelledError:
            self._queue.give_back.remote(group_id, self._name)
            raise

    def _sampling(self, num_samples: int, temperature: float) -> Sampling:
        generation = self._config.generation
        return Sampling(
            num_samples=num_samples,
            temperature=temperature,
            top_p=generation.top_p,
            max_tokens=generation.max_response_tokens,
        )

    async def answer(
        self,
        prompts: Sequence[Prompt],
        *,
        version: int,
        num_samples: int,
        temperature: float,
        rewarded: bool = True,
    ) -> tuple[list[RolloutGroup], list[tuple[str, str]]]:
        """Answer prompts outside the queue (held-out ones), with at least weight version `version`.

        Returns the groups in the prompts' order, and (prompt id, reason) of those that failed.
        """
        await self.load_version(version)
        sampling = self._sampling(num_samples, temperature)
        room = asyncio.Semaphore(self._config.generator.prompts_in_flight)
        busy = BusyClock()  # not part of the training's busy time
        failures: list[tuple[str, str]] = []

        async def one(prompt: Prompt) -> RolloutGroup | None:
            async with room:
                try:
                    group_id = f"answer-{prompt.prompt_id}"
                    return await self._maker.make(group_id, prompt, sampling, busy, rewarded=rewarded)
                except (PromptError, RewardError) as error:
                    failures.append((prompt.prompt_id, error.reason))
                    return None

        groups = await asyncio.gather(*(one(prompt) for prompt in prompts))
        return [group for group in groups if group is not None], failures

    async def load_version(self, version: int) -> None:
        """Load the newest version now if this engine is older than `version`."""
        if version > self._engine.version:
            await self._load_newest()

    async def _follow_weights(self) -> None:
        while not self._stopping.is_set():
            self._queue.heartbeat.remote(self._name)
            newest = await self._store.wait_newer.remote(self._engine.version, POLL_S)
            if newest is not None:
                await self._load_newest()

    async def _wait_for_version(self, version: int) -> None:
        # Work sampled with older weights would be too old when its turn comes. The bound keeps a learner
        # that stopped publishing from stopping generation: the queue's own lag check then decides.
        deadline = time.monotonic() + FRESH_WEIGHTS_S
        while self._engine.version < version and time.monotonic() < deadline:
            await asyncio.sleep(0.05)

    async def _load_newest(self) -> None:
        async with self._loading:
            staged = await asyncio.to_thread(
                stage_newest, self._store, self._staging, self._config.weights, self._engine.version
            )
            if staged is not None:
                with self._staging.reading(Path(staged.folder)):
                    self._pauses_s.append(await self._engine.load_weights(staged.folder, staged.version))

    async def stop(self) -> None:
        """Ask `run` to end; it returns within one poll."""
        self._stopping.set()

    async def status(self) -> dict[str, Any]:
        """Say what this generator does and waits for."""
        return {
            "name": self._name,
            "pid": os.getpid(),
            "version": self._engine.version,
            "waiting_for": self._waiting_for,
            "busy_s": self._busy.total_s,
            "num_prompts": self._num_prompts,
            "num_updates": len(self._pauses_s),
            "update_pauses_s": list(self._pauses_s),
        }

    async def weight_checksums(self, folder: str) -> dict[str, str]:
        """Checksums of the engine's weights, for proving that they are the learner's."""
        return await self._engine.weight_checksums(folder)

    async def close(self) -> None:
        """Stop the engine's processes and let go of the staged weights."""
        self._stopping.set()
        self._engine.close()
        self._staging.close()
