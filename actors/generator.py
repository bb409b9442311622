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
import time
from collections.abc import Sequence
from typing import Any

from pgpo_async.actors.answering import answer_all
from pgpo_async.actors.call_parts import in_parts
from pgpo_async.actors.concurrency import ConcurrencyLimit, EngineLoad
from pgpo_async.actors.engine import RolloutEngine, Sampling
from pgpo_async.actors.group_maker import GroupMaker
from pgpo_async.actors.in_flight import InFlight
from pgpo_async.actors.process_mark import mark_process
from pgpo_async.actors.queue_types import Reservation
from pgpo_async.actors.staging import NodeStaging
from pgpo_async.actors.weight_follower import WeightFollower
from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import (
    LeaseError,
    Prompt,
    PromptError,
    RewardError,
    RolloutGroup,
    encode,
)
from pgpo_async.contracts.arrow import warm_up
from pgpo_async.contracts.errors import plain
from pgpo_async.data.chat import ChatEncoder
from pgpo_async.metrics.busy import BusyClock
from pgpo_async.metrics.spans import Span, Spans
from pgpo_async.metrics.vitals import vitals
from pgpo_async.policy.model_path import resolve_model_path

POLL_S = 2.0
# Prompts drawn in one call: few enough that the generators share a step's free slots.
MOST_AT_ONCE = 8
# Longest a prompt waits here for weights that are fresh enough for it.
FRESH_WEIGHTS_S = 60.0

logger = logging.getLogger(__name__)


