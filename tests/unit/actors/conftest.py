"""A replay queue over a fake source, store and clock."""

import dataclasses
from typing import Any

import pytest

from pgpo_async.actors.replay_queue import ReplayQueue
from pgpo_async.config.pipeline import QueueConfig
from pgpo_async.config.training import FilterConfig
from pgpo_async.contracts import GroupHeader, Prompt
from pgpo_async.orchestration.admission import Admission


class Numbered:
    """Prompt i is "p<i>"."""

    def prompt(self, index: int) -> Prompt:
        return Prompt(prompt_id=f"p{index}", question="?", answer="!", images=(b"png",), index=index)


class DictStore(dict[int, bytes]):
    def put(self, data: bytes) -> int:
        self[len(self)] = data
        return len(self) - 1


@dataclasses.dataclass
class Bench:
    """A queue whose clock and collaborators the test holds."""

    queue: ReplayQueue
    admission: Admission
    store: DictStore
    now: float = 0.0

    def header(self, group_id: str, version: int = 0, reward: float = 0.5, **other: Any) -> GroupHeader:
        values: dict[str, Any] = {
            "group_id": group_id,
            "num_rollouts": 2,
            "num_prompt_tokens": 3,
            "num_response_tokens": 8,
            "oldest_version": version,
            "newest_version": version,
            "num_mixed_rollouts": 0,
            "mean_reward": reward,
            "mean_parts": {"accuracy": reward},
        }
        return GroupHeader(**{**values, **other})

    def generate(self, version: int = 0, reward: float = 0.5, holder: str = "gen", **other: Any) -> str:
        reservation = self.queue.reserve(holder)
        assert reservation is not None
        header = self.header(reservation.group_id, version, reward, **other)
        return self.queue.commit(reservation.group_id, holder, b"generated", header)

    def score_all(self, holder: str = "scorer") -> None:
        for lease in self.queue.lease_for_scoring(holder, 1000):
            self.queue.commit_scores(lease.group_id, holder, b"scored")


@pytest.fixture
def make_bench():
    def make(*, max_lag=1, groups_per_step=2, source=None, group_filter=None, queue=None, **other) -> Bench:
        admission, store = Admission(max_lag, groups_per_step), DictStore()
        replay_queue = ReplayQueue(
            admission=admission,
            source=source or Numbered(),
            store=store,
            max_lag=max_lag,
            config=QueueConfig(**{"lease_timeout_s": 100.0, **(queue or {})}),
            group_filter=group_filter or FilterConfig(),
            clock=lambda: bench.now,
            **other,
        )
        bench = Bench(replay_queue, admission, store)
        return bench

    return make
