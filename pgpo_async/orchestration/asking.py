"""Prompts to engines, answers back, one prompt a call: engines stay full, and one that dies loses no prompt.

Owns who was asked what and since when. Whose engines they are is the caller's: a run's generators between
its loops (`held_out`), engines beside it (`evaluators`), or engines of an evaluation without a run.
"""

import itertools
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import ray

from pgpo_async.actors.engine import Sampling
from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import Prompt, RolloutGroup, StageFailed
from pgpo_async.contracts.errors import plain

POLL_S = 1.0


class Engines(Protocol):
    """Generator actors that run no loop."""

    def idle(self) -> Sequence[Any]:
        """Return those that can be asked; waits while all are being started. Raises StageFailed."""
        ...

    def replace(self, actor: Any, error: BaseException) -> None:
        """Start another in the place of one that died. Raises StageFailed."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """A prompt with its responses, or with the reason why there are none."""

    prompt: Prompt
    group: RolloutGroup | None = None
    failure: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Call:
    actor: Any
    prompt: Prompt
    since_s: float = field(default_factory=time.monotonic)


def held_out_sampling(config: RunConfig) -> Sampling:
    """How held-out prompts are answered."""
    evaluation = config.evaluation
    return Sampling(
        num_samples=evaluation.samples_per_prompt,
        temperature=evaluation.temperature,
        top_p=evaluation.top_p,
        max_tokens=evaluation.max_response_tokens or config.generation.max_response_tokens,
        seed=evaluation.seed,
    )


def ask(
    engines: Engines, prompts: Iterable[Prompt], config: RunConfig, *, version: int = 0
) -> Iterator[Answer]:
    """Yield the answers as they come, of engines at weight `version` at least.

    Prompts are taken as engines have room. An engine that answers nothing for `supervision.stall_s` is
    killed; what a dead one was asked is asked again. Raises StageFailed where no engine is left, or one fails
    otherwise.
    """
    sampling = held_out_sampling(config)
    coming, again = iter(prompts), deque[Prompt]()
    calls: dict[Any, _Call] = {}
    heard_s: dict[Any, float] = {}
    while True:
        load = Counter(call.actor for call in calls.values())
        for actor in engines.idle():
            room = config.generator.prompts_in_flight - load[actor]
            for prompt in _some(again, coming, room):
                calls[actor.answer.remote([prompt], sampling, version=version)] = _Call(
                    actor=actor, prompt=prompt
                )
        if not calls:
            return
        for ref in _ready(list(calls)):
            call = calls.pop(ref)
            try:
                groups, failures = ray.get(ref)
            except ray.exceptions.RayActorError as error:
                engines.replace(call.actor, error)
                again.append(call.prompt)
                continue
            except Exception as error:
                raise StageFailed(f"asking an engine failed: {plain(error)}", role="generator") from error
            heard_s[call.actor] = time.monotonic()
            for group in groups:
                yield Answer(prompt=call.prompt, group=group)
            for _, reason in failures:
                yield Answer(prompt=call.prompt, failure=reason)
        _end_silent(calls.values(), heard_s, config.supervision.stall_s)


def _some(again: deque[Prompt], coming: Iterator[Prompt], most: int) -> list[Prompt]:
    found = [again.popleft() for _ in range(min(most, len(again)))]
    return found + list(itertools.islice(coming, max(0, most - len(found))))


def _ready(calls: list[Any]) -> list[Any]:
    if not ray.wait(calls, num_returns=1, timeout=POLL_S)[0]:
        return []
    return list(ray.wait(calls, num_returns=len(calls), timeout=0)[0])


def _end_silent(calls: Iterable[_Call], heard_s: dict[Any, float], stall_s: float) -> None:
    now_s = time.monotonic()
    for call in calls:
        if now_s - max(call.since_s, heard_s.get(call.actor, 0.0)) > stall_s:
            # Its calls fail then, which is where it is replaced.
            ray.kill(call.actor, no_restart=True)