class Generator:
    """One engine, its prompts in flight, and its weight follower. An asynchronous Ray actor."""

    engine_class: type[RolloutEngine] = RolloutEngine

    def __init__(
        self, name: str, config: RunConfig, run_id: str, *, queue: Any, store: Any, rewards: Sequence[Any]
    ) -> None:
        mark_process(run_id)
        self._name = name
        self._rewards = rewards
        self._model_path = resolve_model_path(config.model.path)
        self._engine = self.engine_class(config, self._model_path, seed=_seed(config.seed, name))
        self._begin(config, run_id, queue=queue, store=store)

    def _begin(self, config: RunConfig, run_id: str, *, queue: Any, store: Any) -> None:
        self._config = config
        self._queue = queue
        self._store = store
        self._staging = NodeStaging(run_id)
        self._spans = Spans(config.trace)
        self._busy = BusyClock()
        self._stopping = asyncio.Event()
        self._leaving = False
        self._waiting_for = "start"
        self._progress_s = time.monotonic()
        self._in_flight = InFlight(self._name, queue)
        self._num_prompts = 0
        self._load = EngineLoad(cache_use=0.0, num_waiting=0, num_preempted=0)
        self._num_preempted = 0
        self._sampling = Sampling(
            num_samples=config.generation.group_size,
            temperature=config.generation.temperature,
            top_p=config.generation.top_p,
            max_tokens=config.generation.max_response_tokens,
        )
        start = config.generator.prompts_in_flight
        self._limit = ConcurrencyLimit(
            start, max(start, config.generator.max_prompts_in_flight or config.max_slots)
        )
        self._weights = WeightFollower(
            self._name,
            self._engine,
            store=store,
            staging=self._staging,
            weights=config.weights,
            spans=self._spans,
            before_update=self._in_flight.cancel_over_age,
        )

    async def start(self) -> None:
        """Load processor and engine. Raises whatever vLLM raises, with its cause."""
        self._chat = await asyncio.to_thread(self._load_chat)
        await asyncio.to_thread(warm_up)
        self._make_maker()
        await self._engine.start()
        self._waiting_for = "run"

    def _load_chat(self) -> ChatEncoder:
        from pgpo_async.policy.loading import load_processor

        model = self._config.model
        processor = load_processor(
            self._model_path,
            min_pixels=model.min_pixels,
            max_pixels=model.max_pixels,
            trust_remote_code=model.trust_remote_code,
        )
        return ChatEncoder(processor, self._config.data, model)

    def _make_maker(self) -> None:
        self._maker = GroupMaker(
            self._name, self._engine, self._chat, self._rewards, self._config.reward, self._spans
        )

    async def renew(self, config: RunConfig, run_id: str, *, queue: Any, store: Any) -> None:
        """Leave the run that has stopped and take part in another, with the same engine.

        Model, data, engine and rewards must be the same. The engine still holds the last run's weights: it
        is older than version 0, which the caller publishes and has it load.
        """
        self._staging.close()
        self._begin(config, run_id, queue=queue, store=store)
        self._make_maker()
        self._engine.forget_versions(run_id)
        self._waiting_for = "run"

    async def run(self) -> None:
        """Generate until `stop`; raises the first failure that is not one prompt's own."""
        following = asyncio.create_task(self._weights.follow())
        beating = asyncio.create_task(self._beat())
        groups: set[asyncio.Task[None]] = set()
        try:
            while not (self._stopping.is_set() or (self._leaving and not groups)):
                await self._draw(groups)
                done = {task for task in {following, beating, *groups} if task.done()}
                for task in done:
                    task.result()
                groups -= done
                if done or not groups:
                    self._progress_s = time.monotonic()
        finally:
            await self._weights.stop(following)
            for task in (beating, *groups):
                task.cancel()
            await asyncio.gather(following, beating, *groups, return_exceptions=True)

    async def _beat(self) -> None:
        while True:
            stalled_s = time.monotonic() - self._progress_s
            self._queue.heartbeat.remote(self._name, self._waiting_for, stalled_s)
            await asyncio.sleep(POLL_S)

    async def _draw(self, groups: set[asyncio.Task[None]]) -> None:
        self._adapt(len(groups))
        if len(groups) >= self._limit.value or self._leaving:
            self._waiting_for = "the engine"
            await asyncio.wait(groups, return_when=asyncio.FIRST_COMPLETED, timeout=POLL_S)
            return
        self._waiting_for = "an admission slot"
        most = min(self._limit.value - len(groups), MOST_AT_ONCE)
        for reservation in await self._queue.reserve.remote(self._name, POLL_S, most):
            self._num_prompts += 1
            groups.add(asyncio.create_task(self._make_group(reservation)))

    def _adapt(self, num_in_flight: int) -> None:
        now_s = time.monotonic()
        if self._limit.due(now_s) and (load := self._engine.take_load()) is not None:
            self._load = load
            self._num_preempted += load.num_preempted
            self._limit.adapt(load, num_in_flight, now_s)

    async def _make_group(self, reservation: Reservation) -> None:
        group_id, prompt = reservation.group_id, reservation.prompt
        try:
            # Work sampled with older weights would be too old when its turn comes. The bound keeps a learner
            # that stopped publishing from stopping generation: the queue's own lag check then decides.
            await self._weights.reach(reservation.min_version, FRESH_WEIGHTS_S)
            self._in_flight.begin(group_id, self._engine.version)
            group = await self._maker.make(group_id, prompt, self._sampling, self._busy)
            self._in_flight.end(group_id)
            payload, *more = in_parts(encode(group))
            await self._queue.commit.remote(group_id, self._name, payload, group.header(), *more)
        except LeaseError as error:
            logger.warning("%s: group %s came too late: %s", self._name, group_id, error)
        except (PromptError, RewardError) as error:
            self._in_flight.end(group_id)
            await self._quarantine(group_id, error)
        except asyncio.CancelledError:
            if not self._in_flight.end(group_id):
                self._queue.give_back.remote(group_id, self._name)
                raise
            self._queue.cancel.remote(group_id, self._name)

    async def _quarantine(self, group_id: str, error: PromptError | RewardError) -> None:
        try:
            await self._queue.quarantine.remote(group_id, self._name, error.reason, str(plain(error)))
        except LeaseError as late:
            logger.warning("%s: group %s failed too late to be told: %s", self._name, group_id, late)

    async def answer(
        self, prompts: Sequence[Prompt], sampling: Sampling, *, version: int = 0, rewarded: bool = True
    ) -> tuple[list[RolloutGroup], list[tuple[str, str]]]:
        """Answer prompts outside the queue (held-out ones), with at least weight version `version`.

        Returns the groups in the prompts' order, and (prompt id, reason) of those that failed.
        """
        await self.load_version(version)
        return await answer_all(
            self._maker,
            prompts,
            sampling,
            num_at_once=self._config.generator.prompts_in_flight,
            rewarded=rewarded,
        )

    async def load_version(self, version: int) -> int:
        """Load the newest version now if this engine is older than `version`; return what it serves."""
        if version > self._engine.version:
            await self._weights.load_newest()
        return self._engine.version

    async def refresh(self) -> None:
        """Load the newest published version whole, again if need be, and use no cache of before."""
        await self._weights.reload()

    async def leave(self) -> None:
        """Take no more prompts: `run` returns when those in flight are done."""
        self._leaving = True

    async def stop(self) -> None:
        """Ask `run` to end; it returns within one poll."""
        self._stopping.set()

    async def status(self) -> dict[str, Any]:
        """Say what this generator does and waits for."""
        return {
            "name": self._name,
            "version": self._engine.version,
            "waiting_for": self._waiting_for,
            "busy_s": self._busy.total_s,
            "num_prompts": self._num_prompts,
            "generate": self._busy.pieces,
            "num_cancelled": self._in_flight.num_cancelled,
            "prompts_in_flight": len(self._in_flight),
            "prompts_in_flight_limit": self._limit.value,
            "num_updates": self._weights.num_loads,
            "update_pauses_s": list(self._weights.pauses_s),
            "cache_use": self._load.cache_use,
            "num_waiting": self._load.num_waiting,
            "num_preempted": self._num_preempted,
            **vitals(children=True),
        }

    async def take_spans(self) -> list[Span]:
        """Return what was traced since the last call."""
        return self._spans.take()

    async def weight_checksums(self, folder: str) -> dict[str, str]:
        """Checksums of the engine's weights, for proving that they are the learner's."""
        return await self._engine.weight_checksums(folder)

    async def close(self) -> None:
        """Stop the engine's processes and let go of the staged weights."""
        self._stopping.set()
        self._engine.close()
        self._staging.close()


def _seed(seed: int, name: str) -> int:
    """Another seed for each generator, and for each that takes a dead one's place (`generator-0.1`)."""
    number, _, replacement = name.rpartition("-")[2].partition(".")
    return seed * 100_000 + int(number or 0) * 100 + int(replacement or 0)
