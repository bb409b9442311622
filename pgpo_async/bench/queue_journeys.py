"""The two journeys that `bench queue` compares: generator, scorer and learner, through either queue.

Both carry the same two values: a group as its generator encoded it, and as its scorer did. All sides work
in rounds of `in_flight` groups: every call of a round is made before the first answer is waited for. A
journey is pickled into the processes that run its sides. Called by `queue_bench`.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import ray

from pgpo_async.actors.call_parts import in_parts
from pgpo_async.actors.ray_store import fetch
from pgpo_async.contracts import (
    GroupHeader,
    Prompt,
    Rollout,
    RolloutGroup,
    ScoredGroup,
    VersionSpan,
    WaitTimeout,
    encode,
)

WAIT_S = 60.0
_GENERATOR, _SCORER, _LEARNER = "generator", "scorer", "learner"
_GROUP_SIZE, _RESPONSE_TOKENS = 8, 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Values:
    """One group's two payloads, mostly its image, and its header."""

    generated: bytes
    scored: bytes
    header: GroupHeader


class Journey(Protocol):
    """Three sides, each run in a process of its own; each ends when `num_groups` have passed it."""

    def generate(self, num_groups: int) -> None:
        """Bring groups."""

    def score(self, num_groups: int) -> None:
        """Fetch groups and bring them back scored."""

    def learn(self, num_groups: int) -> None:
        """Fetch scored groups by the batch."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnJourney:
    """Through the replay queue: reserve, commit, lease, fetch, commit scores, lease a batch, fetch, ack."""

    queue: Any
    values: Values
    in_flight: int

    def generate(self, num_groups: int) -> None:
        """Reserve a round of prompts, then commit their groups."""
        for size in _rounds(num_groups, self.in_flight):
            while size:
                (reservations,) = _answers([self.queue.reserve.remote(_GENERATOR, WAIT_S, size)])
                commits = [self._commit(reservation.group_id) for reservation in reservations]
                assert set(_answers(commits)) == {"queued"}, "every group has a signal and is of use"
                size -= len(reservations)

    def score(self, num_groups: int) -> None:
        """Lease what there is, up to a round."""
        while num_groups:
            wanted = min(num_groups, self.in_flight)
            (leases,) = _answers([self.queue.lease_for_scoring.remote(_SCORER, wanted, WAIT_S)])
            fetch([lease.ref for lease in leases], WAIT_S)
            _answers([self._commit_scores(lease.group_id) for lease in leases])
            num_groups -= len(leases)

    def learn(self, num_groups: int) -> None:
        """Lease a batch, fetch it, acknowledge it."""
        for version, size in enumerate(_rounds(num_groups, self.in_flight)):
            (leases,) = _answers([self.queue.lease_batch.remote(_LEARNER, version, size, WAIT_S)])
            fetch([lease.ref for lease in leases], WAIT_S)
            _answers([self.queue.finish_step.remote([lease.group_id for lease in leases], _LEARNER)])

    def _commit(self, group_id: str) -> Any:
        header = dataclasses.replace(self.values.header, group_id=group_id)
        payload, *more = in_parts(self.values.generated)
        return self.queue.commit.remote(group_id, _GENERATOR, payload, header, *more)

    def _commit_scores(self, group_id: str) -> Any:
        payload, *more = in_parts(self.values.scored)
        return self.queue.commit_scores.remote(group_id, _SCORER, payload, None, *more)


@dataclass(frozen=True, kw_only=True, slots=True)
class RayQueueJourney:
    """Through two `ray.util.queue.Queue`s, one before the scorer and one behind it.

    Calls their actors as `Queue.put` and `Queue.get` do, but a round at a time: those wait for each call.
    """

    generated: Any
    scored: Any
    values: Values
    in_flight: int

    def generate(self, num_groups: int) -> None:
        """Put a round."""
        for size in _rounds(num_groups, self.in_flight):
            _put(self.generated, self.values.generated, size)

    def score(self, num_groups: int) -> None:
        """Get a round, put a round."""
        for size in _rounds(num_groups, self.in_flight):
            _get(self.generated, size)
            _put(self.scored, self.values.scored, size)

    def learn(self, num_groups: int) -> None:
        """Get a round."""
        for size in _rounds(num_groups, self.in_flight):
            _get(self.scored, size)


class Side:
    """A process of its own for one side of every journey. Placed by `queue_bench`."""

    def __init__(self, journeys: dict[str, Journey]) -> None:
        self._journeys = journeys

    def run(self, journey: str, side: str, num_groups: int) -> None:
        """Run one side of a journey; raises what its calls raise."""
        getattr(self._journeys[journey], side)(num_groups)


def make_values(group_bytes: int) -> Values:
    """A group of real parts whose encoded form has nearly `group_bytes`, and the same group scored.

    Raises ValueError if a group without an image is larger already.
    """
    without_image = len(encode(_group(b"")))
    if group_bytes <= without_image:
        raise ValueError(f"group_bytes must be above {without_image}, got {group_bytes}")
    image = np.random.default_rng(0).bytes(group_bytes - without_image)
    group = _group(image)
    row = tuple(rollout.behaviour_logprobs for rollout in group.rollouts)
    scored = ScoredGroup(
        group=group, proximal_logprobs=row, dependency=row, token_weights=row, scorer_version=0
    )
    return Values(generated=encode(group), scored=encode(scored), header=group.header())


def _group(image: bytes) -> RolloutGroup:
    rollouts = tuple(
        Rollout(
            response_token_ids=np.arange(_RESPONSE_TOKENS, dtype=np.int32),
            behaviour_logprobs=np.full(_RESPONSE_TOKENS, -0.5, dtype=np.float32),
            version_spans=(VersionSpan(version=0, start=0, end=_RESPONSE_TOKENS),),
            finish_reason="stop",
            text="a response",
            reward=reward,
            reward_parts={"accuracy": reward},
        )
        for reward in np.arange(_GROUP_SIZE, dtype=float) % 2
    )
    prompt = Prompt(prompt_id="p", question="what is there?", answer="it", images=(image,))
    prompt_token_ids = np.arange(512, dtype=np.int32)
    return RolloutGroup(group_id="g", prompt=prompt, prompt_token_ids=prompt_token_ids, rollouts=rollouts)


def _rounds(num_groups: int, size: int) -> Iterator[int]:
    for start in range(0, num_groups, size):
        yield min(size, num_groups - start)


def _put(queue: Any, value: bytes, num: int) -> None:
    _answers([queue.actor.put.remote(value) for _ in range(num)], empty=True)


def _get(queue: Any, num: int) -> None:
    _answers([queue.actor.get.remote(WAIT_S) for _ in range(num)])


def _answers(refs: Sequence[Any], *, empty: bool = False) -> list[Any]:
    """Results of calls, or fetched objects. Raises WaitTimeout for one that has none, unless `empty`."""
    try:
        answers = list(ray.get(list(refs), timeout=2 * WAIT_S))
    except ray.exceptions.GetTimeoutError as error:
        raise WaitTimeout(f"{len(refs)} calls to the queue", 2 * WAIT_S) from error
    if not empty and any(answer is None or answer == [] for answer in answers):
        raise WaitTimeout(f"one of {len(refs)} calls to the queue", WAIT_S)
    return answers
